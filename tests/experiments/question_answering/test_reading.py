"""The reader of stories: its attention, and what its arrays mean."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.question_answering.reading import Reader, encode, latest_relevant, tokens
from experiments.question_answering.stories import Question
from grujax import scan_cell

WORDS = ["the", "to", "milk", "john", "got", "went", "where", "is", "?"]
SHORT = Question("", ("John got the milk",), "Where is John ?", "no", ())
LONG = Question(
    "", ("John went to the hall", "John got the milk"), "Where is the milk ?", "hall", ()
)


def test_words_become_ids_and_counts():
    assert tokens("Where is the milk?") == ["where", "is", "the", "milk", "?"]
    inputs = encode([SHORT, LONG], WORDS)
    assert inputs["story"].tolist() == [
        [[5, 6, 2, 4, 0], [0] * 5],
        [[5, 7, 3, 2, 1], [5, 6, 2, 4, 0]],  # "hall" is unknown
    ]
    assert inputs["question"].tolist() == [[8, 9, 5, 10, 0], [8, 9, 2, 4, 10]]
    assert inputs["story_words"].tolist() == [[4, 0], [5, 4]]
    assert inputs["question_words"].tolist() == [4, 5]
    assert inputs["story_sentences"].tolist() == [1, 2]


def test_attention_is_the_last_state_of_a_gated_recurrence():
    energy = jax.random.normal(jax.random.key(0), (3, 7)) * 3
    facts = jax.random.normal(jax.random.key(1), (7, 3, 4))

    def cell(_, state, x):
        gate = jax.nn.sigmoid(x[:, :1])
        return (1 - gate) * state + gate * x[:, 1:]

    xs = jnp.concatenate([energy.T[..., None], facts], -1)
    last, _ = scan_cell(cell, None, xs, jnp.zeros((3, 4)))
    weights = latest_relevant(energy)
    np.testing.assert_allclose(jnp.einsum("bs,sbh->bh", weights, facts), last, rtol=1e-5, atol=1e-6)
    assert np.all(weights.sum(-1) <= 1 + 1e-6)


def test_attention_stays_finite_in_the_padding():
    energy = jnp.array([2.0, 50.0, -1e9, -1e9])
    weights, gradient = jax.value_and_grad(lambda e: latest_relevant(e)[0])(energy)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(latest_relevant(energy), [0, 1, 0, 0], atol=1e-6)
    assert weights < 1e-6


@pytest.mark.parametrize("cell", ["gru", "lstm", "transformer"])
def test_a_longer_story_in_the_batch_does_not_change_an_answer(cell):
    reader = Reader(len(WORDS), 2, features=8, passes=2, dropout=0.5, cell=cell)
    both, alone = encode([SHORT, LONG], WORDS), encode([SHORT], WORDS)
    read = jax.jit(partial(reader.apply, train=False))
    params = jax.jit(partial(reader.init, train=False))(jax.random.key(0), alone)
    logits, attention = read(params, both)
    logits_alone, attention_alone = read(params, alone)
    np.testing.assert_allclose(logits[0], logits_alone[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(attention[0, :, :1], attention_alone[0], rtol=1e-5, atol=1e-6)
    assert np.all(attention[0, :, 1] == 0)
