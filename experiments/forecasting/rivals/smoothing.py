"""Exponential smoothing with an additive season (ETS), fitted by statsmodels."""

import numpy as np
from statsmodels.tsa.exponential_smoothing.ets import ETSModel


def exponential_smoothing(
    values: np.ndarray, horizons: np.ndarray, fitted: np.ndarray, season: int | None = None
) -> np.ndarray:
    """Forecasts from every step by a level, and a season if there is one.

    Args:
      values: [L].
      horizons: int [K], the steps ahead.
      fitted: the indices of the first steps, to which the smoothing parameters are fitted.
      season: its length in steps.

    Returns: [L, K], the forecasts from each step, which know the values up to it.

    Reference: Hyndman et al. 2008, "Forecasting with exponential smoothing", ETS(A,N,A).
    """
    kind = {} if season is None else {"seasonal": "add", "seasonal_periods": season}
    model = ETSModel(values[fitted], initialization_method="heuristic", **kind)
    fit = model.fit(disp=False)
    length = season or 1
    level_rate = fit.smoothing_level
    season_rate = fit.smoothing_seasonal if season else 0.0
    level = fit.initial_level
    seasonal = np.array(fit.initial_seasonal if season else [0.0])
    forecasts = np.empty((len(values), len(horizons)))
    for step, value in enumerate(values):
        place = step % length
        error = value - level - seasonal[place]
        level += level_rate * error
        seasonal[place] += season_rate * error
        forecasts[step] = level + seasonal[(step + horizons) % length]
    return forecasts
