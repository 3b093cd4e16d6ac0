"""Recognition of single spoken digits without a neural network, to compare with."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiments.speech.dtw import dtw_distances
from experiments.speech.spoken_digits import Utterances

LONGEST = 24  # frames that are warped; longer utterances are shrunk to these
POINTS = 12  # at which the support vector machine looks at an utterance


def nearest_neighbour(train: Utterances, test: Utterances) -> np.ndarray:
    """The digit of the training utterance nearest by dynamic time warping, for each: int [M]."""
    distances = dtw_distances(*_at_most(test, LONGEST), *_at_most(train, LONGEST))
    return train.digits[np.asarray(distances).argmin(1)]


def support_vectors(train: Utterances, test: Utterances) -> np.ndarray:
    """A support vector machine on a few evenly spaced frames and the logarithm of the length,
    for each utterance its answer: int [M]."""

    def features(utterances: Utterances) -> np.ndarray:
        pairs = zip(utterances.frames, utterances.lengths, strict=True)
        return np.array([[*resample(frames[:n], POINTS).ravel(), np.log(n)] for frames, n in pairs])

    model = make_pipeline(StandardScaler(), SVC(C=10.0))
    return model.fit(features(train), train.digits).predict(features(test))


def resample(frames: np.ndarray, count: int) -> np.ndarray:
    """Interpolates frames [L, C] at `count` evenly spaced places, both ends among them."""
    places = np.linspace(0, len(frames) - 1, count)
    known = np.arange(len(frames))
    return np.stack([np.interp(places, known, column) for column in frames.T], 1)


def _at_most(utterances: Utterances, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [N, longest, C] and lengths [N]."""
    frames = utterances.frames[:, :longest].copy()
    for i in np.flatnonzero(utterances.lengths > longest):
        frames[i] = resample(utterances.frames[i, : utterances.lengths[i]], longest)
    return frames, np.minimum(utterances.lengths, longest)
