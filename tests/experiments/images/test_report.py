"""The report of the images: tables, baselines, figures."""

import numpy as np
import pytest

from experiments.images.baselines import logistic_regression, support_vector_machine
from experiments.images.plots import plot_misread
from experiments.images.report import CellResult, describe_cells, describe_classifiers
from experiments.vision.digits import Digits


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (7, 10), (975, 1000), (1000, 1000)])
def test_interval_is_wilsons(correct, count):
    """Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953"""
    share, z = correct / count, 1.96
    center = share + z**2 / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = (100 * (center + x) / (1 + z**2 / count) for x in (-half, half))
    table = describe_classifiers({"name": [share]}, count)
    assert table.endswith(f"  {abs(low):.1f} to {high:.1f}")


def test_tables():
    table = describe_classifiers({"one": [0.9], "three": [0.98, 0.99, 1.0]}, 1000)
    assert "90.0  88.0 to 91.7" in table
    assert "99.0 ±1.0  98.2 to 99.5" in table

    profile = np.geomspace(1, 1e-4, 28)
    result = CellResult([0.5], profile, np.ones(28), [{"epoch": 1}, {"epoch": 2}])
    table = describe_cells({"rows": {"gru": result, "min_gru": result}}, 400)
    assert "400 parameters, % correct" in table
    assert "minGRU" in table
    assert table.splitlines()[1].split()[-4:] == ["2", "4/5", "50.0", "50.0"]
    assert table.splitlines()[-1].endswith("1e-04 → 1  1e-04 → 1")


def test_baselines_classify_separable_digits():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10, dtype=np.int32), 8)
    images = rng.integers(0, 90, (80, 28, 28)).astype(np.uint8)
    images[np.arange(80), :, labels] = 255
    for classify in (logistic_regression, support_vector_machine):
        answers = classify(Digits(images[::2], labels[::2]), images[1::2])
        np.testing.assert_array_equal(answers, labels[1::2])


@pytest.mark.parametrize("wrong", [0, 1, 30])
def test_misread_digits_are_drawn(tmp_path, wrong):
    probabilities = np.eye(10)[np.zeros(40, int)]
    labels = np.r_[np.ones(wrong, int), np.zeros(40 - wrong, int)]
    plot_misread(tmp_path / "misread.png", np.zeros((40, 28, 28)), labels, probabilities)
    assert (tmp_path / "misread.png").read_bytes().startswith(b"\x89PNG")
