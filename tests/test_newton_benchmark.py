"""The measurement of Newton's method, at sizes where it takes no time."""

import pytest
from helpers import COMPILER

from experiments import newton_benchmark


@pytest.fixture
def small(monkeypatch):
    sizes = {"STEPS": (20,), "SIZES": (2, 4), "SECONDS": 0.01, "MOST_FLOATS": 20 * 4**2 - 1}
    for name, size in sizes.items():
        monkeypatch.setattr(newton_benchmark, name, size)
    if COMPILER is None:
        monkeypatch.setattr(newton_benchmark, "SEQUENTIAL", ("scan",))


def test_it_prints_a_row_for_each_shape_and_the_crossover(small, capsys):
    newton_benchmark.main()
    header, *rows, crossover = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "ms",
        "(iterations)",
        *newton_benchmark.SEQUENTIAL,
        "dense",
        "diagonal",
    ]
    assert [row.split()[:4] for row in rows] == [["T", "20", "H", size] for size in "24"]
    assert ["–" in row for row in rows] == [False, True]  # too many Jacobians
    assert crossover.startswith("Newton's method is the fastest at")
    assert "of 2 shapes" in crossover


def test_the_crossover_names_the_best_and_the_worst_shape():
    rows = [
        newton_benchmark.Row(10, 2, {"scan": 2.0, "native": 1.0, "diagonal": 0.5}, {}),
        newton_benchmark.Row(
            20, 4, {"scan": 2.0, "native": 3.0, "dense": 8.0, "diagonal": 9.0}, {}
        ),
    ]
    text = newton_benchmark.crossover_of(rows)
    assert "fastest at 1 of 2 shapes" in text
    assert "takes 0.5 (T 10 H 2) to 4 (T 20 H 4) times" in text
