"""The GPU benchmark's checks, without a GPU."""

import pytest

from experiments.benchmark.gpu import checks
from experiments.benchmark.gpu.checks import Check


@pytest.mark.parametrize(
    ("kind", "is_tangent"),
    [
        ("one", False),
        pytest.param("one", True, marks=pytest.mark.slow),
        *(pytest.param(x, False, marks=pytest.mark.slow) for x in ("models", "both", "layer")),
    ],
)
def test_checks_compare_with_float64(kind, is_tangent):
    check = Check("small", 3, 5, options=("lengths", "resets"), kind=kind, is_tangent=is_tangent)
    outputs, derivatives = checks.run_check(check, implementation="scan")
    assert 0 < outputs < 1e-5
    assert 0 < derivatives < 1e-5


def test_a_wrong_kernel_is_not_right_and_what_a_device_does_not_hold_is_left_out(monkeypatch):
    monkeypatch.setattr(checks, "holds", lambda dtype, units: units == 5)
    monkeypatch.setattr(checks, "run_check", lambda check, _: (1e-7, float("inf")))
    found = checks.run_checks("cuda", [Check("small", 3, 5), Check("large", 3, 500)])
    assert [(check["name"], check["is_right"]) for check in found] == [("small", False)]
    monkeypatch.setattr(checks, "run_check", lambda check, _: (float("nan"), 0.0))
    assert not checks.run_checks("scan", [Check("small", 3, 5)])[0]["is_right"]
    monkeypatch.setattr(checks, "run_check", lambda check, _: (1e-7, 1e-7))
    assert checks.run_checks("scan", [Check("small", 3, 5)])[0]["is_right"]


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["scan", "plain", "newton"])
def test_the_checks_of_the_other_implementations_pass_on_a_cpu(implementation):
    found = checks.run_checks(implementation, checks.CHECKS[implementation])
    assert [check["name"] for check in found if not check["is_right"]] == []
