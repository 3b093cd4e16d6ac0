"""Language models of the Bible at several sizes, and what they make of a long text."""

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments import text_generation
from experiments.common.rivals.transformer import WINDOW, initial_cache
from experiments.common.training import loop
from experiments.streaming.settings import CELLS, Settings
from experiments.streaming.steps import Network
from experiments.text_generation import (
    SHARES,
    STEPS,
    CharacterModel,
    language_training,
    make_model,
    prepare,
    read_corpus,
)

# Chosen on validation data by `experiments.text_generation --compare`: 150,000 parameters.
LEARNING_RATES = {"gru": 1e-2, "lstm": 1e-2, "transformer": 3e-3}


class Trained(NamedTuple):
    """A trained language model."""

    model: CharacterModel
    params: dict[str, Any]
    results: dict[str, float]

    def network(self) -> Network:
        """What reads a stream."""
        return Network(self.params["cell"], self.params["readout"], self.params["bias"])


def train_models(settings: Settings, out: Path) -> tuple[dict[str, dict[int, Trained]], np.ndarray]:
    """Trains each cell at each size, unless already trained.

    Returns: the models by cell and size, and the test text.
    """
    corpus = read_corpus("bible", SHARES)
    test = corpus.join(corpus.split.test)
    models: dict[str, dict[int, Trained]] = {cell: {} for cell in CELLS}
    for cell in CELLS:
        for size in settings.sizes:
            chosen = replace(
                text_generation.COMPARED,
                cell=cell,
                parameters=size,
                num_characters=settings.num_characters,
                learning_rate=LEARNING_RATES[cell],
                seed=settings.seed,
            )
            data = prepare(corpus, chosen)
            model = make_model(chosen, data.num_symbols)
            plan = language_training(chosen, data, chosen.learning_rate)
            about = {"settings": asdict(chosen), "model": model._asdict()}
            key, folder = jax.random.key(settings.seed), out / f"{cell}-{size}"
            state = loop.run(plan, key, folder, about, f"{cell}, {size:,}")
            results = {
                "bits": float(jax.jit(model.text_bits)(state.best_params, test).mean()),
                "validation bits": -float(state.best_score),
                "parameters": model.num_parameters(),
                "hidden size": model.hidden_size,
                "learning rate": chosen.learning_rate,
            }
            models[cell][size] = Trained(model, state.best_params, results)
    return models, test


def one_hot(model: CharacterModel, symbols: np.ndarray) -> np.ndarray:
    """The inputs of the layer, [N, V], see `CharacterModel.read`."""
    xs = jax.nn.one_hot(symbols, model.num_symbols)
    return np.asarray(model.num_symbols**0.5 * xs)


def bits_by_position(
    trained: Trained, pieces: np.ndarray, capacity: int | None = None
) -> np.ndarray:
    """The bits of the characters of long pieces of text, by their position.

    Args:
      trained: the model.
      pieces: [B, L + 1], of which L, a multiple of STEPS, are predicted.
      capacity: of a Transformer's cache; None: the window that it was trained on.

    Returns: [L], the mean of the pieces.
    """
    model, rows = trained.model, len(pieces)
    state = model.initial_state(rows)
    if capacity is not None:
        state = initial_cache((rows, model.hidden_size), jnp.float32, capacity)
    starts = np.arange(0, pieces.shape[1] - 1, STEPS)[:, None] + np.arange(STEPS + 1)
    segments = jnp.asarray(pieces.T[starts])  # [L / STEPS, STEPS + 1, B]

    @jax.jit
    def run(params: dict[str, Any], state: Any) -> Array:
        return jax.lax.scan(lambda *args: model.segment_bits(params, *args), state, segments)[1]

    bits = run(trained.params, state)  # [L / STEPS, STEPS, B]
    return np.asarray(bits.mean(-1)).reshape(-1)


def cut_pieces(test: np.ndarray, settings: Settings) -> np.ndarray:
    """Pieces of the test text at equal distances, [B, L + 1]."""
    length = settings.length // STEPS * STEPS
    starts = np.linspace(0, len(test) - length - 1, settings.pieces).astype(int)
    return np.stack([test[start : start + length + 1] for start in starts])


def beyond_the_window(
    models: dict[str, dict[int, Trained]], test: np.ndarray, settings: Settings
) -> dict[str, dict[str, dict[str, float]]]:
    """The bits of pieces of the test text in ranges of positions, of the largest models.

    Returns: by kind, "bits" by the range, such as "128 to 255".
    """
    pieces, largest = cut_pieces(test, settings), max(settings.sizes)
    length = pieces.shape[1] - 1
    kinds = {cell: (cell, None) for cell in ("gru", "lstm")}
    kinds |= {"transformer, window": ("transformer", None)}
    kinds |= {"transformer, growing": ("transformer", length)}
    ends = [0, *(WINDOW * 2**n for n in range(20) if WINDOW * 2**n < length), length]
    found = {}
    for kind, (cell, capacity) in kinds.items():
        bits = bits_by_position(models[cell][largest], pieces, capacity)
        found[kind] = {
            f"{start:,} to {end - 1:,}": float(bits[start:end].mean())
            for start, end in pairwise(ends)
        }
    return found
