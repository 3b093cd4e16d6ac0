"""The report: mean scores over each part, and the texts."""

import numpy as np

from experiments.seq2seq.report import write_outputs, write_scores
from experiments.summarization.scores import score_summaries


def test_scores_are_means_over_each_part(tmp_path, capsys):
    parts = np.array(["x", "y", "y"])
    rows = {"right": ["a", "b", "c"], "once": ["a", "q", "q"]}
    columns = ["ROUGE-1"]
    path = tmp_path / "results.json"
    write_scores(rows, ["a", "b", "c"], parts, score_summaries, columns, path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[-1] for line in lines if line and line[0] == "once"] == ["33.3", "100.0", "0.0"]
    write_outputs(tmp_path / "out.tsv", ["s"], ["r"], ["o"])
    assert (tmp_path / "out.tsv").read_text() == "source\treference\toutput\ns\tr\to\n"
