"""The benchmark's report, from measurements that are written by hand."""

from experiments.benchmark.measurements import Measurement
from experiments.benchmark.report import collect_points, format_report


def row(library: str, mode: str, milliseconds: float, **fields) -> Measurement:
    setting = {"steps": 256, "batch": 16, "input_size": 64, "hidden_size": 128} | fields
    defaults = {"roofline_ms": 1.0, "lower_ms": milliseconds, "upper_ms": milliseconds}
    return Measurement(
        library=library, mode=mode, median_ms=milliseconds, **{**defaults, **setting}
    )


def test_the_summary_says_what_was_measured():
    rows = [
        row("grujax scan", "training", 10.0, temporaries_mb=5.0, compile_s=1.0),
        row("flax.linen", "training", 30.0, temporaries_mb=20.0, compile_s=0.5),
        row("torch", "training", 20.0),
        row("grujax scan", "training", 10.0, hidden_size=256, temporaries_mb=40.0),
        row("flax.linen", "training", 5.0, hidden_size=256, temporaries_mb=20.0),
        row("grujax scan", "training", 12.0, kind="lengths"),
        row("grujax scan unmasked", "training", 10.0, kind="lengths"),
        row("grujax scan", "training", 19.0, kind="bidirectional"),
        row("grujax plain", "training", 38.0, kind="bidirectional"),
    ]
    points = collect_points(rows, "grujax scan")
    assert [point.ratio for point in points[:2]] == [2.0, 0.5]
    text = format_report(points, ["grujax scan", "flax.linen", "torch"])
    assert "H ≤ 256: geometric mean 1.00 over 2" in text
    assert "least 0.50 at T256 B16 I64 H256 (flax.linen)" in text
    assert "below 1, including points off the grid: T256 B16 I64 H256 (0.50)" in text
    assert "T ≥ 256, B ≥ 16, H ≤ 256: geometric mean 0.71 over 2, most 2.00" in text
    assert "compile time / flax.linen's: geometric mean 2.00 over 1" in text
    assert "time with lengths / without: geometric mean 1.20 over 1, most 1.20" in text
    assert "roofline, B ≥ 16 and H ≥ 128: geometric mean 10%" in text
    assert "both directions / one: geometric mean 1.90 over 1, most 1.90" in text
    assert "grujax plain / grujax scan: geometric mean 2.00 over 1, least 2.00" in text


def test_a_dash_stands_for_what_a_library_cannot_do():
    rows = [
        row("grujax scan", "forward", 10.0),
        row("onnxruntime", "forward", 15.0),
        row("grujax scan", "training", 30.0),
    ]
    columns = ["grujax scan", "flax.linen", "flax.nnx", "haiku", "equinox", "onnxruntime"]
    text = format_report(collect_points(rows, "grujax scan"), columns)
    ours, first, second, _ = (
        [line.split()[4:] for line in table.splitlines()] for table in text.split("\n\n")
    )
    assert ours[1:] == [
        ["forward", "10.0", "±0%", "onnxruntime", "15.0", "±0%", "1.50", "10%"],
        ["training", "30.0", "±0%", "-", "-", "-", "3%"],
    ]
    assert first[1:] == [["forward", *"----"], ["training", *"----"]]
    assert second[1:] == [["forward", "15.0", "±0%"], ["training", "-"]]
