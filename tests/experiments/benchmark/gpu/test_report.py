"""The GPU benchmark's table and its summary."""

from itertools import product

from experiments.benchmark.gpu.report import Point, format_points, summarize
from experiments.benchmark.peers import MODES


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
    lines = summarize(points).splitlines()
    assert lines[0] == (
        "float32, H ≤ 256, forward: 2.50 times cuDNN's speed in the geometric mean, at least 2.50"
    )
