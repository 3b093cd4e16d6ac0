"""Is one classifier better than another by more than the chance of who was tested?"""

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """Of two shares, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} points ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def difference_by_group(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, draws: int = 10_000, seed: int = 0
) -> Difference:
    """The difference of two means over the same N examples, its interval by bootstrap over groups.

    Examples of one person resemble each other: whole people are drawn, as many as there are, with
    replacement, and both classifiers are compared on the same.

    Args:
      first, second: [N], such as whether each answer is right.
      groups: [N], the person that each example is from.
      draws: how often people are drawn.
      seed: of the draws.
    """
    names, places = np.unique(groups, return_inverse=True)
    gains = np.bincount(places, first.astype(float) - second.astype(float))
    counts = np.bincount(places)
    shares = np.full(len(names), 1 / len(names))
    weights = np.random.default_rng(seed).multinomial(len(names), shares, draws)
    low, high = np.percentile((weights @ gains) / (weights @ counts), [2.5, 97.5])
    return Difference(float(gains.sum() / counts.sum()), float(low), float(high))
