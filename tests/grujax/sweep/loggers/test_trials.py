"""The trials of a sweep as runs: which, with what, once, and in spite of what fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from tests.fixtures.loggers.logged import Notes, read_csv
from tests.fixtures.populations import evaluate, init, step
from tests.fixtures.sweep_trainings import KEY, TRIALS, descend, run

DIVERGING = sweep.grid(learning_rate=[0.1, 0.5, float("inf")])


def assert_has_every_trial(notes: Notes, result: sweep.SweepResult) -> None:
    """Each trial is a run, once, with the hyperparameters, curves and metrics of the result."""
    assert sorted(notes.runs) == [f"trial-{i:06d}" for i in range(len(result.diverged))]
    for number, name in enumerate(sorted(notes.runs)):
        found = notes.runs[name]
        rate = result.trials["learning_rate"][number]
        assert found["hyperparameters"] == {"learning_rate": rate}
        losses = enumerate(result.metrics["losses"][number].tolist())
        np.testing.assert_equal(found["steps"], [("losses", i, x) for i, x in losses])
        np.testing.assert_equal(found["metrics"], {"loss": result.metrics["loss"][number].item()})
        assert found["failed"] == result.diverged[number]


@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_each_trial_is_a_run_and_nan_a_failure(strategy):
    notes = Notes()
    result = run(trials=DIVERGING, chunk=2, strategy=strategy, log_to=notes)
    assert_has_every_trial(notes, result)
    assert [found["failed"] for found in notes.runs.values()] == [False, False, True]
    assert notes.calls[-1] == ("close",)


def test_a_resumed_sweep_records_each_trial_once(tmp_path, stop_in_chunk):
    first, second = Notes(), Notes()
    options = {"directory": tmp_path, "chunk": 2}
    stop_in_chunk(3, lambda: run(log_to=first, **options))
    assert sorted(first.runs) == [f"trial-{i:06d}" for i in range(4)]
    assert first.calls[-1] == ("close",)
    second.runs = first.runs
    result = run(log_to=second, **options)
    assert_has_every_trial(second, result)
    assert [call[1] for call in second.calls if call[0] == "start"] == [
        f"trial-{i:06d}" for i in range(4, 7)
    ]
    third = Notes()
    run(log_to=third, **options)
    assert third.calls == [("close",)]


def test_a_logger_that_comes_later_gets_the_finished_trials(tmp_path):
    run(directory=tmp_path, chunk=2)
    notes = Notes()
    assert_has_every_trial(notes, run(directory=tmp_path, log_to=[notes, "csv"]))
    assert len(read_csv(tmp_path / "logs" / "runs.csv")) == 7


def test_a_logger_that_fails_stops_neither_the_sweep_nor_the_others(tmp_path):
    bad, good = Notes(fail_at="end 7"), Notes()
    message = r"`Notes` failed \(OSError: the disk is full\)\. Nothing more is logged to it"
    with pytest.warns(UserWarning, match=message) as caught:
        result = run(log_to=[bad, good], chunk=1)
    assert len(caught) == 1
    assert caught[0].filename.endswith("sweep_trainings.py")  # the caller of `sweep.run`
    assert_has_every_trial(good, result)
    assert sum("metrics" in found for found in bad.runs.values()) == 1


def test_what_a_failed_logger_lacks_is_recorded_by_the_next_call(tmp_path):
    bad = Notes(fail_at="end 7")
    with pytest.warns(UserWarning, match="failed"):
        run(log_to=bad, directory=tmp_path, chunk=1)
    again = Notes()
    again.runs = bad.runs
    assert_has_every_trial(again, run(log_to=again, directory=tmp_path))


def test_only_real_scalars_and_curves_are_recorded():
    def train(key, rate):
        return {
            "count": jnp.int32(3),
            "is_good": rate > 0,
            "half": rate.astype(jnp.bfloat16),
            "halves": jnp.arange(2, dtype=jnp.bfloat16),
            "phase": 1j * rate,
            "confusion": jnp.zeros((2, 2)),
        }

    notes = Notes()
    run(train, {"rate": [0.5]}, log_to=notes)
    (found,) = notes.runs.values()
    assert found["metrics"] == {"count": 3, "is_good": True, "half": 0.5}
    kinds = {name: type(value) for name, value in found["metrics"].items()}
    assert kinds == {"count": int, "is_good": bool, "half": float}
    assert found["steps"] == [("halves", 0, 0.0), ("halves", 1, 1.0)]


def test_a_shorter_curve_ends_earlier():
    trials = sweep.grid(learning_rate=[0.1], steps=[2, 4])
    meanwhile, later = Notes(), Notes()
    run(trials=trials, static=("steps",), log_to=meanwhile).log(later)
    assert later.runs == meanwhile.runs
    assert [len(found["steps"]) for found in later.runs.values()] == [2, 4]


def test_a_search_records_its_trials(tmp_path):
    space = {"learning_rate": sweep.log_uniform(1e-3, 0.5)}
    options = {"key": KEY, "metric": "loss", "batch": 3, "progress": False}
    notes, more = Notes(), Notes()
    options |= {"directory": tmp_path}
    found = sweep.search(descend, space, trials=6, log_to=notes, **options)
    assert_has_every_trial(notes, found)
    more.runs = notes.runs
    found = sweep.search(descend, space, trials=9, log_to=more, **options)
    assert_has_every_trial(more, found)
    assert len([call for call in more.calls if call[0] == "start"]) == 3


def test_the_members_of_a_population_are_runs():
    trials = sweep.grid(learning_rate=[0.01, 0.1, 0.2])
    options = {"key": KEY, "metric": "loss", "rounds": 2, "progress": False}
    found = sweep.population(init, step, evaluate, trials, explore={}, **options)
    notes = Notes()
    found.log(notes)
    assert len(notes.runs) == 3
    steps = [x for x in notes.runs["trial-000001"]["steps"] if x[0] == "loss_by_round"]
    assert [x[2] for x in steps] == found.metrics["loss_by_round"][1].tolist()


def test_processes_that_share_a_sweep_have_logs_of_their_own(tmp_path):
    options = {"directory": tmp_path, "processes": 2, "log_to": "csv"}
    for process in (1, 0):
        run(process=process, **options)
    rows = [read_csv(tmp_path / "logs" / f"process-{process}" / "runs.csv") for process in range(2)]
    names = [row["run"] for rows_of_one in rows for row in rows_of_one]
    assert sorted(names) == [f"trial-{i:06d}" for i in range(len(TRIALS["learning_rate"]))]


def test_without_loggers_there_is_no_folder(tmp_path):
    run(directory=tmp_path)
    run(directory=tmp_path, log_to=[])
    assert not (tmp_path / "logs").exists()


def test_values_that_are_static_are_recorded_as_they_are():
    def train(key, name, rate):
        return {"loss": rate * len(name)}

    notes = Notes()
    trials = {"name": ["a", "bc"], "rate": [0.5, 1.0]}
    run(train, trials, static=("name",), log_to=notes, key=jax.random.key(0))
    values = [found["hyperparameters"] for found in notes.runs.values()]
    assert values == [{"name": "a", "rate": 0.5}, {"name": "bc", "rate": 1.0}]
