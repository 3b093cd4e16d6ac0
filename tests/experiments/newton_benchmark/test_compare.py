"""The command on tiny sizes, and its table."""

import pytest

from experiments.benchmark import newton
from experiments.benchmark.newton import Row, describe_crossover, format_rows, measure
from experiments.newton_benchmark import compare as newton_benchmark
from tests.helpers import COMPILER, read_results


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(newton, "SECONDS", 0.01)
    monkeypatch.setattr(newton, "MAX_FLOATS", 20 * 4**2 - 1)


def test_a_row_for_each_shape(small):
    header, *rows = format_rows([measure(20, size, ["scan"]) for size in (2, 4)]).splitlines()
    assert header.split() == ["ms", "(iterations)", "scan", "dense", "diagonal"]
    assert [row.split()[:4] for row in rows] == [["T", "20", "H", size] for size in "24"]
    assert ["–" in row for row in rows] == [False, True]  # too many Jacobians


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_the_command_prints_the_table_and_the_crossover(small, tmp_path, capsys):
    newton_benchmark.main(newton_benchmark.Command(steps=(20,), sizes=(2, 3), out=tmp_path))
    header, *rows, crossover = capsys.readouterr().out.splitlines()
    assert "native" in header
    assert len(rows) == 2
    assert crossover.startswith("Newton's method is the fastest at")
    assert "of 2 shapes" in crossover
    assert [row["size"] for row in read_results(tmp_path / "results.json")] == [2, 3]


def test_the_crossover_names_the_best_and_the_worst_shape():
    rows = [
        Row(10, 2, {"scan": 2.0, "native": 1.0, "diagonal": 0.5}, {}),
        Row(20, 4, {"scan": 2.0, "native": 3.0, "dense": 8.0, "diagonal": 9.0}, {}),
    ]
    text = describe_crossover(rows)
    assert "fastest at 1 of 2 shapes" in text
    assert "takes 0.5 (T 10 H 2) to 4 (T 20 H 4) times" in text
