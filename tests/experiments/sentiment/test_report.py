"""The report on classifiers."""

import numpy as np
import pytest

from experiments.sentiment.report import Predictions, comparison_table
from tests.helpers import read_results


def test_comparison_table(tmp_path):
    labels, parts = np.array([0, 1, 1, 0]), np.array(["x", "x", "y", "y"])
    right, half = Predictions(labels, labels, parts), Predictions(labels, np.zeros(4, int), parts)
    rows = {"one": [right], "two": [right, half]}
    table = comparison_table(rows, ["x", "y"], 2, tmp_path / "r.json").splitlines()
    assert table[1].split() == ["one", "100.0", "100.0", "100.0", "100.0"]
    assert table[2].split()[:3] == ["two", "75.0", "±35.4"]
    results = read_results(tmp_path / "r.json")
    assert results["two"]["standard deviation"]["accuracy"] == pytest.approx(0.125**0.5)
    assert "standard deviation" not in results["one"]
