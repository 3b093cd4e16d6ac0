"""Sweeps and populations on several devices give the results of one.

JAX fixes the number of devices at its start, so each test runs in a new process.
"""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT


def run_with_devices(devices: int, code: str) -> None:
    start = f"import jax\njax.config.update('jax_num_cpu_devices', {devices})\n"
    subprocess.run(
        [sys.executable, "-c", start + code],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )


def test_three_devices_equal_one():
    run_with_devices(
        3,
        """
import numpy as np
from tests.fixtures import populations, sweep_trainings
from tests.fixtures.sweep_trainings import TRIALS, assert_equals_trials_alone, descend
assert len(jax.devices()) == 3
for strategy, chunk in [("map", 2), ("vmap", 4)]:
    result = sweep_trainings.run(strategy=strategy, chunk=chunk)
    assert_equals_trials_alone(result, descend, TRIALS)
spread = populations.run(**populations.WALK)
alone = populations.run(**populations.WALK, devices=jax.devices()[1:2])
populations.assert_same(spread, alone, 1e-5)
assert np.any(spread.metrics["parent_by_round"] != np.arange(5)[:, None])
""",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "options"),
    [(2, [("map", 2), ("vmap", None)]), (3, [("map", None), ("vmap", 4)])],
)
def test_a_trial_equals_the_trial_alone_on_several_devices(devices, options):
    run_with_devices(
        devices,
        f"""
from tests.fixtures.sweep_trainings import *
assert len(jax.devices()) == {devices}
for strategy, chunk in {options}:
    result = run(train_gru, GRU_TRIALS, strategy=strategy, chunk=chunk)
    assert_equals_trials_alone(result, train_gru, GRU_TRIALS)
few = run(devices=jax.devices()[1:])
assert_equals_trials_alone(few, descend, TRIALS)
""",
    )


@pytest.mark.slow
def test_populations_on_any_devices_give_the_same_result():
    run_with_devices(
        3,
        """
from tests.fixtures.populations import *
one, three = jax.devices()[1:2], jax.devices()
for search, strategy, options in (
    (run, 'map', RICH), (run, 'vmap', {}), (halve, 'map', {'factor': 3})
):
    alone = search(**options, devices=one, strategy=strategy)
    spread = search(**options, devices=three, strategy=strategy)
    assert_same(spread, alone, 1e-5)
""",
    )
