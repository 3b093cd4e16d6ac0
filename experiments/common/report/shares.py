"""The interval of a share."""

import math
from collections.abc import Sequence
from statistics import fmean

from scipy.stats import norm


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95% interval of a share that was found in `count` independent examples.

    Reference: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.
    """
    spread = float(norm.ppf(0.975)) ** 2 / count
    center = share + spread / 2
    margin = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return max(0.0, (center - margin) / (1 + spread)), min(1.0, (center + margin) / (1 + spread))


def mean_interval(shares: Sequence[float], count: int) -> tuple[float, float]:
    """The 95% interval of the mean of several trainings' shares in the same `count` examples."""
    return wilson_interval(fmean(shares), count)
