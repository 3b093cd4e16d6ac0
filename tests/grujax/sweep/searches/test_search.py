"""A search asks by batches, gives each trial the result that it has alone, and learns."""

import logging
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from tests.grujax.sweep.searches.conftest import descend

optuna = pytest.importorskip("optuna")


def test_a_trial_has_the_result_that_it_has_alone(search):
    result = search()
    assert result.metrics["curve"].shape == (12, 2)
    for trial, rate in enumerate(result.trials["rate"].tolist()):
        alone = descend(sweep.trial_key(jax.random.key(0), trial), jnp.float32(rate))
        np.testing.assert_allclose(result.metrics["curve"][trial], alone["curve"], rtol=1e-5)


def test_the_study_has_all_trials_and_their_values(search):
    result = search()
    assert result.numbers.tolist() == list(range(12))
    for trial, rate, loss in zip(
        result.study.trials, result.trials["rate"], result.metrics["loss"], strict=True
    ):
        assert trial.params == {"rate": rate}
        assert trial.value == loss
    assert result.best("loss").trial == result.study.best_trial.number


def test_a_batch_is_asked_for_before_any_of_it_is_told(search):
    seen = []

    class Watching(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            states = [one.state.name for one in study.get_trials(deepcopy=False)]
            seen.append((states.count("COMPLETE"), states.count("RUNNING") - 1))

    search(sampler=Watching(seed=0), trials=6)
    assert seen == [(0, 0), (0, 1), (0, 2), (0, 3), (4, 0), (4, 1)]


def test_the_same_key_gives_the_same_search_and_another_key_another(search):
    first = search(trials=16)
    np.testing.assert_array_equal(search(trials=16).trials["rate"], first.trials["rate"])
    other = search(trials=16, key=jax.random.key(1))
    assert not np.isin(other.trials["rate"], first.trials["rate"]).any()
    assert len(np.unique(first.trials["rate"])) == 16


@pytest.mark.parametrize(("direction", "best"), [("min", 0.5), ("max", 0.001)])
def test_it_learns_in_both_directions(search, direction, best):
    rates = search(trials=40, batch=8, direction=direction).trials["rate"]
    distance = np.abs(np.log(rates / best))
    assert np.median(distance[24:]) < np.median(distance[:8]) / 2


def test_nan_is_told_as_failed(search):
    def train(key, rate):
        return {"loss": jnp.where(rate < 0.03, jnp.nan, rate)}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sweep.search(train, search.args[1], **search.keywords)
    states = [trial.state.name for trial in result.study.trials]
    assert states == ["FAIL" if nan else "COMPLETE" for nan in result.diverged]
    assert set(states) == {"FAIL", "COMPLETE"}


def test_static_values_get_one_program_each_for_the_whole_search(search, compiled):
    def train(key, rate, cell, size):
        assert isinstance(cell, str)
        return {"loss": rate * size + (cell == "gru"), "curve": jnp.ones(size)}

    space = {
        "cell": sweep.choice(["gru", "lstm"]),
        "size": sweep.integer(2, 4),
        "rate": sweep.uniform(0.0, 1.0),
    }
    keywords = search.keywords | {"trials": 24, "static": ["cell", "size"]}
    result = sweep.search(train, space, **keywords)
    combinations = set(zip(result.trials["cell"], result.trials["size"], strict=True))
    assert len(combinations) == 4
    assert len(compiled) == 4
    expected = result.trials["rate"] * result.trials["size"] + (result.trials["cell"] == "gru")
    np.testing.assert_allclose(result.metrics["loss"], expected, rtol=1e-6)


def test_every_kind_of_distribution_is_searched(search):
    def train(key, a, b, c, d, e):
        return {"loss": a + b + c + d + e}

    space = {
        "a": sweep.uniform(-1, 1),
        "b": sweep.log_uniform(1, 2),
        "c": sweep.integer(3, 6),
        "d": sweep.choice(np.uint8([1, 7])),
        "e": lambda u: 10 * u**2,
    }
    result = sweep.search(train, space, **search.keywords)
    assert result.trials["c"].dtype.kind == "i"
    assert set(result.trials["d"].tolist()) == {1, 7}
    for trial, value in zip(result.study.trials, result.trials["e"], strict=True):
        assert value == 10 * trial.params["e"] ** 2
    total = sum(values.astype(float) for values in result.trials.values())
    np.testing.assert_allclose(result.metrics["loss"], total, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metric": "error"},
            "`metric` is 'error', but the metrics of `train` are `curve`, `loss`",
        ),
        ({"metric": "curve"}, r"`metric` must name a real scalar, but `curve` is float32 \[2\]"),
        ({"direction": "minimize"}, '`direction` must be "min" or "max", got \'minimize\''),
        ({"static": ["size"]}, "`static` names `size`, but the hyperparameters are `rate`"),
        ({"trials": 0}, "`trials` must be an integer from 1"),
        ({"study": "study.db"}, "`study` must be a Study of Optuna, got 'study.db'"),
        ({"sampler": 3}, "`sampler` must be a BaseSampler of Optuna, got 3"),
    ],
)
def test_bad_arguments_are_refused_before_optuna_is_asked(search, changes, message, monkeypatch):
    monkeypatch.setattr(optuna.study.Study, "ask", None)
    with pytest.raises(ValueError, match=message):
        search(**changes)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "`space` must have at least one hyperparameter"),
        ({"rate": [1, 2]}, r"`space\['rate'\]` must be a distribution"),
        ({"rate": sweep.choice(["a"])}, r"`space\['rate'\]` holds strings.*add it to `static`"),
        (
            {"rate": sweep.choice([1e-50, 1.0])},
            r"`space\['rate'\]` holds 1e-50, which",
        ),
        ({"rate": sweep.choice([1j])}, r"`space\['rate'\]` holds complex numbers"),
        ({"rate": sweep.uniform(0, 1), "x": sweep.uniform(0, 1)}, "`train` cannot be called with"),
        ({"rate": {"small": sweep.uniform(0, 1)}}, r"`space\['rate'\]` must be a distribution"),
    ],
)
def test_a_bad_space_is_refused(search, space, message):
    with pytest.raises(ValueError, match=message):
        sweep.search(descend, space, **search.keywords)


def test_without_optuna_the_error_says_what_to_install(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"`search` needs Optuna: pip install 'grujax\[search\]'"):
        search()


def test_optuna_logs_nothing_and_logs_as_before_afterwards(search):
    records, handler = [], logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("optuna")
    logger.addHandler(handler)
    try:
        search()
        assert not records
        optuna.create_study()
        assert len(records) == 1
    finally:
        logger.removeHandler(handler)
