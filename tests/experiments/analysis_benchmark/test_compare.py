"""The command on tiny sizes."""

import pytest

from experiments.analysis_benchmark import compare as analysis_benchmark
from tests.helpers import read_results


@pytest.mark.slow
def test_it_prints_a_row_for_each_analysis(tmp_path, capsys):
    sizes = {"steps": 40, "exponents": 2, "starts": 8, "hidden_size": 6}
    analysis_benchmark.main(analysis_benchmark.Command(**sizes, out=tmp_path))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["time", "result"]
    assert [row.split()[0] for row in rows] == ["2", "2", "fixed", "fixed", "fixed"]
    assert all("λ₁ = -" in row for row in rows[:2])
    assert all("stable" in row for row in rows[2:])
    results = read_results(tmp_path / "results.json")
    assert [len(row["exponents"]) for row in results[:2]] == [2, 2]
    assert all(row["seconds"] > 0 for row in results)
