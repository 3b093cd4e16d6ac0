"""The GPU benchmark's checks and its table, without a GPU."""

from itertools import product

import pytest

from experiments.benchmark import gpu_benchmark, gpu_checks
from experiments.benchmark.gpu_benchmark import MODES, Point, format_points, summarise
from experiments.benchmark.gpu_checks import Check
from experiments.common.command import InputError


def test_it_says_that_there_is_no_gpu(tmp_path):
    with pytest.raises(InputError, match="has no NVIDIA GPU"):
        gpu_benchmark.report_gpu(tmp_path)


@pytest.mark.parametrize("kind", ["one", "models", "both", "layer"])
def test_checks_compare_with_float64(kind):
    check = Check("small", 3, 5, options=("lengths", "resets"), kind=kind)
    outputs, gradients = gpu_checks.run_check(check, implementation="scan")
    assert 0 < outputs < 1e-5
    assert 0 < gradients < 1e-5


def test_a_wrong_kernel_is_not_timed(monkeypatch):
    monkeypatch.setattr(gpu_checks, "CHECKS", (Check("small", 3, 5),))
    monkeypatch.setattr(gpu_checks, "run_check", lambda check: (1e-7, float("inf")))
    with pytest.raises(ValueError, match=r"off by .*e-07, in its gradients by inf"):
        gpu_checks.run_checks()


def test_the_table_and_its_summary():
    times = {"cuda": 2.0, "cuDNN": 5.0, "lax.scan": 30.0, "flax": 40.0}
    points = [
        Point(dtype, 16, 64, mode, name, time * (1 + (mode == "training")), 0.5)
        for dtype, mode, (name, time) in product(("float32", "bfloat16"), MODES, times.items())
    ]
    row = format_points(points, "float32").splitlines()[-1]
    cells = [cell.strip() for cell in row.split("  ") if cell.strip()]
    assert cells[:4] == ["64", "16", "2.00 / 4.00", "5.00 / 10.00"]
    assert cells[-3:] == ["2.5 / 2.5", "15.0 / 15.0", "25% / 12%"]
    lines = summarise(points).splitlines()
    assert lines[0] == (
        "float32, H ≤ 256, forward: 2.50 times cuDNN's speed in the geometric mean, at least 2.50"
    )
