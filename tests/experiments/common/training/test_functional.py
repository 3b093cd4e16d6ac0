"""The training loop: pure and on disk, resumed after a kill, with damaged checkpoints."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common import training
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from tests.helpers import ROOT

SETTINGS = {"learning_rate": 0.1}


def make_training(learning_rate=0.1, epochs=6, patience=10) -> training.Training:
    """Noisy linear regression with a key-dependent loss, small enough to compile at once."""
    xs = jax.random.normal(jax.random.key(5), (40, 3))
    examples = {"x": xs, "y": xs @ jnp.array([1.0, -2.0, 0.5])}

    def loss(params, batch, key):
        keep = jax.random.bernoulli(key, 0.8, batch["x"].shape)
        return jnp.mean((jnp.where(keep, batch["x"], 0) @ params["w"] - batch["y"]) ** 2)

    def evaluate(params):
        return {"validation_score": -jnp.mean((xs @ params["w"] - examples["y"]) ** 2)}

    return training.make_training(
        init_params=lambda key: {"w": jax.random.normal(key, (3,))},
        loss=loss,
        evaluate=evaluate,
        score="validation_score",
        optimizer=optax.adam(learning_rate),
        examples=examples,
        batch_size=16,
        epochs=epochs,
        patience=patience,
    )


def run(directory: Path, **changes) -> training.TrainState:
    return loop.run(make_training(**changes), jax.random.key(0), directory, SETTINGS, "test")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> bytes:
    """metrics.jsonl of a run that was left alone."""
    directory = tmp_path_factory.mktemp("reference")
    run(directory)
    return (directory / loop.METRICS).read_bytes()


def test_the_pure_training_and_the_loop_give_the_same_metrics(reference):
    state, metrics = jax.jit(lambda key: training.train(make_training(), key))(jax.random.key(0))
    records = [json.loads(line) for line in reference.splitlines()]
    for name in ("train_loss", "validation_score"):
        np.testing.assert_allclose(metrics[name], [r[name] for r in records], rtol=1e-5)
    assert float(state.best_score) == max(r["validation_score"] for r in records)


def test_a_sweep_is_a_vmap_over_the_pure_training():
    def final(learning_rate):
        return training.train(make_training(learning_rate), jax.random.key(0))[1]["train_loss"][-1]

    rates = jnp.array([0.001, 0.1])
    np.testing.assert_allclose(jax.vmap(final)(rates), [final(r) for r in rates], rtol=1e-5)


def test_early_stopping_keeps_the_best_parameters():
    plan = make_training(learning_rate=-0.05, patience=2)  # each epoch is worse than the last
    state, metrics = training.train(plan, jax.random.key(0))
    assert int(state.epoch) == 3
    assert np.isnan(metrics["train_loss"]).tolist() == [False] * 3 + [True] * 3
    first, _ = plan.epoch(plan.init(jax.random.key(0)))
    np.testing.assert_allclose(state.best_params["w"], first.params["w"], rtol=1e-6)


def test_fewer_examples_than_a_batch():
    with pytest.raises(ValueError, match="3 training examples do not fill a batch of 16"):
        training.make_training(
            init_params=lambda key: {},
            loss=lambda *_: jnp.float32(0),
            evaluate=lambda _: {},
            score="",
            optimizer=optax.sgd(1.0),
            examples=jnp.zeros(3),
            batch_size=16,
            epochs=1,
            patience=1,
        )


def test_map_batches_cuts_off_what_it_filled_up():
    xs = jnp.arange(14.0).reshape(7, 2)
    result = training.map_batches(
        lambda b: (b["x"].sum(-1), b["none"]), {"x": xs, "none": xs[:, :0]}, 3
    )
    np.testing.assert_array_equal(result[0], xs.sum(-1))
    assert result[1].shape == (7, 0)


def test_interrupted_and_continued_equals_left_alone(tmp_path, stop_after, capsys, reference):
    stop_after(2, lambda: run(tmp_path))
    assert f"stopped. Every finished epoch is saved in {tmp_path}" in capsys.readouterr().err
    run(tmp_path)
    assert "going on after epoch 2" in capsys.readouterr().err
    assert (tmp_path / loop.METRICS).read_bytes() == reference
    assert len(read_records(tmp_path / loop.TIMES)) == 6


def test_a_finished_run_does_not_train_again(tmp_path, capsys):
    first = run(tmp_path)
    plan = make_training()._replace(epoch=None)
    again = loop.run(plan, jax.random.key(0), tmp_path, SETTINGS, "test")
    assert "already trained (6 epochs" in capsys.readouterr().err
    np.testing.assert_array_equal(first.best_params["w"], again.best_params["w"])


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_newest_checkpoint_falls_back(tmp_path, stop_after, reference, damage):
    stop_after(4, lambda: run(tmp_path))
    newest = tmp_path / "checkpoints" / "4"
    for path in [p for p in newest.rglob("*") if p.is_file()]:
        content = bytearray(path.read_bytes())
        if damage == "truncate":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "remove":
            path.unlink()
        elif "/d/" in str(path):  # the arrays' bytes themselves
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{newest} is damaged.*the one before"):
        run(tmp_path)
    assert (tmp_path / loop.METRICS).read_bytes() == reference


def test_other_settings_are_refused(tmp_path):
    loop.claim_directory(tmp_path, {"size": 1, "same": (1, 2)})
    loop.claim_directory(tmp_path, {"size": 1, "same": (1, 2)})
    with pytest.raises(loop.SettingsMismatchError, match=r"size = 1 there, 2 here"):
        loop.claim_directory(tmp_path, {"size": 2, "same": (1, 2)})


def test_kill_9_and_resume_gives_bit_identical_metrics(tmp_path, reference):
    program = (
        "import pathlib, time, tests.experiments.common.training.test_functional as t\n"
        "save = t.loop.Checkpoints.save\n"
        "def slow(self, epoch, state):\n"
        "    time.sleep(0.3); save(self, epoch, state)\n"
        "t.loop.Checkpoints.save = slow\n"
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
