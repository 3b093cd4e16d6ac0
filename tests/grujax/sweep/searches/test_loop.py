"""A search that was stopped at any point resumes as if it had not been."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import local, running
from grujax.sweep.searches import loop, studies
from tests.helpers import ROOT

optuna = pytest.importorskip("optuna")


class Killed(BaseException):
    """In the place of a signal that ends the process."""


def same(first, second):
    for part in ("trials", "metrics"):
        a, b = getattr(first, part), getattr(second, part)
        assert a.keys() == b.keys()
        for name, array in a.items():
            np.testing.assert_array_equal(array, b[name])
    return True


def die_before(monkeypatch, place, name, calls):
    """The process dies before this call of a function."""
    function, count = getattr(place, name), [0]

    def run_or_die(*arguments, **options):
        count[0] += 1
        if count[0] == calls:
            raise Killed
        return function(*arguments, **options)

    monkeypatch.setattr(place, name, run_or_die)


POINTS = {
    "before it asks": (studies.Ledger, "ask", 2),
    "between two trials that it asks for": (optuna.Study, "ask", 7),
    "before it writes what it asked for": (loop, "write_batch", 2),
    "before it runs": (local, "run_chunk", 3),
    "in the middle of a batch": (local, "run_chunk", 4),
    "before it writes what it ran": (running, "write_chunk", 4),
    "between run and tell": (studies.Ledger, "tell", 3),
    "between two trials that it tells": (optuna.Study, "tell", 6),
}


@pytest.mark.parametrize("storage", ["memory", pytest.param("journal", marks=pytest.mark.slow)])
@pytest.mark.parametrize("point", POINTS)
def test_a_search_resumes_wherever_it_died(search, tmp_path, monkeypatch, point, storage):
    whole = search()

    def study():
        if storage == "memory":
            return None
        file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(file), study_name="one", load_if_exists=True
        )

    options = {"directory": tmp_path / "search"}
    with monkeypatch.context() as patch:
        die_before(patch, *POINTS[point])
        with pytest.raises(Killed):
            search(**options, study=study())
    resumed = search(**options, study=study())
    assert len(resumed.trials["rate"]) == 12
    if storage == "memory":  # the default sampler asks for the same trials
        assert same(resumed, whole)
    states = [resumed.study.trials[number].state.name for number in resumed.numbers]
    assert states == ["COMPLETE"] * 12
    values = [resumed.study.trials[number].value for number in resumed.numbers]
    assert values == resumed.metrics["loss"].tolist()
    assert same(sweep.SweepResult.load(tmp_path / "search"), resumed)
    assert len(resumed.study.trials) == 12


def test_nothing_runs_twice(search, tmp_path, chunks_run, monkeypatch):
    with monkeypatch.context() as patch:
        die_before(patch, studies.Ledger, "tell", 4)
        with pytest.raises(Killed):
            search(directory=tmp_path)
    search(directory=tmp_path)
    search(directory=tmp_path)
    assert sorted(chain.from_iterable(chunks_run)) == list(range(12))


def test_more_trials_continue(search, tmp_path, chunks_run):
    search(directory=tmp_path, trials=8)
    chunks_run.clear()
    more = search(directory=tmp_path, trials=12)
    assert sorted(chain.from_iterable(chunks_run)) == [8, 9, 10, 11]
    assert same(more, search())
    with pytest.raises(ValueError, match="has 12 trials already, more than `trials`, 8"):
        search(directory=tmp_path, trials=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "max"}, "`direction` is 'min' there and 'max' here"),
        ({"metric": "other"}, "`metric` is 'loss' there and 'other' here"),
    ],
)
def test_a_directory_of_another_search_is_refused(search, tmp_path, changes, message):
    def train(key, rate):
        return {"loss": rate, "other": -rate}

    options = search.keywords | {"trials": 2, "directory": tmp_path}
    sweep.search(train, search.args[1], **options)
    with pytest.raises(ValueError, match=message):
        sweep.search(train, search.args[1], **options | changes)
    space = {"rate": sweep.uniform(0, 1)}
    with pytest.raises(ValueError, match=r"`space` is .*log_uniform.* there and .*uniform"):
        sweep.search(train, space, **options)
    with pytest.raises(ValueError, match="belongs to another sweep"):
        sweep.run(train, {"rate": [0.5]}, key=options["key"], directory=tmp_path, progress=False)


def test_changed_code_does_not_continue(search, tmp_path):
    search(directory=tmp_path, trials=4)

    def train(key, rate):
        return {"loss": rate, "curve": np.ones(2, np.float32)}

    options = search.keywords | {"directory": tmp_path}
    with pytest.raises(ValueError, match="`train` computes something else here"):
        sweep.search(train, search.args[1], **options)
    mixed = sweep.search(train, search.args[1], **options, resume="anyway")
    np.testing.assert_allclose(mixed.metrics["loss"][4:], mixed.trials["rate"][4:], rtol=1e-6)


def test_ctrl_c_says_what_is_saved(search, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "_default_sampler", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(directory=tmp_path)
    assert "Sweep stopped with 0 of 12 trials done, saved in" in capsys.readouterr().err


def test_a_damaged_batch_is_asked_for_again(search, tmp_path):
    whole = search(directory=tmp_path)
    path = tmp_path / "batch-000004.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        ValueError, match=r"is damaged .*The call of `search` that made it mends it"
    ):
        sweep.SweepResult.load(tmp_path)
    with pytest.warns(UserWarning, match="is now batch-000004.npz.damaged") as caught:
        again = search(directory=tmp_path)
    assert any("whose hyperparameters are lost" in str(one.message) for one in caught)
    assert len(again.trials["rate"]) == 12
    rest = np.r_[0:4, 8:12]
    np.testing.assert_array_equal(again.trials["rate"][rest], whole.trials["rate"][rest])
    np.testing.assert_array_equal(search(directory=tmp_path).trials["rate"], again.trials["rate"])


def test_a_full_disk_costs_no_result(search, tmp_path, monkeypatch):
    whole = search()

    def full(*_):
        raise OSError(28, "No space left on device")

    for place, name in ((loop, "write_batch"), (running, "write_chunk")):
        monkeypatch.setattr(place, name, full)
    with pytest.warns(UserWarning, match="No space left on device") as caught:
        assert same(search(directory=tmp_path), whole)
    texts = [str(one.message) for one in caught]
    assert any("hyperparameters of 12 trials are not saved" in text for text in texts)


def test_an_executor_runs_the_batches_and_is_made_once(search, tmp_path):
    made = []

    def make():
        made.append(ThreadPoolExecutor(2))
        return made[-1]

    whole = search()
    assert same(search(executor=make, directory=tmp_path), whole)
    assert len(made) == 1
    with pytest.raises(RuntimeError, match="shutdown"):
        made[0].submit(print)
    with ThreadPoolExecutor(2) as pool:
        assert same(search(executor=pool), whole)
    assert same(search(directory=tmp_path), whole)


def test_trials_that_fail_on_an_executor_are_told_as_failed(search, monkeypatch):
    class Broken(ThreadPoolExecutor):
        def submit(self, function, task):
            return super().submit(function if 5 not in task.indices else lambda _: 1 / 0, task)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with pytest.raises(RuntimeError, match="1 of 4 trials failed"):
        search(executor=lambda: Broken(2), study=study, retries=1)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * 5 + ["FAIL"] + ["COMPLETE"] * 2


PROGRAM = """
import sys
import jax, optuna
from grujax import sweep
from tests.grujax.sweep.searches.conftest import descend
optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = f"sqlite:///{sys.argv[1]}.db"
study = optuna.create_study(storage=storage, study_name="one", load_if_exists=True)
print("ready", flush=True)
result = sweep.search(descend, {"rate": sweep.log_uniform(1e-3, 0.9)}, trials=40, batch=8,
                      key=jax.random.key(0), metric="loss", directory=sys.argv[1], study=study)
result.save(sys.argv[1] + ".npz")
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_loses_nothing_and_tells_nothing_twice(tmp_path):
    place, rng = tmp_path / "search", np.random.default_rng(0)

    def start():
        program = [sys.executable, "-c", PROGRAM, str(place)]
        return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    for _ in range(8):
        process = start()
        process.stdout.readline()
        time.sleep(rng.uniform(0.5, 4.0))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    process = start()
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    result = sweep.SweepResult.load(f"{place}.npz")
    assert len(result.trials["rate"]) == 40
    study = optuna.load_study(study_name="one", storage=f"sqlite:///{place}.db")
    marked = [trial for trial in study.trials if trial.user_attrs]
    assert sorted(trial.user_attrs["grujax"]["trial"] for trial in marked) == list(range(40))
    for trial in marked:
        assert trial.value == result.metrics["loss"][trial.user_attrs["grujax"]["trial"]]
