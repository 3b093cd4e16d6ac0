"""Dynamic evaluation: nothing is read before it is predicted, and learning helps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.text_generation import adaptation
from experiments.text_generation.adaptation import adaptive_bits
from experiments.text_generation.model import CharacterModel

STEPS = 4
MODEL = CharacterModel("gru", num_symbols=5, hidden_size=6)
PARAMS = MODEL.init(jax.random.key(0))
TEXT = np.random.default_rng(0).integers(5, size=23).astype(np.uint8)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(adaptation, "STEPS", STEPS)
    adaptive_bits.clear_cache()
    yield
    adaptive_bits.clear_cache()


def read_alone(text: np.ndarray, rate: float) -> np.ndarray:
    """The bits of a text, by a loop over its segments."""
    params, state, bits = PARAMS, MODEL.initial_state(1), []

    def loss(params, state, segment):
        state, bits = MODEL.segment_bits(params, state, segment)
        return bits.mean(), (state, bits[:, 0])

    for start in range(0, len(text) - 1, STEPS):
        segment = jnp.asarray(text[start : start + STEPS + 1])[:, None]
        gradient, (state, found) = jax.grad(loss, has_aux=True)(params, state, segment)
        params = jax.tree.map(lambda p, g: p - rate * g, params, gradient)
        bits.append(found)
    return np.concatenate(bits)


@pytest.mark.parametrize("length", [2, 5, 6, 23])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_each_segment_is_predicted_and_then_learned(length, rate):
    bits = adaptive_bits(MODEL, PARAMS, TEXT[:length], optax.sgd(rate))
    assert bits.shape == (length - 1,)
    np.testing.assert_allclose(bits, read_alone(TEXT[:length], rate), rtol=1e-5)


def test_without_learning_it_is_the_trained_model(monkeypatch):
    monkeypatch.setattr("experiments.text_generation.model.ROWS", 1)
    bits = adaptive_bits(MODEL, PARAMS, TEXT, optax.sgd(0.0))
    np.testing.assert_allclose(bits, MODEL.text_bits(PARAMS, TEXT), rtol=1e-6)


@pytest.mark.parametrize("place", [1, 4, 5, 13, 22])
def test_no_character_is_used_before_it_is_predicted(place):
    changed = TEXT.copy()
    changed[place] = (changed[place] + 1) % 5
    before, after = (
        np.asarray(adaptive_bits(MODEL, PARAMS, text, optax.sgd(0.5))) for text in (TEXT, changed)
    )
    np.testing.assert_array_equal(after[: place - 1], before[: place - 1])
    assert (after[place - 1 :] != before[place - 1 :]).all()


def test_a_text_that_repeats_itself_is_learned():
    text = np.tile(TEXT[:8], 40)
    bits = adaptive_bits(MODEL, PARAMS, text, adaptation.OPTIMIZER)
    assert bits[-40:].mean() < 0.8 * bits[:40].mean()
