"""A random forest on statistical features of a motion sensor's windows, for comparison."""

import numpy as np
from scipy.stats import kurtosis, skew
from sklearn.ensemble import RandomForestClassifier

TREES = 200
BANDS = 8  # of equal width, below a quarter of the sampling rate


def window_features(signals: np.ndarray, of_watch: bool = True) -> np.ndarray:
    """Computes the usual features of activity recognition: [M, T, C] -> [M, F].

    For each channel: mean, deviation, extremes, quartiles, skew, kurtosis, mean absolute step,
    crossings of the mean, and the spectrum in bands. For each pair of channels: their correlation.
    The watch has two vectors, whose norms are two more channels.
    """
    xs, count = signals.astype(float), signals.shape[-1]
    if of_watch:
        norms = np.linalg.norm(xs.reshape(*xs.shape[:2], 2, 3), axis=-1)
        xs = np.concatenate([signals, norms], -1)
    centered = xs - xs.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centered, axis=1)) ** 2
    bands = np.array_split(spectrum[:, 1 : xs.shape[1] // 4], BANDS, axis=1)
    scaled = centered / np.maximum(centered.std(1, keepdims=True), 1e-6)
    correlations = np.einsum("mti,mtj->mij", scaled[..., :count], scaled[..., :count]) / xs.shape[1]
    upper = np.triu_indices(count, 1)
    features = [
        xs.mean(1),
        xs.std(1),
        *np.percentile(xs, [0, 25, 50, 75, 100], axis=1),
        skew(scaled, axis=1, bias=True),
        kurtosis(scaled, axis=1, bias=True),
        np.abs(np.diff(xs, axis=1)).mean(1),
        (np.diff(np.signbit(centered), axis=1) != 0).mean(1),
        *(np.log(band.sum(1) + 1e-6) for band in bands),
        correlations[:, upper[0], upper[1]],
    ]
    return np.nan_to_num(np.concatenate(features, 1)).astype(np.float32)


def random_forest(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int, of_watch: bool = True
) -> np.ndarray:
    """Log-probabilities [M, K] of test windows [M, T, C], after fitting to train [N, T, C]."""
    forest = RandomForestClassifier(TREES, random_state=seed)
    forest.fit(window_features(train, of_watch), labels)
    probabilities = forest.predict_proba(window_features(test, of_watch))
    return np.log(np.maximum(probabilities, 1 / (2 * TREES)))
