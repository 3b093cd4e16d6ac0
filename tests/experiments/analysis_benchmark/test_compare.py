"""The command on tiny sizes."""

import pytest

from experiments.analysis_benchmark import compare as analysis_benchmark


@pytest.mark.slow
def test_it_prints_a_row_for_each_analysis(monkeypatch, capsys):
    for name, size in (("STEPS", 40), ("EXPONENTS", 2), ("STARTS", 8), ("HIDDEN", 6)):
        monkeypatch.setattr(analysis_benchmark, name, size)
    analysis_benchmark.main()
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["time", "result"]
    assert [row.split()[0] for row in rows] == ["2", "2", "fixed", "fixed", "fixed"]
    assert all("λ₁ = -" in row for row in rows[:2])
    assert all("stable" in row for row in rows[2:])
