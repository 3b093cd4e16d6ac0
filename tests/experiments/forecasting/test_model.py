"""The networks: what they return untrained, their ensemble, and their loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.data.splits import Split
from experiments.forecasting.model import (
    Forecaster,
    calibrate_quantiles,
    ensemble_quantiles,
    left_out_parts,
    mean_over_unseen,
    pinball_mean,
    validation_coverage,
)
from experiments.forecasting.problem import Problem
from experiments.forecasting.quantiles import coverage, pinball_loss
from experiments.forecasting.studies import weather
from tests.fixtures.quantiles import normal_quantiles


def test_an_untrained_network_returns_the_linear_forecast(forecast_archives):
    problem = weather.make_problem(5)
    model = Forecaster(7, 4, 0.2)
    inputs = jnp.asarray(problem.inputs[:300])
    params = jax.vmap(lambda key: model.init(key, inputs[:1], False))(
        jax.random.split(jax.random.key(0), 2)
    )
    outputs = ensemble_quantiles(model, params, inputs)
    assert outputs.shape == (300, 2, 7, 5)
    np.testing.assert_allclose(outputs, normal_quantiles(300, 2, 7), atol=1e-5)
    everything = np.resize(np.asarray(outputs), (len(problem.inputs), 6, 7, 5))
    quantiles = calibrate_quantiles(problem, everything)
    np.testing.assert_allclose(quantiles[..., 2], problem.linear, atol=1e-3)
    assert np.all(np.diff(quantiles, axis=-1) >= 0)
    held = coverage(quantiles[problem.split.validation], problem.targets[problem.split.validation])
    np.testing.assert_allclose(held, 0.8, atol=0.02)


def test_validation_coverage_is_that_of_unseen_parts():
    """Errors are four times as large in part 2: intervals calibrated by the others miss it."""
    rng = np.random.default_rng(0)
    parts = np.repeat([1, 2, 3, 0], [400, 400, 400, 1])
    targets = rng.normal(size=(1201, 1)) * np.where(parts == 2, 4.0, 1.0)[:, None]
    rows = np.flatnonzero(parts)
    zeros = np.zeros((1201, 1))
    split = Split(rows, rows, np.array([1200]))
    problem = Problem(
        ["x"], np.zeros((1201, 1, 1)), targets, zeros, {}, np.arange(1201), parts, split, parts
    )
    outputs = normal_quantiles(1201, 3, 1)
    [share] = validation_coverage(problem, outputs)
    calibrated = calibrate_quantiles(problem, outputs)
    assert coverage(calibrated[rows], targets[rows]) == pytest.approx(0.8, abs=0.01)
    assert share < 0.75
    even = problem._replace(targets=rng.normal(size=(1201, 1)))
    assert validation_coverage(even, outputs) == pytest.approx(0.8, abs=0.03)


def test_networks_leave_out_parts_in_turn():
    left_out = left_out_parts(5, 3)
    assert left_out.tolist() == [1, 2, 3, 1, 2]
    with pytest.raises(ValueError, match="`members` is 2; there are 3 parts"):
        left_out_parts(2, 3)
    outputs = np.random.default_rng(0).normal(size=(4, 5, 2, 3))
    parts = np.array([1, 3, 2, 1])
    unseen = mean_over_unseen(outputs, parts, left_out)
    for row, members in enumerate(([0, 3], [2], [1, 4], [0, 3])):
        np.testing.assert_allclose(unseen[row], outputs[row, members].mean(0))


def test_the_loss_leaves_out_a_part_and_unknown_targets():
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(size=(6, 2, 5)))
    error = rng.normal(size=(6, 2))
    known = np.ones((6, 2))
    known[1, 0] = 0
    examples = {"error": error, "known": known, "part": np.array([0, 1, 2, 2, 1, 0])}
    losses = np.asarray(pinball_loss(quantiles, error))
    kept = [losses[i, k] for i in (0, 1, 4, 5) for k in range(2) if (i, k) != (1, 0)]
    loss = pinball_mean(quantiles, examples, jnp.int32(2)).value()
    np.testing.assert_allclose(loss, np.mean(kept), rtol=1e-6)
    whole = pinball_mean(quantiles, examples).value()
    np.testing.assert_allclose(whole, losses[known > 0].mean(), rtol=1e-6)
