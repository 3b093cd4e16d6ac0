"""Boosted trees, the strongest rival on tables."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from experiments.common.data.splits import Split


def gradient_boosting(features: np.ndarray, targets: np.ndarray, split: Split) -> np.ndarray:
    """Forecasts by boosted trees of the absolute error; a tenth of the training rows stop it.

    Args:
      features: [N, F].
      targets: [N, K]; a NaN is left out, target by target.
      split: of the N rows.

    Returns: the forecasts for all rows, [N, K].
    """
    columns = []
    for target in targets.T:
        rows = split.train[np.isfinite(target[split.train])]
        model = HistGradientBoostingRegressor(
            loss="absolute_error",
            learning_rate=0.1,
            max_iter=150,
            early_stopping=True,
            random_state=0,
        )
        # On shared cores, several threads wait for each other most of the time.
        with threadpool_limits(1, "openmp"):
            columns.append(model.fit(features[rows], target[rows]).predict(features))
    return np.stack(columns, 1)
