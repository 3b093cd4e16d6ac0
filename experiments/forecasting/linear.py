"""Forecasts without a neural network, to correct and to compare with."""

import numpy as np


def ridge(features: np.ndarray, targets: np.ndarray, train: np.ndarray, penalty: float = 1.0):
    """Least squares with an intercept and a penalty on the standardised weights.

    Args:
      features: [N, F].
      targets: [N, K]; what is NaN is left out, target by target.
      train: indices of the rows to fit.
      penalty: λ of λ·‖w‖², in the unit of one row of standardised features.

    Returns: the forecasts for all rows, [N, K].
    """
    mean, deviation = features[train].mean(0), features[train].std(0) + 1e-9
    design = np.column_stack([np.ones(len(features)), (features - mean) / deviation])
    penalties = penalty * np.eye(design.shape[1])
    penalties[0, 0] = 0
    columns = []
    for target in targets.T:
        rows = train[np.isfinite(target[train])]
        fitted = design[rows]
        weights = np.linalg.solve(fitted.T @ fitted + penalties, fitted.T @ target[rows])
        columns.append(design @ weights)
    return np.stack(columns, 1)


def harmonics(dates: np.ndarray, order: int) -> np.ndarray:
    """Sines and cosines of the day of the year, [N, 2 * order], from datetime64 [N]."""
    year = dates.astype("datetime64[Y]")
    phase = 2 * np.pi * (dates - year).astype("timedelta64[D]").astype(float) / 365.25
    waves = [wave(k * phase) for k in range(1, order + 1) for wave in (np.sin, np.cos)]
    return np.stack(waves, 1)


def exponential_average(values: np.ndarray, weight: float) -> np.ndarray:
    """s_t = s_{t−1} + weight · (x_t − s_{t−1}), from s_0 = x_0; [N] to [N]."""
    averages = np.empty(len(values))
    state = values[0]
    for t, value in enumerate(values):
        state += weight * (value - state)
        averages[t] = state
    return averages


def lagged(values: np.ndarray, lags: int) -> np.ndarray:
    """The last values at each step, [N, lags], the newest first; NaN before the first."""
    padded = np.concatenate([np.full(lags - 1, np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, lags)[:, ::-1]
