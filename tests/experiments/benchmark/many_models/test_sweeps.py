"""The benchmarks of many models: all contestants do the same work, and the table shows speeds."""

import re

import numpy as np
import pytest

from experiments.benchmark.many_models import sweeps
from experiments.benchmark.many_models.sweeps import CONTESTANTS, Shape, make_run, report_sweeps
from tests.helpers import COMPILER

CAN_RUN = CONTESTANTS if COMPILER else CONTESTANTS[1:]
TINY = Shape(steps=4, batch_size=2, hidden_size=3, updates=20)


@pytest.fixture
def few_trials(monkeypatch):
    monkeypatch.setattr(sweeps, "TRIALS", 3)


@pytest.mark.slow
def test_all_contestants_train(few_trials):
    errors = {name: make_run(name, TINY)() for name in CAN_RUN}
    if "native" in errors:
        np.testing.assert_allclose(errors["native"], errors["loop"], rtol=1e-4)  # 20 updates
    np.testing.assert_allclose(errors["sweep"], errors["loop"], rtol=1e-5)
    assert errors["naive"].shape == (3,)  # the same training from other initial weights
    assert np.all(np.abs(np.log(errors["naive"] / errors["loop"])) < 2)


def test_the_table_has_speeds_and_ratios(monkeypatch):
    seconds = {
        "native": np.full(3, 0.5),
        "sweep": np.array([1.0, 2.0, 9.0]),
        "loop": np.full(3, 4.0),
        "naive": np.full(3, 8.0),
    }
    monkeypatch.setattr(sweeps, "measure", lambda *_: seconds)
    row = report_sweeps(rounds=3, shapes=[TINY]).splitlines()[1]
    assert re.split(r"\s{2,}", row)[1:] == ["128.0", "32.0", "16.0", "8.0", "16.00", "4.00", "2.00"]


@pytest.mark.long
def test_the_processes_take_turns():
    seconds = sweeps.measure(TINY, rounds=2, cores=2, names=CAN_RUN)
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys(CAN_RUN, 2)
    assert all(np.all(values > 0) for values in seconds.values())
