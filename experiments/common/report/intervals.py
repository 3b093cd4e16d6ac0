"""Confidence intervals of the mean over seeds."""

import numpy as np
from scipy import stats


def interval(values: np.ndarray) -> np.ndarray:
    """Half the width of the 95% interval of the mean over the last axis, by Student's t; [...]."""
    number = values.shape[-1]
    if number == 1:
        return np.zeros(values.shape[:-1])
    deviation = values.std(axis=-1, ddof=1) / number**0.5
    return stats.t.ppf(0.975, number - 1) * deviation
