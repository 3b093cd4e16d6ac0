"""The GPU benchmark's checks, without a GPU."""

import pytest

from experiments.benchmark.gpu import checks
from experiments.benchmark.gpu.checks import Check


@pytest.mark.parametrize(
    "kind",
    ["one", *(pytest.param(x, marks=pytest.mark.slow) for x in ("models", "both", "layer"))],
)
def test_checks_compare_with_float64(kind):
    check = Check("small", 3, 5, options=("lengths", "resets"), kind=kind)
    outputs, gradients = checks.run_check(check, implementation="scan")
    assert 0 < outputs < 1e-5
    assert 0 < gradients < 1e-5


def test_a_wrong_kernel_is_not_timed(monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", (Check("small", 3, 5),))
    monkeypatch.setattr(checks, "holds", lambda dtype, units: units == 5)
    monkeypatch.setattr(checks, "run_check", lambda check: (1e-7, float("inf")))
    with pytest.raises(ValueError, match=r"off by .*e-07, in its gradients by inf"):
        checks.run_checks()
