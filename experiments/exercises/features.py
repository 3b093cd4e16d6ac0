"""Features of a motion sensor's windows, and a random forest on them, to compare with."""

import numpy as np
from scipy.stats import kurtosis, skew
from sklearn.ensemble import RandomForestClassifier

TREES = 200
BANDS = 8  # of equal width, of the spectrum below a quarter of the sampling rate


def window_features(signals: np.ndarray) -> np.ndarray:
    """Describes windows by what is usual in activity recognition: [M, T, 6] -> [M, F].

    Of each channel, and of the lengths of both vectors: mean, deviation, extremes, quartiles, skew,
    kurtosis, mean step, how often its mean is crossed, and the spectrum in bands. Of each pair of
    channels: their correlation.
    """
    vectors = signals.reshape(*signals.shape[:2], 2, 3).astype(float)
    xs = np.concatenate([signals, np.linalg.norm(vectors, axis=-1)], -1).astype(float)
    centred = xs - xs.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, axis=1)) ** 2
    bands = np.array_split(spectrum[:, 1 : xs.shape[1] // 4], BANDS, axis=1)
    scaled = centred / np.maximum(centred.std(1, keepdims=True), 1e-6)
    correlations = np.einsum("mti,mtj->mij", scaled[..., :6], scaled[..., :6]) / xs.shape[1]
    upper = np.triu_indices(6, 1)
    features = [
        xs.mean(1),
        xs.std(1),
        *np.percentile(xs, [0, 25, 50, 75, 100], axis=1),
        skew(scaled, axis=1, bias=True),
        kurtosis(scaled, axis=1, bias=True),
        np.abs(np.diff(xs, axis=1)).mean(1),
        (np.diff(np.signbit(centred), axis=1) != 0).mean(1),
        *(np.log(band.sum(1) + 1e-6) for band in bands),
        correlations[:, upper[0], upper[1]],
    ]
    return np.nan_to_num(np.concatenate(features, 1)).astype(np.float32)


def random_forest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Log-probabilities [M, C] of the classes of test windows [M, T, 6]."""
    forest = RandomForestClassifier(TREES, random_state=seed)
    forest.fit(window_features(train), labels)
    chances = forest.predict_proba(window_features(test))
    return np.log(np.maximum(chances, 1 / (2 * TREES)))
