"""The command on a tiny grid: its files, how it resumes, and what it skips."""

import csv
from dataclasses import replace
from importlib.metadata import version

import jax
import pytest

from experiments.benchmark import compare as benchmark
from experiments.benchmark.measurements import read_csv, write_csv
from experiments.benchmark.peers import LIBRARIES, Setting
from experiments.common.report import timing

TINY = Setting(steps=5, batch=2, input_size=3, hidden_size=4)


@pytest.fixture
def tiny_grid(monkeypatch):
    """Two small points, and no time spent on measuring the machine."""
    monkeypatch.setattr(timing, "MATMUL_SIZE", 8)
    monkeypatch.setattr(timing, "STREAM_FLOATS", 8)
    monkeypatch.setattr(benchmark, "quick_grid", lambda: [TINY, replace(TINY, kind="lengths")])
    monkeypatch.setattr(benchmark, "BASE", TINY)


def test_short_calls_are_reported_without_plots(tiny_grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "short_grid", lambda: [replace(TINY, steps=1)])
    settings = benchmark.Command(
        short=True, libraries=("flax.linen",), implementations=("scan",), seconds=0, out=tmp_path
    )
    benchmark.main(settings)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in names if name.startswith("libraries")] == [
        f"libraries-short.{end}" for end in ("csv", "json", "txt")
    ]
    report = (tmp_path / "libraries-short.txt").read_text(encoding="utf-8")
    assert report in capsys.readouterr().out


def test_a_run_writes_everything_and_resumes(tiny_grid, tmp_path, capsys, monkeypatch):
    settings = benchmark.Command(
        quick=True, libraries=("flax.linen",), implementations=("scan",), seconds=0, out=tmp_path
    )
    benchmark.main(settings)
    for name in (
        "libraries.csv",
        "libraries.json",
        "libraries.txt",
        "libraries_times.png",
        "libraries_ratios.png",
    ):
        assert (tmp_path / name).stat().st_size > 0
    header, row = (tmp_path / "libraries_ratios.csv").read_text(encoding="utf-8").splitlines()
    assert header == "T,B,I,H,forward,training"
    assert row.startswith("5,2,3,4,")  # with lengths is off the grid
    report = (tmp_path / "libraries.txt").read_text(encoding="utf-8")
    assert f"jax {jax.__version__}" in report
    assert report in capsys.readouterr().out
    with (tmp_path / "libraries.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * (2 + 3)  # in both modes; where there are lengths, grujax without too
    for line in table:
        lower, median, upper = (float(line[f"{x}_ms"]) for x in ("lower", "median", "upper"))
        assert 0 < lower <= median <= upper
        assert float(line["roofline_ms"]) > 0
        assert float(line["compile_s"]) > 0
        assert float(line["temporaries_mb"]) >= 0

    everything, measured = read_csv(tmp_path / "libraries.csv"), []

    def measure(setting, *_):
        measured.append(setting)
        return [m for m in everything if m.setting == setting]

    monkeypatch.setattr(benchmark, "measure", measure)
    write_csv(tmp_path / "libraries.csv", [m for m in everything if m.setting != TINY])
    benchmark.main(settings)
    assert measured == [TINY]
    assert len(read_csv(tmp_path / "libraries.csv")) == len(everything)
    benchmark.main(replace(settings, fresh=True))
    assert measured == [TINY, *benchmark.quick_grid()]


def test_peers_without_training_are_left_out_there(tiny_grid, tmp_path, monkeypatch):
    grid = [
        replace(TINY, batch=batch, input_size=64) for batch in (1, 2, 3)
    ]  # a heat map of I = 64
    monkeypatch.setattr(benchmark, "quick_grid", lambda: grid)
    monkeypatch.setattr(benchmark, "BASE", grid[0])
    benchmark.main(
        benchmark.Command(
            quick=True,
            libraries=("onnxruntime",),
            implementations=("scan",),
            seconds=0,
            out=tmp_path,
        )
    )
    measured = [(m.library, m.mode) for m in read_csv(tmp_path / "libraries.csv")]
    assert measured.count(("onnxruntime", "forward")) == 3
    assert measured.count(("onnxruntime", "training")) == 0
    assert measured.count(("grujax scan", "training")) == 3
    report = (tmp_path / "libraries.txt").read_text(encoding="utf-8")
    assert f"onnxruntime {version('onnxruntime')}" in report
    _, *rows = (tmp_path / "libraries_ratios.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[5] for row in rows] == ["", "", ""]  # no ratio of the training step
    assert all(float(row.split(",")[4]) > 0 for row in rows)


def test_a_missing_library_is_skipped_with_a_line(tiny_grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(
        LIBRARIES, "absent", LIBRARIES["torch"]._replace(modules=("no_such_module",))
    )
    monkeypatch.setenv("GRUJAX_NATIVE", "0")
    benchmark.main(benchmark.Command(quick=True, libraries=("absent",), seconds=0, out=tmp_path))
    errors = capsys.readouterr().err
    assert "absent is skipped: not installed" in errors
    assert "grujax native is skipped: `implementation=" in errors
