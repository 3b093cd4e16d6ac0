"""Forecasts as quantiles: their loss, their order, their coverage and its calibration.

The levels are the midpoints of fifths. The outer two bound an interval that should hold the truth
four times out of five. The middle one, the median, has the least absolute error. The mean of all
five approximates the mean, which has the least squared error.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.stats import norm

LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
COVERAGE = 0.8  # of the interval between the outer two
TOLERANCE = 0.1  # a coverage that is lower by more than this is reported


def pinball_loss(quantiles: ArrayLike, targets: ArrayLike) -> Array:
    """The loss that the true quantiles minimize, averaged over the levels; works under `jax.jit`.

    max(τ·e, (τ − 1)·e) for e = target − quantile at level τ (Koenker & Bassett 1978).

    Args:
      quantiles: [..., Q], at LEVELS.
      targets: [...].

    Returns: [...].
    """
    error = jnp.asarray(targets)[..., None] - jnp.asarray(quantiles)
    return jnp.maximum(LEVELS * error, (LEVELS - 1) * error).mean(-1)


def ordered_quantiles(raw: Array) -> Array:
    """Maps any numbers [..., Q] to quantiles [..., Q] that cannot cross.

    The middle number is the median; a softplus turns the others into the gaps between the levels.
    Zeros give the quantiles of the standard normal distribution.
    """
    middle, shift = len(LEVELS) // 2, gap_shifts()
    median = raw[..., middle : middle + 1]
    below = jax.nn.softplus(raw[..., :middle] + shift[:middle])
    above = jax.nn.softplus(raw[..., middle + 1 :] + shift[middle:])
    lower = median - jnp.cumsum(below[..., ::-1], -1)[..., ::-1]
    return jnp.concatenate([lower, median, median + jnp.cumsum(above, -1)], -1)


def gap_shifts() -> np.ndarray:
    """The numbers whose softplus is the gaps between a normal distribution's quantiles, [Q − 1]."""
    return np.log(np.expm1(np.diff(norm.ppf(LEVELS))))


def median(quantiles: np.ndarray) -> np.ndarray:
    """The forecast [...] of least absolute error."""
    return quantiles[..., len(LEVELS) // 2]


def mean(quantiles: np.ndarray) -> np.ndarray:
    """The forecast [...] of about the least squared error."""
    return quantiles.mean(-1)


def coverage(quantiles: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How often the interval between the outer levels holds the target.

    Args:
      quantiles: [N, K, Q].
      targets: [N, K]; a NaN is left out.

    Returns: [K], fractions.
    """
    inside = (quantiles[..., 0] <= targets) & (targets <= quantiles[..., -1])
    return np.nanmean(np.where(np.isfinite(targets), inside, np.nan), axis=0)


def widen(quantiles: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Moves the outer levels of quantiles [..., K, Q] outward by [K], never past the inner ones."""
    inner = quantiles[..., 1:-1]
    lower = np.minimum(quantiles[..., 0] - margin, inner[..., 0])
    upper = np.maximum(quantiles[..., -1] + margin, inner[..., -1])
    return np.concatenate([lower[..., None], inner, upper[..., None]], -1)


def conformal_margin(quantiles: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The margin by which to widen (if negative, narrow) the outer interval on both sides.

    This is conformalized quantile regression (Romano et al. 2019, https://arxiv.org/abs/1905.03222):
    the COVERAGE quantile of the distances of held-out targets from the interval, corrected for N.

    Args:
      quantiles: [N, K, Q], on held-out data.
      targets: [N, K]; a NaN is left out.

    Returns: [K].
    """
    distances = np.maximum(quantiles[..., 0] - targets, targets - quantiles[..., -1])
    margins = []
    for column in distances.T:
        column = np.sort(column[np.isfinite(column)])
        rank = int(np.ceil((len(column) + 1) * COVERAGE))
        margins.append(column[min(rank, len(column)) - 1])
    return np.array(margins)
