"""Ridge regression, the linear forecast, and features for it."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler


def ridge(features: np.ndarray, targets: np.ndarray, train: np.ndarray, penalty: float = 1.0):
    """Forecasts by least squares with an intercept and a penalty on the standardized weights.

    Args:
      features: [N, F].
      targets: [N, K]; a NaN is left out, target by target.
      train: the indices of the rows to fit.
      penalty: λ of λ·‖w‖².

    Returns: the forecasts for all rows, [N, K].
    """
    design = StandardScaler().fit(features[train]).transform(features)
    columns = []
    for target in targets.T:
        rows = train[np.isfinite(target[train])]
        model = Ridge(alpha=penalty).fit(design[rows], target[rows])
        columns.append(model.predict(design))
    return np.stack(columns, 1)


def harmonics(dates: np.ndarray, order: int) -> np.ndarray:
    """Sines and cosines of the day of the year, [N, 2 * order], from datetime64 [N]."""
    year = dates.astype("datetime64[Y]")
    phase = 2 * np.pi * (dates - year).astype("timedelta64[D]").astype(float) / 365.25
    waves = [wave(k * phase) for k in range(1, order + 1) for wave in (np.sin, np.cos)]
    return np.stack(waves, 1)


def lagged(values: np.ndarray, lags: int) -> np.ndarray:
    """The last values at each step, [N, lags], the newest first; NaN before the first."""
    padded = np.concatenate([np.full(lags - 1, np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, lags)[:, ::-1]
