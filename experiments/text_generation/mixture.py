"""Mixtures of language models, whose weights are fitted by expectation maximization.

p(c) = Σ_k w_k · p_k(c)
"""

import numpy as np

ITERATIONS = 100


def fit_weights(probabilities: np.ndarray) -> np.ndarray:
    """The most likely weights.

    Args:
      probabilities: [K, N], what each of K models gave each symbol of a text.

    Returns: [K]; they sum to one.
    """
    weights = np.full(len(probabilities), 1 / len(probabilities))
    for _ in range(ITERATIONS):
        shares = weights[:, None] * probabilities
        weights = (shares / shares.sum(0)).mean(1)
    return weights
