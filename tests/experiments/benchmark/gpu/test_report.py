"""The GPU benchmark's report."""

from experiments.benchmark.gpu.report import format_report
from experiments.benchmark.gpu.steps import Step


def test_the_report_has_verdicts_tables_and_what_is_missing(measured):
    results = measured({"models": None})
    results.begin("memory")
    results.end("memory", 1.0, error="ValueError: no memory")
    steps = [Step(name, dict) for name in ("options", "models", "memory")]
    report = format_report(results, steps)
    assert report.startswith("NVIDIA H100 80GB HBM3, compute capability 9.0, ")
    assert "Failed: memory: ValueError: no memory" in report
    assert "Left out, because the time was over: models." in report
    lines = report.splitlines()
    assert (
        '- holds: README.md, "faster than cuDNN up to 128 units in float32": float32, forward: at '
        "least 3.00 times; float32, training: at least 3.00 times" in lines
    )
    header = lines.index("| H, B | grujax | cuDNN | scan | lax.scan |")
    assert (
        lines[header + 2] == "| 128, 16 | 1.00 / 2.00 | 3.00 / 6.00 | 16.3 / 32.5 | 16.3 / 32.5 |"
    )
    assert (
        "float32, H ≤ 128, forward: 3.00 times the speed of cuDNN in the geometric mean, at least "
        "3.00, at 2 shapes" in lines
    )
    for title in ("Errors:", "Options, training step:", "Newton's method, float32:"):
        assert title in lines
