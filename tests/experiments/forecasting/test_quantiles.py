"""Quantiles: their loss, order, coverage and calibration."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss

from experiments.forecasting.quantiles import (
    LEVELS,
    conformal_margin,
    coverage,
    mean,
    ordered_quantiles,
    pinball_loss,
    widen,
)
from tests.fixtures.quantiles import normal_quantiles


def test_the_pinball_loss_matches_scikit_learn():
    rng = np.random.default_rng(0)
    quantiles, targets = rng.normal(size=(50, 5)), rng.normal(size=50)
    expected = np.mean(
        [mean_pinball_loss(targets, q, alpha=a) for q, a in zip(quantiles.T, LEVELS, strict=True)]
    )
    np.testing.assert_allclose(pinball_loss(quantiles, targets).mean(), expected, rtol=1e-5)


def test_the_true_quantiles_have_the_least_pinball_loss():
    targets = np.random.default_rng(0).normal(size=20_000)
    losses = [
        float(pinball_loss(normal_quantiles(1) * width + shift, targets).mean())
        for width, shift in ((1, 0), (1.3, 0), (0.7, 0), (1, 0.3))
    ]
    assert np.argmin(losses) == 0


@given(arrays(np.float32, (4, 5), elements=st.floats(-50, 50, width=32)))
def test_quantiles_do_not_cross(raw):
    quantiles = np.asarray(ordered_quantiles(jnp.asarray(raw)))
    assert np.all(np.diff(quantiles, axis=-1) >= 0)
    np.testing.assert_array_equal(quantiles[..., 2], raw[..., 2])


def test_zeros_give_the_normal_distribution():
    quantiles = ordered_quantiles(jnp.zeros((3, 5)))
    np.testing.assert_allclose(quantiles, normal_quantiles(3), atol=1e-6)
    assert abs(mean(np.asarray(quantiles))).max() < 1e-6


def test_the_margin_corrects_the_coverage():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(999, 2)) * [1, 3]
    targets[::7, 0] = np.nan
    quantiles = normal_quantiles(999, 2)
    held = coverage(quantiles, targets)
    known = targets[np.isfinite(targets[:, 0]), 0]
    np.testing.assert_allclose(held[0], np.mean(abs(known) <= norm.ppf(0.9)))
    margin = conformal_margin(quantiles, targets)
    assert abs(margin[0]) < 0.15
    np.testing.assert_allclose(coverage(widen(quantiles, margin), targets), 0.8, atol=2e-3)
    narrow = widen(quantiles, np.full(2, -9.0))
    np.testing.assert_array_equal(narrow[..., 0], quantiles[..., 1])
    np.testing.assert_array_equal(narrow[..., -1], quantiles[..., -2])
