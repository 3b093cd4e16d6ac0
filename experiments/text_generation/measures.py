"""What lowers a network's bits after its training: dynamic evaluation, and n-grams beside it.

The n-grams get what the network gets: where the network goes on learning from the text that it
reads, they go on counting. A mixture, p(c) = Σ_k w_k · p_k(c), has weights that are fitted on the
validation text by expectation maximization.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from experiments.text_generation import ngram
from experiments.text_generation.adaptation import OPTIMIZER, adaptive_bits
from experiments.text_generation.model import CharacterModel
from experiments.text_generation.prose import Texts

BYTES = 4  # of a parameter
ITERATIONS = 100  # of expectation maximization


def measure(
    row: str, model: CharacterModel, params: Any, texts: Texts, order: int
) -> dict[str, dict[str, float]]:
    """The bits of a trained network that goes on learning, and of its mixtures with n-grams.

    Args:
      row: the name of the network.
      model: the network.
      params: its trained parameters.
      texts: what it is trained on and tested with.
      order: the n of the n-grams.

    Returns: for each row of the table the "bits" of the test text, the "validation bits" and the
      "megabytes" of the state.
    """
    held_out, known = (texts.validation, texts.test), texts.train
    sizes = texts.num_symbols, order
    all_read = np.concatenate([known, texts.test])
    fixed, counted = ngram.fit(known, *sizes), ngram.fit(all_read, *sizes)
    read = jax.jit(model.text_bits)
    network = [_probabilities(read(params, text)) for text in held_out]
    adapted = [_probabilities(adaptive_bits(model, params, text, OPTIMIZER)) for text in held_out]
    grams = [ngram.probabilities(fixed, text) for text in held_out]
    counting = [ngram.probabilities_counting_on(known, text, *sizes) for text in held_out]
    parameters = BYTES * model.num_parameters()
    rows = {
        f"{row}, dynamic evaluation": (adapted, parameters),
        "n-grams, counting on": (counting, counted.num_bytes()),
        f"{row} + n-grams": (_mix(network, grams), parameters + fixed.num_bytes()),
        f"{row}, dynamic evaluation + n-grams, counting on": (
            _mix(adapted, counting),
            parameters + counted.num_bytes(),
        ),
    }
    return {
        name: {
            "bits": float(-np.log2(test).mean()),
            "validation bits": float(-np.log2(validation).mean()),
            "megabytes": num_bytes / 1e6,
        }
        for name, ((validation, test), num_bytes) in rows.items()
    }


def fit_weights(probabilities: np.ndarray) -> np.ndarray:
    """The most likely weights of a mixture.

    Args:
      probabilities: [K, N], what each of K models gave each symbol of a text.

    Returns: [K]; they sum to one.
    """
    weights = np.full(len(probabilities), 1 / len(probabilities))
    for _ in range(ITERATIONS):
        shares = weights[:, None] * probabilities
        weights = (shares / shares.sum(0)).mean(1)
    return weights


def _probabilities(bits: ArrayLike) -> np.ndarray:
    return 2.0 ** -np.asarray(bits, float)


def _mix(*models: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The mixture on the validation and the test text, with weights from the validation text."""
    validation, test = map(np.stack, zip(*models, strict=True))
    weights = fit_weights(validation)
    return [weights @ validation, weights @ test]
