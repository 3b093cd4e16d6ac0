"""Errors of forecasts, and whether one forecast is better than another beyond chance."""

import numpy as np

RESAMPLES = 2000


def absolute_error(forecasts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """|forecast − target|; NaN where the target is unknown."""
    return np.abs(forecasts - targets)


def squared_error(forecasts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(forecast − target)²; NaN where the target is unknown."""
    return (forecasts - targets) ** 2


def r_squared(forecasts: np.ndarray, targets: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The share by which forecasts reduce the squared error of a constant forecast.

    With the mean of the training set as `reference`, this is the out-of-sample R² of Campbell &
    Thompson 2008; with the mean of the test set it is the usual R², which is lower.

    Args:
      forecasts, targets: [N, K]; a NaN target is left out.
      reference: [K], the constant.

    Returns: [K], at most 1.
    """
    error = np.nansum(squared_error(forecasts, targets), 0)
    return 1 - error / np.nansum(squared_error(reference, targets), 0)


def error_reduction(
    errors: np.ndarray, rival: np.ndarray, times: np.ndarray, block: int, seed: int = 0
) -> np.ndarray:
    """The share by which a rival's error is reduced, with its 95% interval.

    Errors on neighboring days are correlated, and so are errors of several series on one day. The
    interval therefore comes from a circular block bootstrap over the times (Politis & Romano 1992),
    which draws both forecasts' errors at the same times.

    Args:
      errors: [N, K], such as squared errors; a NaN is left out.
      rival: [N, K], the errors of the other forecast.
      times: [N], when each forecast was made.
      block: the number of consecutive times drawn together.
      seed: the seed of the draws.

    Returns: [3, K]: the share, and the interval's lower and upper end; negative if the error grows.
    """
    _, indices = np.unique(times, return_inverse=True)
    length = indices.max() + 1
    sums = np.zeros((2, length, errors.shape[1]))
    for side, values in zip(sums, (errors, rival), strict=True):
        np.add.at(side, indices, np.where(np.isfinite(errors), values, 0))
    block = min(block, length)
    circle = np.concatenate([sums, sums[:, :block]], 1).cumsum(1)
    circle = np.concatenate([np.zeros_like(circle[:, :1]), circle], 1)
    blocks = circle[:, block : block + length] - circle[:, :length]  # [2, length, K]
    starts = np.random.default_rng(seed).integers(length, size=(RESAMPLES, -(-length // block)))
    drawn = blocks[:, starts].sum(2)  # [2, RESAMPLES, K]
    shares = 1 - drawn[0] / drawn[1]
    whole = 1 - sums[0].sum(0) / sums[1].sum(0)
    return np.stack([whole, *np.percentile(shares, [2.5, 97.5], axis=0)])


def share_with_interval(
    numerators: np.ndarray, denominators: np.ndarray, times: np.ndarray, block: int, seed: int = 0
) -> np.ndarray:
    """Σ numerators / Σ denominators with its 95% interval, by the bootstrap of `error_reduction`.

    Args:
      numerators, denominators: [N, K]; a NaN is left out.
      times: [N], when each forecast was made.
      block: the number of consecutive times drawn together.
      seed: the seed of the draws.

    Returns: [3, K]: the share, and the interval's lower and upper end.
    """
    share, low, high = 1 - error_reduction(numerators, denominators, times, block, seed)
    return np.stack([share, high, low])


def describe_reduction(reduction: np.ndarray) -> str:
    """Formats one column of `error_reduction` in percent: "3.1 (1.0 to 5.2) *".

    The star marks an interval above zero: an edge beyond chance.
    """
    share, low, high = 100 * reduction
    return f"{share:.1f} ({low:.1f} to {high:.1f}) {'*' if low > 0 else ' '}"
