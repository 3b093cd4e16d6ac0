"""The study of a search: the user's own, shared by several searches, left as it was."""

import jax
import numpy as np
import pytest

from grujax import sweep

optuna = pytest.importorskip("optuna")


@pytest.fixture(params=["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def storage(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    return optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    )


def test_two_searches_share_a_stored_study(search, storage, tmp_path):
    study = optuna.create_study(storage=storage, study_name="shared")
    first = search(study=study, directory=tmp_path / "a", trials=6)
    other = optuna.load_study(study_name="shared", storage=storage)
    second = search(study=other, directory=tmp_path / "b", key=jax.random.key(1), trials=6)
    assert first.numbers.tolist() == [0, 1, 2, 3, 4, 5]
    assert second.numbers.tolist() == [6, 7, 8, 9, 10, 11]
    values = np.concatenate([first.metrics["loss"], second.metrics["loss"]])
    assert [trial.value for trial in study.trials] == values.tolist()


def test_searches_of_one_key_in_one_study_are_refused(search, tmp_path):
    study = optuna.create_study()
    search(study=study, directory=tmp_path / "a")
    with pytest.raises(ValueError, match="another search with the same `key` and space"):
        search(study=study, directory=tmp_path / "b")
    with pytest.raises(ValueError, match="another search with the same `key` and space"):
        search(study=study)
    assert len(study.trials) == 12
    search(study=study, directory=tmp_path / "a")
    assert len(study.trials) == 12


def test_a_study_keeps_its_sampler_and_its_earlier_trials(search):
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("rate", 1e-3, 0.9, log=True), n_trials=3)
    expected = optuna.samplers.RandomSampler(seed=1)
    result = search(study=study, sampler=expected)
    assert study.sampler is sampler
    assert result.numbers.tolist() == list(range(3, 15))
    fresh = search(sampler=optuna.samplers.RandomSampler(seed=1))
    np.testing.assert_array_equal(result.trials["rate"], fresh.trials["rate"])


def test_the_sampler_of_a_study_asks(search):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    fresh = search(sampler=optuna.samplers.RandomSampler(seed=1))
    np.testing.assert_array_equal(search(study=study).trials["rate"], fresh.trials["rate"])


def test_a_study_must_fit_the_direction(search):
    with pytest.raises(ValueError, match=r"`study` must minimize one value.*are maximize"):
        search(study=optuna.create_study(direction="maximize"))
    with pytest.raises(ValueError, match="are minimize, minimize"):
        search(study=optuna.create_study(directions=["minimize", "minimize"]))
    study = optuna.create_study(direction="maximize")
    assert search(study=study, direction="max").study is study


def test_an_error_without_a_directory_leaves_no_running_trials(search, monkeypatch):
    def train(key, rate, size):
        if size == 3:
            raise RuntimeError("out of luck")
        return {"loss": rate}

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = {"rate": sweep.uniform(0, 1), "size": sweep.integer(2, 4)}
    with pytest.raises(RuntimeError, match="out of luck"):
        sweep.search(train, space, **search.keywords, static=["size"], study=study)
    states = {trial.state.name for trial in study.trials}
    assert "FAIL" in states
    assert "RUNNING" not in states
