"""The encoder-decoder: steps, padding, loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.seq2seq.model import EncoderDecoder, shift_right, smoothed_cross_entropy
from tests.fixtures.random_params import random_params

MODEL = EncoderDecoder(
    num_tokens=11, embedding_size=6, hidden_size=5, attention_size=4, dropout=0.3
)


@pytest.fixture(scope="module")
def params():
    return random_params(MODEL)


def test_steps_one_by_one_with_beams_are_teacher_forcing(params):
    source = jnp.array([[4, 5], [6, 3], [3, 0]])
    targets = jnp.array([[7, 8], [9, 3], [3, 0]])
    previous = shift_right(targets)
    logits, weights = MODEL.apply(params, source, previous, False)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert not weights[:, 1, 2].any()  # the padding gets no attention
    memory, carry = MODEL.apply(params, source, method="encode")
    carry = jax.tree.map(lambda x: jnp.stack([x, x]), carry)  # two beams
    for t in range(3):
        tokens = jnp.stack([previous[t]] * 2)
        carry, scores = MODEL.apply(params, memory, carry, tokens, method="step")
        for beam in scores:
            np.testing.assert_allclose(beam, jax.nn.log_softmax(logits[t]), atol=1e-5)


def test_padding_and_other_rows_change_nothing(params):
    alone, _ = MODEL.apply(params, jnp.array([[4], [3]]), jnp.array([[2], [7]]), False)
    source, previous = jnp.array([[4, 5], [3, 6], [0, 3]]), jnp.array([[2, 2], [7, 8], [9, 9]])
    together, _ = MODEL.apply(params, source, previous, False)
    np.testing.assert_allclose(together[:2, 0], alone[:, 0], atol=1e-5)


def test_smoothed_cross_entropy_is_that_of_the_smoothed_distribution():
    logits = jax.random.normal(jax.random.key(0), (3, 2, 5))
    targets = jnp.array([[4, 1], [2, 3], [0, 0]])
    smooth = 0.8 * jax.nn.one_hot(targets, 5) + 0.2 / 5
    expected = -(smooth * jax.nn.log_softmax(logits)).sum(-1) * (targets != 0)
    np.testing.assert_allclose(smoothed_cross_entropy(logits, targets, 0.2), expected, atol=1e-6)
