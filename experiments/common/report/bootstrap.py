"""Confidence intervals by bootstrap over groups of examples that resemble each other."""

import numpy as np
from scipy import stats


def ratio_interval(
    numerators: np.ndarray, denominators: np.ndarray, groups: np.ndarray, draws: int, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of Σ numerators / Σ denominators, by percentile bootstrap over groups.

    Whole groups are drawn with replacement, as many as there are: examples of one group are not
    independent, and drawing single examples would make the interval too narrow.

    Args:
      numerators, denominators: [N].
      groups: [N], the group of each example; at least two different ones.
      draws: the number of resamples.
      seed: the seed of the draws.

    Returns: the interval's lower and upper end.
    """
    _, indices = np.unique(groups, return_inverse=True)
    sums = np.bincount(indices, numerators), np.bincount(indices, denominators)
    interval = stats.bootstrap(
        sums,
        lambda numerator, denominator, axis: numerator.sum(axis) / denominator.sum(axis),
        paired=True,
        n_resamples=draws,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
