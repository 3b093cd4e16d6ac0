"""Successive halving keeps the best members, and trains each as a population does."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.fixtures.populations import RICH, WALK, halve, run


@pytest.mark.parametrize(
    ("factor", "rounds", "rungs"),
    [(2, 2, [(5, 2), (2, 4), (1, 8)]), (4, 1, [(5, 1), (1, 4)])],  # members and rounds of each
)
def test_halving_keeps_the_best_for_longer(factor, rounds, rungs):
    result = halve(factor=factor, rounds=rounds, **RICH)
    curve, ran = result.metrics["loss_by_round"], result.metrics["rounds"]
    alive, end = np.arange(5), 0
    for members, count in rungs:
        if end:
            alive = alive[np.argsort(curve[alive, end - 1])][:members]
        assert set(np.flatnonzero(ran > end)) == set(alive)
        end += count
    assert curve.shape == (5, end)
    for index, last in enumerate(ran):
        assert not np.isnan(curve[index, :last]).any()
        assert np.isnan(curve[index, last:]).all()
        assert result.metrics["loss"][index] == curve[index, last - 1]
        assert result.metrics["steps"][index] == last
    assert list(result.states) == [np.argmax(ran)]


def test_a_halved_member_trains_as_in_a_population():
    def stay(key, scores):
        return jnp.arange(len(scores))

    halved, whole = halve(**RICH), run(**RICH, rounds=7, exploit=stay)
    for index, ran in enumerate(halved.metrics["rounds"]):
        np.testing.assert_allclose(
            halved.metrics["loss_by_round"][index, :ran],
            whole.metrics["loss_by_round"][index, :ran],
            rtol=1e-5,
        )


def test_members_with_nan_leave_first():
    trials = {"learning_rate": np.array([np.nan, 0.3, np.nan, 0.001, np.nan])}
    result = halve(trials, **RICH)
    assert result.metrics["rounds"].tolist() == [1, 7, 1, 3, 1]
    assert result.diverged.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_members_with_nan_leave_before_infinite_ones(mode):
    worst = np.inf if mode == "min" else -np.inf
    trials = {"learning_rate": np.array([np.nan, worst, np.nan, worst, worst])}
    functions = WALK | {"evaluate": lambda key, state, learning_rate: {"loss": learning_rate}}
    result = halve(trials, **functions, mode=mode)
    assert result.metrics["rounds"].tolist() == [1, 7, 1, 3, 1]
    assert result.best("loss", mode).trial == 1


def test_bad_rungs_are_refused():
    for options, message in (
        ({"factor": 1}, "`factor` must be an integer from 2 to 2147483647, got 1"),
        ({"factor": 2.5}, "`factor` must be an integer from 2 to 2147483647, got 2.5"),
        ({"rounds": 0}, "`rounds` must be an integer from 1 to 2147483647, got 0"),
        ({"rounds": 1.5}, "`rounds` must be an integer from 1 to 2147483647, got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            halve(**options)
