"""The benchmark's report, from measurements that are written by hand."""

import json

from experiments.benchmark.measurements import Measurement
from experiments.benchmark.report import format_report
from experiments.benchmark.summary import collect_points, summarize


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
    assert "grujax scan, H ≤ 256: geometric mean 1.00 over 2, 0.50 (T256 B16 I64 H256) to" in text
    assert "slower than a peer at: T256 B16 I64 H256 (0.50, flax.linen)" in text
    assert "memory / flax.linen's: geometric mean 0.71 over 2, 0.25 (" in text
    assert "to 2.00 (T256 B16 I64 H256)" in text
    assert "compile time / flax.linen's: geometric mean 2.00 over 1" in text
    assert "with lengths / without: geometric mean 1.20 over 1, 1.20 (" in text
    assert "roofline, B ≥ 16 and H ≥ 128: geometric mean 0.10 over 2" in text
    assert "both directions / one: geometric mean 1.90 over 1, 1.90 (" in text
    assert "grujax plain / grujax scan: geometric mean 2.00 over 1, 2.00 (" in text


def test_the_record_has_all_points_and_means():
    rows = [
        row("grujax native", "forward", 2.0),
        row("grujax scan", "forward", 4.0),
        row("onnxruntime", "forward", 3.0),
        row("torch", "forward", 8.0),
        row("grujax native", "forward", 9.0, hidden_size=512),
        row("torch", "forward", 8.0, hidden_size=512),
        row("grujax native", "forward", 1.0, dtype="bfloat16"),
    ]
    record = json.loads(json.dumps(summarize(collect_points(rows, "grujax native"))))
    point = record["points"]["T256 B16 I64 H128"]["forward"]
    assert point["ms"] == {
        "grujax native": 2.0,
        "grujax scan": 4.0,
        "onnxruntime": 3.0,
        "torch": 8.0,
    }
    assert (point["fastest library"], point["ratio"], point["roofline"]) == (
        "onnxruntime",
        1.5,
        0.5,
    )
    alone = record["points"]["T256 B16 I64 H128 one layer bfloat16"]["forward"]
    assert (alone["fastest library"], alone["ratio"]) == (None, None)
    means = record["means"]["forward"]
    native, scan = (means["implementations"][f"grujax {name}"] for name in ("native", "scan"))
    assert native["H ≤ 256"]["mean"] == 1.5
    assert native["H ≤ 256, of those that train"]["mean"] == 4.0
    assert native["all"]["least at"] == "T256 B16 I64 H512"
    assert (native["all"]["count"], native["all"]["count above 1"]) == (2, 1)
    assert scan["all"]["mean"] == 0.75
    assert scan["all, of those that train"]["mean"] == 2.0
    assert means["variants"]["float32 / bfloat16"]["mean"] == 2.0
    assert means["variants"]["grujax scan / grujax native"]["mean"] == 2.0


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
