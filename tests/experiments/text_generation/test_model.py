"""The character language model: its sizes, its bits, and its parameters in a file."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.training.models import from_arrays, load_model, save_model, to_arrays
from experiments.text_generation import model as character_model
from experiments.text_generation.model import CharacterModel, model_of_size

CELLS = ("rnn", "lstm", "gru")


def read_alone(model, params, symbols) -> np.ndarray:
    """The bits of a text that is read symbol by symbol."""
    state, bits = model.initial_state(1), []
    step = jax.jit(model.read)
    for now, then in pairwise(symbols):
        state, logits = step(params, state, jnp.array([[now]]))
        shares = np.exp(np.float64(logits[0, 0]) - np.max(logits))
        bits.append(-np.log2(shares[then] / shares.sum()))
    return np.array(bits)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [2, 9, 25])
def test_bits_of_a_text(cell, length, monkeypatch):
    monkeypatch.setattr(character_model, "ROWS", 3)
    monkeypatch.setattr(character_model, "STEPS", 4)
    model = CharacterModel(cell, 7, 6)
    params = jax.tree.map(lambda x: 2 * x, model.init(jax.random.key(1)))
    symbols = np.random.default_rng(length).integers(0, 7, length).astype(np.uint8)
    bits = jax.jit(model.text_bits)(params, symbols)
    rows = min(3, -(-(length - 1) // 4))
    piece = -(-(length - 1) // (rows * 4)) * 4
    want = [
        read_alone(model, params, symbols[start : start + piece + 1])
        for start in range(0, length - 1, piece)
    ]
    np.testing.assert_allclose(bits, np.concatenate(want), rtol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_models_of_a_size(cell):
    model = model_of_size(cell, 60, 20_000)
    params = model.init(jax.random.key(0))
    assert model.num_parameters() == sum(leaf.size for leaf in jax.tree.leaves(params))
    sizes = [
        model._replace(hidden_size=model.hidden_size + change).num_parameters()
        for change in (-1, 0, 1)
    ]
    assert sizes[0] < 20_000 < sizes[2]
    assert min(sizes, key=lambda size: abs(size - 20_000)) == sizes[1]


@pytest.mark.parametrize("cell", CELLS)
def test_saved_and_loaded(cell, tmp_path):
    model = CharacterModel(cell, 5, 4)
    params = model.init(jax.random.key(0))
    save_model(tmp_path / "model", to_arrays(params), {}, [])
    loaded = from_arrays(model.shapes(), load_model(tmp_path / "model", "")[0])
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
