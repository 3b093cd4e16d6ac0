"""The training loop: resumed after a kill, with damaged checkpoints, with other settings."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common import training
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.run_directory import claim_directory
from tests.fixtures.linear_regression import make_training
from tests.helpers import ROOT

SETTINGS = {"learning_rate": 0.1}


def run(directory: Path, **changes) -> training.TrainState:
    return loop.run(make_training(**changes), jax.random.key(0), directory, SETTINGS, "test")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> bytes:
    """metrics.jsonl of an undisturbed run."""
    directory = tmp_path_factory.mktemp("reference")
    run(directory)
    return (directory / loop.METRICS).read_bytes()


def test_the_pure_training_and_the_loop_give_the_same_metrics(reference):
    state, metrics = jax.jit(lambda key: training.train(make_training(), key))(jax.random.key(0))
    records = [json.loads(line) for line in reference.splitlines()]
    for name in ("train_loss", "validation_score"):
        np.testing.assert_allclose(metrics[name], [r[name] for r in records], rtol=1e-5)
    assert float(state.best_score) == max(r["validation_score"] for r in records)


def test_an_interrupted_and_resumed_run_equals_an_undisturbed_one(
    tmp_path, stop_after, capsys, reference
):
    stop_after(2, lambda: run(tmp_path))
    assert f"stopped. Every finished epoch is saved in {tmp_path}" in capsys.readouterr().err
    run(tmp_path)
    assert "resuming after epoch 2" in capsys.readouterr().err
    assert (tmp_path / loop.METRICS).read_bytes() == reference
    assert len(read_records(tmp_path / loop.TIMES)) == 6


def test_a_finished_run_does_not_train_again(tmp_path, capsys):
    first = run(tmp_path)
    plan = make_training()._replace(epoch=None)
    again = loop.run(plan, jax.random.key(0), tmp_path, SETTINGS, "test")
    assert "already trained (6 epochs" in capsys.readouterr().err
    np.testing.assert_array_equal(first.best_params["w"], again.best_params["w"])


def test_other_settings_are_refused(tmp_path):
    claim_directory(tmp_path, {"size": 1, "same": (1, 2)})
    claim_directory(tmp_path, {"size": 1, "same": (1, 2)})
    with pytest.raises(loop.SettingsMismatchError, match=r"size = 1 there, 2 here"):
        claim_directory(tmp_path, {"size": 2, "same": (1, 2)})


def test_kill_9_and_resume_gives_bit_identical_metrics(tmp_path, reference):
    program = (
        "import pathlib, time, tests.experiments.common.training.test_loop as t\n"
        "from experiments.common.training.checkpoints import Checkpoints\n"
        "save = Checkpoints.save\n"
        "def wait_in_third_epoch(self, epoch, *content):\n"
        "    time.sleep(60 if epoch == 3 else 0); save(self, epoch, *content)\n"
        "Checkpoints.save = wait_in_third_epoch\n"
        f"t.run(pathlib.Path({str(tmp_path)!r}))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=ROOT)
    deadline = time.monotonic() + 120
    while len(read_records(tmp_path / loop.METRICS)) < 3:  # killed before epoch 3 is saved
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / loop.METRICS).read_bytes() != reference
    run(tmp_path)
    assert (tmp_path / loop.METRICS).read_bytes() == reference
