"""How good forecasts are, and whether one is better than another by more than chance."""

import numpy as np

RESAMPLES = 2000


def absolute_error(forecasts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """|forecast − target|, in the target's unit; NaN where the target is not known."""
    return np.abs(forecasts - targets)


def squared_error(forecasts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(forecast − target)²; NaN where the target is not known."""
    return (forecasts - targets) ** 2


def r_squared(forecasts: np.ndarray, targets: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The share of the squared error of a constant forecast that another one takes away.

    With the mean of the training set as `reference` this is the out-of-sample R² of Campbell &
    Thompson 2008; with the mean of the test set itself it is the usual one, which is lower.

    Args:
      forecasts, targets: [N, K]; targets that are NaN are left out.
      reference: [K], the constant.

    Returns: [K], at most 1.
    """
    error = np.nansum(squared_error(forecasts, targets), 0)
    return 1 - error / np.nansum(squared_error(reference, targets), 0)


def error_reduction(
    errors: np.ndarray, rival: np.ndarray, times: np.ndarray, block: int, seed: int = 0
) -> np.ndarray:
    """Which share of a rival's error is taken away, with its 95% interval.

    Forecasts of days close to each other err alike, and so do those of several series on one day:
    the interval is that of a circular block bootstrap over the times (Politis & Romano 1992), in
    which both forecasts keep their errors at the same times.

    Args:
      errors: [N, K], such as squared errors; NaN is left out.
      rival: [N, K], those of the other forecast.
      times: [N], when each forecast was made.
      block: how many consecutive times are drawn together.
      seed: of the resampling.

    Returns: [3, K]: the share, and the interval's lower and upper end. Below zero: more error.
    """
    _, place = np.unique(times, return_inverse=True)
    length = place.max() + 1
    sums = np.zeros((2, length, errors.shape[1]))
    for side, values in zip(sums, (errors, rival), strict=True):
        np.add.at(side, place, np.where(np.isfinite(errors), values, 0))
    block = min(block, length)
    circle = np.concatenate([sums, sums[:, :block]], 1).cumsum(1)
    circle = np.concatenate([np.zeros_like(circle[:, :1]), circle], 1)
    blocks = circle[:, block : block + length] - circle[:, :length]  # [2, length, K]
    starts = np.random.default_rng(seed).integers(length, size=(RESAMPLES, -(-length // block)))
    drawn = blocks[:, starts].sum(2)  # [2, RESAMPLES, K]
    shares = 1 - drawn[0] / drawn[1]
    whole = 1 - sums[0].sum(0) / sums[1].sum(0)
    return np.stack([whole, *np.percentile(shares, [2.5, 97.5], axis=0)])


def describe_reduction(reduction: np.ndarray) -> str:
    """Writes one column of `error_reduction` in percent: "3.1 (1.0 to 5.2) *".

    The star says that the interval lies above zero: an edge beyond chance.
    """
    share, low, high = 100 * reduction
    return f"{share:.1f} ({low:.1f} to {high:.1f}) {'*' if low > 0 else ' '}"
