"""A forecasting problem: the data that every study gives to the networks and their rivals."""

from typing import NamedTuple

import numpy as np

from experiments.common.data.splits import Split


class Problem(NamedTuple):
    """Forecasts of K targets from N origins, each origin a time in one of several series."""

    names: list[str]  # of the K targets
    inputs: np.ndarray  # float32 [N, T, I]: the last T steps known at each origin, standardized
    targets: np.ndarray  # [N, K]; NaN where the future is unknown
    linear: np.ndarray  # [N, K], the forecast that the network corrects
    rivals: dict[str, np.ndarray]  # other forecasts for comparison, each [N, K]
    origins: np.ndarray  # [N], the time of the last known step
    series: np.ndarray  # str [N], the series of each origin
    split: Split  # of origins with a target; validation origins may also be for training
    parts: np.ndarray  # int [N]: the validation part, from 1; 0 for none

    def scale(self) -> np.ndarray:
        """The standard deviation [K] of the linear forecast's error on the training set."""
        error = (self.targets - self.linear)[self.split.train]
        smallest = 1e-6 * np.nanstd(self.targets, axis=0) + 1e-30
        return np.maximum(np.sqrt(np.nanmean(error**2, axis=0)), smallest)
