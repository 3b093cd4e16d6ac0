"""The summarization experiment, end to end on a small index of package descriptions."""

import io
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments.common.durable import read_json
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.seq2seq.decoding import search
from experiments.seq2seq.parallel_corpus import synopsis_corpus
from experiments.seq2seq.subwords import learn_subwords
from experiments.summarization import train as summarization
from tests.experiments.typed_commands import run_typed
from tests.helpers import read_results

TINY = summarization.Settings(
    vocabulary_size=120,
    embedding_size=12,
    hidden_size=12,
    attention_size=8,
    widths=((48, 16),),
    tail=8,
    batch_size=16,
    epochs=2,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, debian):
    monkeypatch.setattr("experiments.summarization.settings.QUICK", TINY)
    corpus = summarization.synopsis_corpus
    monkeypatch.setattr(summarization, "synopsis_corpus", lambda: corpus(validation=30, test=30))


def run(out, **changes) -> None:
    summarization.main(replace(summarization.Command(quick=True, out=out).presets(), **changes))


@pytest.mark.slow
def test_the_whole_experiment_and_a_resumed_one(tmp_path, capsys, monkeypatch, stop_after):
    run(tmp_path / "alone")
    printed = capsys.readouterr().out
    out = tmp_path / "alone" / "copying"
    rows = read_results(out / "results.json")
    assert list(rows) == [
        "first sentence",
        '8 words after "is a", "provides" ...',
        "nearest neighbor",
        "GRU, greedy",
        "GRU, 5 beams",
        "oracle: the best 8 words in a row",
    ]
    assert all(f"\n{name} " in printed for name in rows)
    assert set(rows["GRU, greedy"]["all"]) == {"ROUGE-1", "ROUGE-2", "ROUGE-L"}
    assert "Words not in the source" in printed
    [(name, digest)] = read_json(out / "settings.json")["checksums"].items()
    assert f"Data: {name} (sha256 {digest})." in printed
    assert "milliseconds per text" in printed
    for plot in ("attention", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    lines = (out / "summaries.tsv").read_text().splitlines()
    assert lines[0] == "source\treference\toutput"

    # Stopped after an epoch and resumed: the same numbers.
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    metrics = [tmp_path / name / out.name / loop.METRICS for name in ("alone", "stopped")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 2

    # The saved model summarizes a text alone as it did in a batch, also from standard input.
    source, _, expected = lines[1].split("\t")
    run(tmp_path / "alone", summarize=source)
    assert capsys.readouterr().out.rstrip("\n") == expected
    before = search._cache_size()
    monkeypatch.setattr("sys.stdin", io.StringIO(source.replace(" ", "\n", 3)))
    run(tmp_path / "alone", summarize="-")
    assert capsys.readouterr().out.rstrip("\n") == expected
    assert search._cache_size() == before


@pytest.mark.slow
def test_another_cell_summarizes_from_its_own_folder(tmp_path, capsys):
    run_typed("summarization", "--quick", "--cell", "transformer", "--out", tmp_path)
    folder = tmp_path / "quick" / "transformer" / "copying"
    rows = list(read_results(folder / "results.json"))
    assert rows[3:5] == ["Transformer, greedy", "Transformer, 5 beams"]
    capsys.readouterr()
    source, _, expected = (folder / "summaries.tsv").read_text().splitlines()[1].split("\t")
    use = "--quick", "--summarize", source, "--out", tmp_path
    run_typed("summarization", *use, "--cell", "transformer")
    assert capsys.readouterr().out.rstrip("\n") == expected


@pytest.mark.parametrize(("copy", "folder"), [(True, "copying"), (False, "writing")])
def test_without_a_model_one_sentence_names_the_command(tmp_path, copy, folder):
    with pytest.raises(FileNotFoundError, match=rf"{folder}/m.* Train it first: python -m ex"):
        run(tmp_path, settings=replace(TINY, copy=copy), summarize="A tool.")


@pytest.mark.slow
@pytest.mark.parametrize("copy", [True, False])
def test_make_train_is_pure_and_can_be_swept(copy):
    corpus = synopsis_corpus(validation=30, test=30)
    tokenizer = learn_subwords(corpus.sources + corpus.targets, TINY.vocabulary_size)
    settings = replace(TINY, copy=copy, vocabulary_size=tokenizer.get_vocab_size())
    train = summarization.make_train(settings, summarization.prepare(corpus, tokenizer, settings))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], "summarization"),
        (["summarisation"], "summarisation"),
        (["summarisation", "summarization"], "summarization"),
    ],
)
def test_the_former_output_directory_is_found(tmp_path, monkeypatch, capsys, present, expected):
    monkeypatch.chdir(tmp_path)
    for name in present:
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert summarization.find_output(Path("runs/summarization")) == Path("runs") / expected
    assert bool(capsys.readouterr().err) == (expected == "summarisation")
    assert summarization.find_output(tmp_path) == tmp_path
