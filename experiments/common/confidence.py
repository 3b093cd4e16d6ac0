"""How sure an answer may be: calibrated probabilities, and whether an input is familiar.

A network's probabilities are often too high, and they mean nothing for an input that is unlike all
training data. Temperature scaling repairs the first, with held-out examples (Guo et al. 2017,
https://arxiv.org/abs/1706.04599). For the second, a Gaussian model of the training inputs measures
how far a new input is from them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.decomposition import PCA

SURE = 0.5  # an answer with a smaller probability is called unsure
MAX_TEMPERATURE = 20.0
_VARIANCE = 0.9  # the share that the principal components of `Familiarity` explain
_BINS = 10


def fit_temperature(log_probs: np.ndarray, labels: np.ndarray, prior: float = 0.0) -> float:
    """The temperature at which held-out labels are most likely, see `calibrate`.

    Args:
      log_probs: [N, C], log-probabilities or logits of examples that were not trained on.
      labels: int [N], their classes.
      prior: counts as so many examples with each class equally likely. Few examples whose answers
        are all right would otherwise make every answer certain (Platt 1999).
    """
    smoothing = prior / (len(labels) + prior)
    targets = (1 - smoothing) * np.eye(log_probs.shape[-1])[labels]
    targets += smoothing / log_probs.shape[-1]

    def loss(temperature: float) -> float:
        scaled = log_softmax(log_probs / temperature, axis=-1)
        return -float((targets * scaled).sum(-1).mean())

    return find_temperature(loss)


def find_temperature(loss: Callable[[float], float]) -> float:
    """The temperature of least loss, from 1/`MAX_TEMPERATURE` to `MAX_TEMPERATURE`."""
    most = np.log(MAX_TEMPERATURE)
    found = minimize_scalar(lambda x: loss(float(np.exp(x))), bounds=(-most, most))
    return float(np.exp(found.x))


def calibrate(log_probs: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities softmax(log_probs / temperature), [..., C]."""
    return softmax(np.asarray(log_probs, float) / temperature, axis=-1)


def to_log_probs(probabilities: ArrayLike) -> np.ndarray:
    """Logarithms, finite where a probability is zero."""
    return np.log(np.maximum(np.asarray(probabilities, float), 1e-30))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error: by how much confidence and accuracy differ on average.

    Examples are sorted into bins of equal width by the probability of their answer.

    Args:
      probabilities: [N, C].
      labels: int [N].
    """
    return confidence_error(probabilities.max(-1), probabilities.argmax(-1) == labels)


def confidence_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The same, from the confidence [N] in each answer, and whether it is right, [N]."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, confidence - right, _BINS)
    return float(np.abs(gaps).sum() / len(right))


def describe_answer(probabilities: np.ndarray, names: Sequence[Any], shown: int = 3) -> str:
    """The most likely names with their probabilities: "7 93%, 1 4%", or "unsure: 7 41%, 1 38%".

    Args:
      probabilities: [C], calibrated.
      names: of the C classes.
      shown: how many at most; a probability that rounds to 0% is left out after the first.
    """
    best = np.argsort(-probabilities, kind="stable")[:shown]
    kept = [i for i in best if i == best[0] or probabilities[i] >= 0.005]
    answers = ", ".join(f"{names[i]} {probabilities[i]:.0%}" for i in kept)
    return answers if probabilities[best[0]] >= SURE else f"unsure: {answers}"


class Familiarity(NamedTuple):
    """A Gaussian model of inputs [D], with K principal components (Tipping & Bishop 1999)."""

    mean: np.ndarray  # [D]
    components: np.ndarray  # [K, D], orthonormal
    variances: np.ndarray  # [K], along the components
    noise: np.ndarray  # [], the variance along every other direction
    limit: np.ndarray  # [], the largest distance of a familiar input

    def distance(self, inputs: np.ndarray) -> np.ndarray:
        """The squared Mahalanobis distance [N] of inputs [N, D] from the mean, divided by D."""
        centered = np.asarray(inputs, float) - self.mean
        along = centered @ self.components.T
        rest = (centered**2).sum(-1) - (along**2).sum(-1)
        total = (along**2 / self.variances).sum(-1) + rest / self.noise
        return total / inputs.shape[-1]

    def knows(self, inputs: np.ndarray) -> np.ndarray:
        """Whether each of the inputs [N, D] is familiar: bool [N]."""
        return self.distance(inputs) <= self.limit


def fit_familiarity(train: np.ndarray, held_out: np.ndarray, unknown: float = 0.01) -> Familiarity:
    """Fits the model to training inputs, and its limit to held-out ones.

    Args:
      train: [N, D], at least three different inputs.
      held_out: [M, D], inputs of the same kind that were not trained on.
      unknown: the share of `held_out` beyond the limit.
    """
    model = PCA(_VARIANCE, svd_solver="full").fit(train)
    spread = float(np.var(train, axis=0).mean())
    noise = max(float(model.noise_variance_), 1e-6 * spread)
    parts = (model.mean_, model.components_, model.explained_variance_, np.array(noise))
    fitted = Familiarity(*parts, np.array(np.inf))
    return fitted._replace(limit=np.quantile(fitted.distance(held_out), 1 - unknown))
