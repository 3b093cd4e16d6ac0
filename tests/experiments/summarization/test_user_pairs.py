"""The user's own texts and summaries: from a file of JSON lines to a summary."""

import io
import json

import pytest

from experiments.common.command import InputError
from experiments.summarization import train as summarization
from experiments.summarization.settings import Command, Settings
from tests.helpers import read_results

TINY = Settings(
    vocabulary_size=80,
    embedding_size=12,
    hidden_size=12,
    attention_size=8,
    widths=((48, 16),),
    tail=8,
    batch_size=16,
    epochs=1,
)


@pytest.mark.slow
def test_json_lines_are_learned_and_a_text_is_summarized(tmp_path, capsys, monkeypatch):
    path, out = tmp_path / "news.jsonl", tmp_path / "runs"
    rows = [
        {"title": f"report {i}", "article": [f"This is report {i}.", "It is about a tool."]}
        for i in range(260)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8-sig")
    summarization.main(Command(TINY, train=path, out=out))
    printed = capsys.readouterr().out
    assert "260 pairs: 221 for training, 13 for validation, 26 for testing." in printed
    results = read_results(out / "news" / "results.json")
    assert "nearest neighbor" in results
    source, _, expected = (out / "news" / "summaries.tsv").read_text().splitlines()[1].split("\t")
    monkeypatch.setattr("sys.stdin", io.StringIO(source.replace(" ", "\n", 2)))
    summarization.main(Command(summarize="-", model=out / "news", out=out))
    assert capsys.readouterr().out.rstrip("\n") == expected
    summarization.main(Command(summarize=source * 5, model=out / "news", out=out))
    assert "so the middle is left out" in capsys.readouterr().err
    with pytest.raises(InputError, match="The text is empty"):
        summarization.main(Command(summarize=" ", model=out / "news", out=out))
