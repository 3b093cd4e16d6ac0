"""The benchmark through its real path, on a tiny grid; and that all libraries compute one GRU."""

import csv
from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.benchmark import compare as benchmark
from experiments.benchmark.measurements import Measurement, read_csv, write_csv
from experiments.benchmark.peers import (
    LIBRARIES,
    can_run,
    compile_program,
    make_problem,
    why_missing,
)
from experiments.benchmark.peers.problem import KINDS, Problem, Setting
from experiments.benchmark.report import collect_points, format_report
from experiments.common.report import timing
from tests.helpers import TOLERANCE

TINY = Setting(steps=5, batch=2, input_size=3, hidden_size=4)


def skip_unless_installed(name: str) -> None:
    reason = why_missing(name)
    if reason:
        pytest.skip(f"{name} is {reason}")


def as_library_sees_it(name: str, problem: Problem) -> Problem:
    """The problem with parameters of the function that this library's cell computes."""
    changes = {
        "haiku": lambda params: replace(params, reset_after=False),
        "flax.nnx": lambda params: replace(params, b_hn=0 * params.b_hn),
    }
    change = changes.get(name, lambda params: params)
    return problem._replace(layers=[[change(params) for params in x] for x in problem.layers])


def to_numpy(array) -> np.ndarray:
    return np.asarray(array.detach() if hasattr(array, "detach") else array)


def time_major(name: str, array) -> np.ndarray:
    return np.swapaxes(to_numpy(array), 0, 1) if LIBRARIES[name].batch_major else to_numpy(array)


def states(name: str, values) -> np.ndarray:
    """[layers times directions, B, H]"""
    return to_numpy(values) if name == "torch" else np.stack(jax.tree.leaves(values))


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in LIBRARIES for kind in KINDS if can_run(name, kind)]
)
def test_every_library_computes_the_same_as_grujax(name, kind):
    skip_unless_installed(name)
    problem = make_problem(Setting(40, 3, 4, 5, kind))
    expected_problem = as_library_sees_it(name, problem)
    exists = np.asarray(problem.c) != 0  # what a library makes of the padding is its own affair

    h_last, hs = compile_program(name, problem, "forward").run()
    expected_last, expected_hs = compile_program("grujax plain", expected_problem, "forward").run()
    tolerance = TOLERANCE["float32"]
    np.testing.assert_allclose(time_major(name, hs) * exists, expected_hs * exists, atol=tolerance)
    np.testing.assert_allclose(
        states(name, h_last), np.stack(jax.tree.leaves(expected_last)), atol=tolerance
    )

    loss, (d_weights, d_xs, d_h0) = compile_program(name, problem, "training").run()
    expected_loss, (_, expected_xs, expected_h0) = compile_program(
        "grujax plain", expected_problem, "training"
    ).run()
    # The loss is a sum over all steps, rows and units, of either sign.
    np.testing.assert_allclose(to_numpy(loss), expected_loss, atol=1e-3)
    np.testing.assert_allclose(time_major(name, d_xs), expected_xs, atol=5 * tolerance)
    if kind != "resets":  # Haiku resets to zero, whatever h0 is
        np.testing.assert_allclose(
            states(name, d_h0), np.stack(jax.tree.leaves(expected_h0)), atol=5 * tolerance
        )
    for leaf in jax.tree.leaves(d_weights):
        assert np.all(to_numpy(leaf) != 0)


@pytest.mark.parametrize("name", LIBRARIES)
def test_bfloat16_stays_bfloat16(name):
    skip_unless_installed(name)
    problem = make_problem(replace(TINY, dtype="bfloat16"))
    for mode in ("forward", "training"):
        for leaf in jax.tree.leaves(compile_program(name, problem, mode).run()):
            assert "bfloat16" in str(leaf.dtype)


def test_resets_and_lengths_are_drawn():
    assert make_problem(Setting(100, 4, 1, 2, "resets")).resets.any()
    lengths = make_problem(Setting(100, 8, 1, 2, "lengths")).lengths
    assert len(set(lengths.tolist())) > 1
    assert lengths.min() >= 50
    assert lengths.max() <= 100


def test_the_roofline_counts_every_layer_and_direction():
    one = Setting(10, 2, 3, 4)
    flops = 10 * 2 * (3 + 4) * 3 * 4 * 2
    floats = 10 * 2 * (3 + 4) + (3 + 4) * 3 * 4 + 4 * 4
    only_flops = benchmark.roofline_ms(one, "forward", flops, np.inf)
    assert only_flops == pytest.approx(1e3)
    assert benchmark.roofline_ms(one, "forward", np.inf, 4 * floats) == pytest.approx(1e3)
    assert benchmark.roofline_ms(one, "training", flops, np.inf) == pytest.approx(3e3)
    half = replace(one, dtype="bfloat16")
    assert benchmark.roofline_ms(half, "forward", np.inf, 4 * floats) == pytest.approx(500)
    both = replace(one, kind="bidirectional")
    assert benchmark.roofline_ms(both, "forward", flops, np.inf) == pytest.approx(2e3)
    stack = replace(one, kind="two layers")
    assert benchmark.roofline_ms(stack, "forward", flops, np.inf) == pytest.approx(
        1e3 * (1 + 8 / 7)
    )


