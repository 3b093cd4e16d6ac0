"""What a step costs at equal quality, between the sizes that were trained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A cost at some quality."""

    cost: float
    is_bound: bool  # the smallest network is better than asked for, so this is the most it costs


def common_error(errors: Mapping[str, Sequence[float]]) -> float:
    """The error that all cells reach: the largest of their least ones.

    Args:
      errors: of each cell, one for each size.
    """
    return max(min(values) for values in errors.values())


def cost_at(error: float, errors: Sequence[float], costs: Sequence[float]) -> Estimate:
    """The cost of a network with this error.

    The logarithm of the cost is interpolated linearly in the error between neighboring sizes.

    Args:
      error: not below the least of `errors`.
      errors: of each size.
      costs: of each size, positive.

    Raises:
      ValueError: no size is as good.
    """
    if error < min(errors):
        raise ValueError(f"The error {error:g} is below all of {list(errors)}.")
    order = np.argsort(errors)
    cost = np.interp(error, np.array(errors)[order], np.log(np.array(costs)[order]))
    return Estimate(float(np.exp(cost)), error > max(errors))
