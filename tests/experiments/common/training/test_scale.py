"""Trainings on several devices of one process."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.training.scale import (
    ONE_DEVICE,
    Scale,
    ScaleError,
    count_rows,
    current_scale,
    shard_rows,
    use_scale,
)
from tests.helpers import ROOT, run_on_eight_devices


@pytest.mark.parametrize(
    "chosen",
    [
        "eight_devices and (there_are or text_generation)",
        pytest.param("", marks=pytest.mark.slow, id="all"),
    ],
)
def test_experiments_give_the_same_on_eight_devices(chosen):
    run_on_eight_devices("eight_devices.py", "-k", chosen)


def test_rows_are_counted_along_their_axes():
    batch = {"a": jnp.zeros((4, 3)), "b": jnp.zeros((1, 2, 5)), "c": jnp.zeros(1)}
    assert count_rows(batch) == 4
    assert count_rows(batch, {"a": None, "b": 2, "c": None}) == 5
    assert count_rows(batch, None) is None


def test_nothing_is_sharded_without_a_mesh():
    batch = {"a": jnp.zeros((4, 3))}
    assert shard_rows(batch) is batch
    assert ONE_DEVICE.mesh() is None


def test_too_few_devices():
    number = 1 + len(jax.devices())
    with pytest.raises(ScaleError, match=f"--devices {number} asks for more devices than there"):
        Scale(devices=number).mesh()


@pytest.mark.parametrize("name", ["devices", "accumulate"])
def test_less_than_one(name):
    with pytest.raises(ScaleError, match=f"--{name} must be at least 1, got 0"):
        Scale(**{name: 0}).prepare()


@pytest.mark.parametrize(("devices", "accumulate"), [(3, 1), (2, 4), (1, 5)])
def test_rows_that_do_not_divide_are_refused(devices, accumulate):
    with pytest.raises(ScaleError, match=f"multiple of {devices * accumulate}"):
        Scale(devices=devices, accumulate=accumulate).check(13)
    Scale(devices=devices, accumulate=accumulate).check(2 * devices * accumulate)


def test_a_scale_applies_inside_its_block():
    with use_scale(Scale(accumulate=2)):
        with use_scale(Scale(devices=8)):
            assert current_scale().devices == 8
        assert current_scale().accumulate == 2
    assert current_scale() == ONE_DEVICE


def test_flags_that_change_results_are_settings():
    assert Scale(devices=8).settings() == {}
    assert Scale(accumulate=2, dtype="bfloat16").settings() == {
        "accumulate": 2,
        "dtype": "bfloat16",
    }


@pytest.mark.slow
def test_the_flags_of_a_command(tmp_path):
    command = [sys.executable, "-m", "tests.fixtures.tiny_experiment", "--out", str(tmp_path)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }

    def run(*flags: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, *flags], env=environment, capture_output=True, text=True, check=False
        )

    refused = run("--devices", "3")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: A batch of 16 rows cannot be cut into 1 equal pieces")
    done = run("--devices", "4", "--epochs", "1")
    assert done.stdout == "training\ndone\n"
    assert np.load(tmp_path / "run" / "best.npz").files
