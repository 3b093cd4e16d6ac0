"""Loggers and progress of the training loop, and of sweeps, by the flags of the commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments.common.execution import execute
from experiments.common.flags import MonitorFlags
from experiments.common.monitoring import use_monitoring
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from tests.fixtures import tiny_experiment
from tests.fixtures.linear_regression import make_training
from tests.fixtures.loggers.logged import read_csv
from tests.helpers import ROOT

SETTINGS = {"size": 3, "model": {"cell": "gru", "layers": [1, 2]}, "note": None}


def train(directory: Path, *log: str, quiet: bool = False, **changes) -> None:
    with use_monitoring(MonitorFlags(quiet=quiet, log=log), "project"):
        loop.run(make_training(**changes), jax.random.key(0), directory, SETTINGS, "test")


def logged(directory: Path) -> list[tuple[int, str, float]]:
    """Step, metric and value of each row of curves.csv."""
    rows = read_csv(directory / "logs" / "curves.csv")
    assert {row["run"] for row in rows} == {directory.name}
    return [(int(row["step"]), row["metric"], float(row["value"])) for row in rows]


def expected(directory: Path, epochs: int = 6) -> list[tuple[int, str, float]]:
    """What the metrics.jsonl of the run says."""
    records = read_records(directory / loop.METRICS)
    assert [record["epoch"] for record in records] == list(range(1, epochs + 1))
    return [
        (record["epoch"], name, value)
        for record in records
        for name, value in record.items()
        if name != "epoch"
    ]


def test_a_resumed_training_goes_on_where_its_log_ends(tmp_path, stop_after):
    stop_after(2, lambda: train(tmp_path, "csv", "json"))
    assert len(logged(tmp_path)) >= 2  # it may stop before epoch 2 is recorded
    assert not (tmp_path / "logs" / "runs.csv").exists()
    train(tmp_path, "csv", "json")
    assert logged(tmp_path) == expected(tmp_path)
    (row,) = read_csv(tmp_path / "logs" / "runs.csv")
    assert (row["failed"], row["size"], row["model.cell"]) == ("False", "3", "gru")
    assert (row["model.layers"], row["note"]) == ("[1, 2]", "null")
    last = {name: value for step, name, value in expected(tmp_path) if step == 6}
    assert {name: float(row[name]) for name in last} == last
    before = (tmp_path / "logs" / "runs.jsonl").read_bytes()
    train(tmp_path, "csv", "json")
    assert (tmp_path / "logs" / "runs.jsonl").read_bytes() == before
    entries = [json.loads(line) for line in before.splitlines()]
    assert [entry["step"] for entry in entries if "step" in entry] == [1, 2, 3, 4, 5, 6]


def test_a_finished_training_is_recorded_later(tmp_path):
    train(tmp_path)
    assert not (tmp_path / "logs").exists()
    train(tmp_path, "csv")
    assert logged(tmp_path) == expected(tmp_path)


def test_a_training_with_nan_has_failed(tmp_path):
    train(tmp_path, "csv", learning_rate=float("nan"), epochs=2)
    (row,) = read_csv(tmp_path / "logs" / "runs.csv")
    assert row["failed"] == "True"


def test_a_logger_that_fails_does_not_stop_a_training(tmp_path):
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="`CSVLogger` failed"):
        train(tmp_path, "csv", epochs=2)
    assert len(read_records(tmp_path / loop.METRICS)) == 2


def test_quiet_shows_no_progress(tmp_path, capsys):
    train(tmp_path, quiet=True, epochs=2)
    assert capsys.readouterr().err == ""


def run(module: str, out: Path, *flags: str) -> str:
    """Runs a command whose stderr is a pipe. Returns: what it says there."""
    command = [sys.executable, "-m", f"tests.fixtures.{module}", "--out", str(out), *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "\r" not in ran.stderr
    return ran.stderr


def test_a_command_in_a_pipe_says_a_line_an_epoch(tmp_path):
    lines = run("tiny_experiment", tmp_path, "--epochs", "2", "--log", "csv", "json").splitlines()
    assert [line.split(" epochs in ")[0] for line in lines] == ["tiny: 1/2", "tiny: 2/2"]
    assert all("train_loss" in line for line in lines)
    assert logged(tmp_path / "run") == expected(tmp_path / "run", 2)
    assert (tmp_path / "run" / "logs" / "runs.jsonl").exists()


def test_the_flags_hold_for_sweeps(tmp_path):
    assert run("tiny_sweep", tmp_path, "--log", "csv", "--quiet") == ""
    assert len(read_csv(tmp_path / "chunks" / "logs" / "runs.csv")) == 7


def test_a_package_that_is_missing_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    command = tiny_experiment.Command(out=tmp_path / "out", common=MonitorFlags(log=("wandb",)))
    with pytest.raises(SystemExit) as caught:
        execute(tiny_experiment.main, command, "tiny")
    assert caught.value.code == 2
    sentence = "error: `WandbLogger` needs wandb: pip install wandb"
    assert capsys.readouterr().err.startswith(sentence)
    assert not (tmp_path / "out").exists()
