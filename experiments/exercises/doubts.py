"""Recordings that the networks cannot answer: other units, no movement, or other movements."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.command import InputError
from experiments.common.confidence import Familiarity, fit_familiarity
from experiments.exercises.baselines import window_features

GRAVITY = (0.5, 4.0)  # g, the median acceleration; in the recordings it is 0.99 to 2.5
FASTEST = 20.0  # rad/s, below which 95% of a recording is; in the recordings it is below 11
STILL = 0.3  # rad/s, the root mean square of a window; in the recordings it is above 0.6
UNKNOWN = 0.01  # the share of unseen subjects' windows that are called unfamiliar


def check_units(path: Path, signal: np.ndarray) -> None:
    """Refuses a recording [L, 6] whose units are not g and rad/s.

    Raises:
      InputError: gravity is missing or far from 1 g, or it turns faster than any arm.
    """
    acceleration = float(np.median(np.linalg.norm(signal[:, :3], axis=1)))
    turning = float(np.percentile(np.linalg.norm(signal[:, 3:], axis=1), 95))
    if not GRAVITY[0] <= acceleration <= GRAVITY[1]:
        hint = "m/s² are divided by 9.81" if acceleration > 1 else "gravity must not be removed"
        raise InputError(
            f"{path} has a median acceleration of {acceleration:.3g}; in g, gravity makes it about "
            f"1: {hint}."
        )
    if turning > FASTEST:
        raise InputError(
            f"{path} has angular velocities of {turning:.3g}, which no arm reaches in rad/s: "
            "degrees per second are multiplied by 0.01745."
        )


def is_moving(windows: np.ndarray) -> np.ndarray:
    """Whether the sensor turns in each of the windows [M, T, 6]: bool [M]."""
    return np.sqrt((windows[..., 3:] ** 2).sum(-1).mean(-1)) >= STILL


def fit_known_movements(windows: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Fits a model of the windows [M, T, 6], as JSON values, see `knows_movement`.

    Its limit is that of windows of other folds, int [M], hence of unseen subjects.
    """
    features = window_features(windows)
    mean, deviation = _fit_features(features)
    scaled = (features - mean) / deviation
    distances = np.zeros(len(scaled))
    for fold in np.unique(folds):
        own = folds == fold
        distances[own] = fit_familiarity(scaled[~own], scaled[own]).distance(scaled[own])
    limit = np.quantile(distances, 1 - UNKNOWN)
    return _as_json(mean, deviation, fit_familiarity(scaled, scaled)._replace(limit=limit))


def fit_known_signals(train: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """The same for windows [M, T, C] of any channels; the limit is that of held-out windows."""
    features, others = (window_features(windows, of_watch=False) for windows in (train, held_out))
    mean, deviation = _fit_features(features)
    scaled = ((rows - mean) / deviation for rows in (features, others))
    return _as_json(mean, deviation, fit_familiarity(*scaled, UNKNOWN))


def knows_movement(
    fitted: dict[str, Any], windows: np.ndarray, of_watch: bool = True
) -> np.ndarray:
    """Whether each of the windows [M, T, C] resembles the recordings: bool [M]."""
    parts = {name: np.asarray(part) for name, part in fitted.items()}
    mean, deviation = parts.pop("feature_mean"), parts.pop("feature_deviation")
    return Familiarity(**parts).knows((window_features(windows, of_watch) - mean) / deviation)


def _fit_features(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(0), features.std(0) + 1e-6


def _as_json(mean: np.ndarray, deviation: np.ndarray, model: Familiarity) -> dict[str, Any]:
    parts = {"feature_mean": mean, "feature_deviation": deviation, **model._asdict()}
    return {name: np.asarray(part).tolist() for name, part in parts.items()}
