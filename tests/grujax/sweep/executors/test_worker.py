"""A worker loads and compiles once, and forgets what it no longer needs."""

import gc
import weakref
from functools import partial

import numpy as np
import pytest

from grujax import sweep
from grujax.sweep.executors import worker
from tests.fixtures.executors import Cluster
from tests.fixtures.sweep_trainings import Compilations, descend
from tests.fixtures.sweep_trainings import run as run_sweep

TRIALS = sweep.grid(learning_rate=[0.1, 0.2, 0.3], steps=[2, 3])
run = partial(run_sweep, trials=TRIALS, static=("steps",), executor=Cluster, chunk=1)


@pytest.fixture(autouse=True)
def new_worker(monkeypatch):
    monkeypatch.setattr(worker, "_loaded", {})
    monkeypatch.setattr(worker, "_origins", {})


def test_a_group_compiles_once_in_a_worker(tmp_path):
    run()
    worker._loaded.clear()
    with Compilations() as first:
        run()
    with Compilations() as again:
        run()
    assert first.count == 2
    assert again.count == 0


def test_a_group_is_traced_once_for_its_origin(tmp_path, monkeypatch):
    traced = []

    def note(train, plan, sweep, original=worker.origin_of):
        traced.append(plan.static)
        return original(train, plan, sweep)

    monkeypatch.setattr(worker, "origin_of", note)
    run(directory=tmp_path)
    assert traced == [(("steps", 2),), (("steps", 3),)]


def test_a_worker_keeps_the_last_functions_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_KEPT", 2)
    kept = []
    for number in range(3):
        trials = {"learning_rate": [0.1]}
        factor = float(number)
        run_sweep(
            lambda key, learning_rate, factor=factor: descend(key, factor * learning_rate),
            trials,
            executor=Cluster,
            directory=tmp_path / str(number),
        )
        kept.append(weakref.ref(list(worker._loaded.values())[-1]))
    gc.collect()
    assert [one() is None for one in kept] == [True, False, False]
    assert len(worker._origins) == 2


def test_trials_that_do_not_fit_at_once_run_in_parts(monkeypatch):
    whole = run(chunk=None, executor=None)
    sizes = []

    def note(program, key, values, indices, original=worker.run_chunk):
        sizes.append(len(indices))
        return original(program, key, values, indices)

    def program(train, plan, original=worker.program_for):
        return original(train, plan._replace(trials=1, fit_memory=False))

    monkeypatch.setattr(worker, "run_chunk", note)
    monkeypatch.setattr(worker, "program_for", program)
    result = run(chunk=3)
    assert sizes == [1] * 6
    for name, values in whole.metrics.items():
        np.testing.assert_array_equal(result.metrics[name], values)
