"""Trials on an executor have the results of one process, whatever fails on the way."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import running
from grujax.sweep.executors import pack, worker
from grujax.sweep.executors.tasks import Outcome
from tests.fixtures.executors import Cluster, Death, Silent
from tests.fixtures.sweep_trainings import KEY, assert_same, descend
from tests.fixtures.sweep_trainings import run as run_sweep

TRIALS = sweep.grid(learning_rate=[0.1, 0.2, 0.3, 0.4, np.nan], steps=[2, 3])
run = partial(run_sweep, trials=TRIALS, static=("steps",))


def has(trial):
    return lambda task: trial in task.indices


def raises(condition, error, times=10**6):
    """A fault that raises where the condition holds, for so many times."""
    left = [times]

    def fault(task):
        if condition(task) and left[0]:
            left[0] -= 1
            raise error

    return fault


def chunks_in(folder):
    return sorted(path.name for path in folder.glob("chunk-*"))


EXECUTORS = {"threads": lambda: ThreadPoolExecutor(3), "jobs": Cluster, "silent": Silent}


@pytest.mark.parametrize(
    "options", [{}, {"chunk": 2}, {"strategy": "vmap"}, {"devices": 1}], ids=str
)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_any_executor_gives_the_results_of_one_process(executor, options):
    whole = run(**options)
    assert_same(run(**options, executor=EXECUTORS[executor]), whole)
    assert_same(run(**options, executor=EXECUTORS[executor]()), whole)


def test_the_directory_is_that_of_one_process(tmp_path, chunks_run):
    whole = run()
    assert_same(run(executor=Cluster, directory=tmp_path, chunk=2), whole)
    chunks_run.clear()
    assert_same(run(directory=tmp_path), whole)
    assert_same(run(executor=Cluster(fault=raises(has(0), Death)), directory=tmp_path), whole)
    (tmp_path / "chunk-000001.npz").unlink()
    given = []
    note = Cluster(fault=lambda task: given.append(task.indices.tolist()))
    assert_same(run(executor=note, directory=tmp_path), whole)
    assert given == [[1], [3]]
    assert not chunks_run


def test_workers_follow_the_settings_of_jax():
    def train(key, learning_rate):
        return {"loss": jax.numpy.float64(learning_rate)}

    with jax.enable_x64(True):
        result = run_sweep(train, {"learning_rate": [1e-50]}, executor=ThreadPoolExecutor(1))
    assert result.metrics["loss"].tolist() == [1e-50]


@pytest.mark.parametrize("error", [OSError("lost"), Death], ids=["a task", "a worker"])
def test_what_fails_is_given_out_again(tmp_path, error):
    fault = raises(has(7), error, times=2)
    result = run(executor=lambda: Cluster(fault), chunk=2, directory=tmp_path)
    assert_same(result, run())
    fault = raises(has(7), error, times=2)
    message = r"2 of 10 trials failed, with retries=1(.|\n)*Trials 5, 7 "
    with pytest.raises(RuntimeError, match=message):
        run(executor=lambda: Cluster(fault), chunk=2, retries=1)


def test_a_trial_that_kills_its_workers_is_named_and_no_other(tmp_path):
    made = []

    def make():
        made.append(Cluster(fault=raises(has(7), Death), workers=3))
        return made[-1]

    with pytest.raises(RuntimeError) as caught:
        run(executor=make, chunk=1, directory=tmp_path)
    header, reason = str(caught.value).splitlines()
    assert header.startswith("1 of 10 trials failed, with retries=2; all others are finished.")
    assert reason.startswith("Trials 7 (steps=3): its worker died (BrokenExecutor: a worker died)")
    assert len(chunks_in(tmp_path)) == 9
    assert len(made) == 3
    assert all(one.is_shut for one in made)
    assert_same(run(executor=Cluster(), directory=tmp_path), run())


def test_only_the_oldest_pieces_are_suspected_of_a_death():
    attempts = {}
    death = raises(has(0), Death, times=1)

    def fault(task):
        attempts[int(task.indices[0])] = task.attempt
        death(task)

    assert_same(run(executor=lambda: Cluster(fault, workers=3), chunk=1), run())
    assert {trial for trial, attempt in attempts.items() if attempt} == {0, 2, 4}


def test_a_failure_is_shown_with_its_traceback(monkeypatch):
    monkeypatch.setattr(worker, "run_chunk", None)
    with pytest.raises(RuntimeError, match=r"Traceback(.|\n)*'NoneType' object is not callable"):
        run(executor=Cluster)


def test_a_group_in_which_nothing_succeeds_is_given_up(tmp_path):
    given = []

    def fault(task):
        given.append(task)
        if dict(task.plan.static)["steps"] == 2:
            return Outcome(("host", 1, 2), failure="no")
        return None

    trials = sweep.grid(learning_rate=np.linspace(0.1, 0.5, 9), steps=[2, 3])
    with pytest.raises(RuntimeError) as caught:
        run(trials=trials, executor=Cluster(fault), chunk=1, retries=0, directory=tmp_path)
    assert str(caught.value).startswith("9 of 18 trials failed")
    assert "16 (steps=2): none of this group succeeded" in str(caught.value)
    assert len(given) < 18
    assert len(chunks_in(tmp_path)) == 9


def test_a_broken_executor_that_nothing_can_remake_stops_the_sweep(tmp_path):
    executor = Cluster(fault=raises(has(7), Death))
    with pytest.raises(RuntimeError, match=r"is broken \(Broken.*\), so .* Pass a function that"):
        run(executor=executor, chunk=1, directory=tmp_path)
    kept = chunks_in(tmp_path)
    assert kept
    assert not executor.is_shut  # it is the user's
    assert_same(run(executor=Cluster, chunk=1, directory=tmp_path), run())
    assert set(kept) < set(chunks_in(tmp_path))


def test_an_executor_that_never_works_is_not_remade_forever():
    with pytest.raises(RuntimeError, match=r"breaks again and again .*__name__ == \"__main__\""):
        run(executor=lambda: Cluster(fault=raises(bool, Death)))


@pytest.mark.parametrize("directory", [True, False])
def test_ctrl_c_keeps_what_is_done_and_cancels_the_rest(tmp_path, capsys, directory):
    executor = Cluster(fault=raises(has(7), KeyboardInterrupt, times=1))
    options = {"directory": tmp_path} if directory else {}
    with pytest.raises(KeyboardInterrupt):
        run(executor=executor, chunk=1, **options)
    done = [job for job in executor.jobs if job.outcome is not None]
    left = [job for job in executor.jobs if job.outcome is None]
    assert f"Sweep stopped with {len(done)} of 10 trials done" in capsys.readouterr().err
    assert len(chunks_in(tmp_path)) == (len(done) if directory else 0)
    assert left
    assert all(job.is_cancelled for job in left)


def other_train(key, learning_rate, steps):
    return descend(key, learning_rate / 2, steps)


def test_a_worker_with_another_train_function_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "pack", lambda train: pack(other_train))
    options = {"executor": Cluster, "directory": tmp_path}
    message = r"`train` differs between a worker .* computes something else here \(it is `other_"
    with pytest.raises(ValueError, match=message):
        run(**options)
    assert not chunks_in(tmp_path)
    assert_same(run(**options, resume="anyway"), run(other_train))


def locked_train(key, learning_rate, steps, lock):
    return descend(key, learning_rate, steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 99}, "in a worker, `devices` is 99, but this process has"),
        ({"devices": jax.devices()}, "`devices` must be the number of devices that each worker"),
        ({"processes": 1, "process": 0}, "cannot be combined with `processes` and `process`"),
        ({"executor": Cluster.submit}, "be a function without arguments .*, got submit"),
        ({"executor": dict}, r"`executor` must make an executor .*, but makes a dict of 0"),
        ({"executor": 3}, "`executor` must have a method `submit`, or be a function .*, got 3"),
        ({"retries": -1}, "`retries` must be an integer from 0 to .*, got -1"),
        ({"train": lambda key, learning_rate, steps: print}, "`train` must return a dict"),
        (
            {"train": partial(locked_train, lock=threading.Lock())},
            "`train` cannot be sent to the workers",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**{"executor": Cluster} | options)


def test_forks_of_a_process_with_jax_are_refused(monkeypatch):
    monkeypatch.setattr(worker, "_IMPORTED_IN", -1)
    with pytest.raises(ValueError, match=r"forks of a process that had loaded JAX.*spawn"):
        run(executor=Cluster)


def test_a_train_function_that_workers_lack_is_refused(monkeypatch):
    monkeypatch.setattr(
        running, "pack", lambda train: pack(train)._replace(content=b"?", digest="?")
    )
    with pytest.raises(ValueError, match="a worker cannot load `train`: Unpickl"):
        run(executor=Cluster)


def test_progress_counts_the_trials_of_all_workers(capsys):
    run(executor=Cluster, progress=True, chunk=2)
    assert "10/10" in capsys.readouterr().err


def test_keys_of_any_kind_travel():
    for key in (jax.random.PRNGKey(0), jax.random.key(0, impl="rbg"), KEY):
        assert_same(run(key=key, executor=Cluster), run(key=key))