@pytest.mark.parametrize("grid", [benchmark.full_grid(), benchmark.quick_grid()])
def test_a_grid_repeats_nothing_and_has_every_kind(grid):
    assert len(set(grid)) == len(grid)
    assert {setting.kind for setting in grid} == set(KINDS)
    assert {setting.dtype for setting in grid} == {"float32", "bfloat16"}
    assert all(s.steps * s.batch * s.hidden_size <= 2**23 for s in grid)


def test_functions_are_timed_in_turns():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.time_interleaved(runs, seconds=0, min_rounds=3, turn_seconds=1e-9)
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    # Two calls to estimate, then in each round one to settle and one that counts.
    turns = calls[4:]
    assert [sorted(turns[i : i + 4]) for i in (0, 4, 8)] == [["a", "a", "b", "b"]] * 3


def test_more_time_gives_more_rounds():
    times = timing.time_interleaved({"a": lambda: None}, seconds=60, max_rounds=7)
    assert len(times["a"]) == 7


def test_busy_processes_are_there_meanwhile(monkeypatch):
    started = []
    start = timing.subprocess.Popen
    monkeypatch.setattr(
        timing.subprocess, "Popen", lambda x: started.append(start(x)) or started[-1]
    )
    with timing.busy_processes(2):
        assert [process.poll() for process in started] == [None, None]
    assert all(process.poll() is not None for process in started)


def test_csv_reads_back(tmp_path):
    rows = [
        Measurement(1, 2, 3, 4, "resets", "bfloat16", "torch", "training", 1.5, 1.25, 2.0, 9, 0.5),
        Measurement(
            1, 2, 3, 4, library="haiku", mode="forward", compile_s=0.25, temporaries_mb=0.0
        ),
    ]
    write_csv(tmp_path / "rows.csv", rows)
    assert read_csv(tmp_path / "rows.csv") == rows
    assert rows[0].setting == Setting(1, 2, 3, 4, "resets", "bfloat16")
    assert read_csv(tmp_path / "none.csv") == []


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
    assert "below 1, beside the grid too: T256 B16 I64 H256 (0.50)" in text
    assert "T ≥ 256, B ≥ 16, H ≤ 256: geometric mean 0.71 over 2, most 2.00" in text
    assert "compile time / flax.linen's: geometric mean 2.00 over 1" in text
    assert "time with lengths / without: geometric mean 1.20 over 1, most 1.20" in text
    assert "roofline, B ≥ 16 and H ≥ 128: geometric mean 10%" in text
    assert "both directions / one: geometric mean 1.90 over 1, most 1.90" in text
    assert "grujax plain / grujax scan: geometric mean 2.00 over 1, least 2.00" in text


@pytest.fixture
def tiny_grid(monkeypatch):
    """Two small points, and no time spent on measuring the machine."""
    monkeypatch.setattr(timing, "MATMUL_SIZE", 8)
    monkeypatch.setattr(timing, "STREAM_FLOATS", 8)
    monkeypatch.setattr(benchmark, "quick_grid", lambda: [TINY, replace(TINY, kind="lengths")])
    monkeypatch.setattr(benchmark, "BASE", TINY)


def test_a_run_writes_everything_and_goes_on(tiny_grid, tmp_path, capsys, monkeypatch):
    settings = benchmark.Settings(
        quick=True, libraries=("flax.linen",), implementations=("scan",), seconds=0, out=tmp_path
    )
    benchmark.main(settings)
    for name in ("quick.csv", "quick.txt", "quick_times.png", "quick_ratios.png"):
        assert (tmp_path / name).stat().st_size > 0
    report = (tmp_path / "quick.txt").read_text(encoding="utf-8")
    assert f"jax {jax.__version__}" in report
    assert report in capsys.readouterr().out
    with (tmp_path / "quick.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * (2 + 3)  # in both modes; where there are lengths, grujax without too
    for line in table:
        lower, median, upper = (float(line[f"{x}_ms"]) for x in ("lower", "median", "upper"))
        assert 0 < lower <= median <= upper
        assert float(line["roofline_ms"]) > 0
        assert float(line["compile_s"]) > 0
        assert float(line["temporaries_mb"]) >= 0

    everything, measured = read_csv(tmp_path / "quick.csv"), []

    def measure(setting, *_):
        measured.append(setting)
        return [m for m in everything if m.setting == setting]

    monkeypatch.setattr(benchmark, "measure", measure)
    write_csv(tmp_path / "quick.csv", [m for m in everything if m.setting != TINY])
    benchmark.main(settings)
    assert measured == [TINY]
    assert len(read_csv(tmp_path / "quick.csv")) == len(everything)
    benchmark.main(replace(settings, fresh=True))
    assert measured == [TINY, *benchmark.quick_grid()]


def test_a_missing_library_is_skipped_with_a_line(tiny_grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(LIBRARIES, "absent", LIBRARIES["torch"]._replace(module="no_such_module"))
    monkeypatch.setenv("GRUJAX_NATIVE", "0")
    benchmark.main(benchmark.Settings(quick=True, libraries=("absent",), seconds=0, out=tmp_path))
    errors = capsys.readouterr().err
    assert "absent is skipped: not installed" in errors
    assert "grujax native is skipped: `implementation=" in errors
