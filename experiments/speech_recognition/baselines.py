"""Recognition of single spoken digits without a neural network, for comparison."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiments.speech.dtw import dtw_distances
from experiments.speech.spoken_digits import Utterances

LONGEST = 24  # frames that are warped; longer utterances are resampled to these
POINTS = 12  # frames per utterance that the support vector machine reads


def nearest_neighbor(train: Utterances, test: Utterances) -> np.ndarray:
    """The digit of the nearest training utterance by dynamic time warping: int [M]."""
    distances = dtw_distances(*_shorten(test, LONGEST), *_shorten(train, LONGEST))
    return train.digits[np.asarray(distances).argmin(1)]


def support_vector_machine(train: Utterances, test: Utterances) -> np.ndarray:
    """The answers of a support vector machine: int [M].

    Its features are a few evenly spaced frames and the logarithm of the length.
    """

    def features(utterances: Utterances) -> np.ndarray:
        pairs = zip(utterances.frames, utterances.lengths, strict=True)
        return np.array([[*resample(frames[:n], POINTS).ravel(), np.log(n)] for frames, n in pairs])

    model = make_pipeline(StandardScaler(), SVC(C=10.0))
    return model.fit(features(train), train.digits).predict(features(test))


def resample(frames: np.ndarray, count: int) -> np.ndarray:
    """Interpolates frames [L, C] at `count` evenly spaced times, both ends included."""
    times = np.linspace(0, len(frames) - 1, count)
    return np.stack([np.interp(times, np.arange(len(frames)), column) for column in frames.T], 1)


def _shorten(utterances: Utterances, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [N, longest, C] and lengths [N] of at most `longest` frames."""
    frames = utterances.frames[:, :longest].copy()
    for i in np.flatnonzero(utterances.lengths > longest):
        frames[i] = resample(utterances.frames[i, : utterances.lengths[i]], longest)
    return frames, np.minimum(utterances.lengths, longest)
