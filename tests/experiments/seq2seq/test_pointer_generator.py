"""The pointer: mixtures, steps, scores of targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.seq2seq import subwords
from experiments.seq2seq.decoding import Translator
from experiments.seq2seq.model import EncoderDecoder, PointerGenerator, mix, shift_right
from tests.fixtures.random_params import random_params

SIZES = {"num_tokens": 11, "embedding_size": 6, "hidden_size": 5, "attention_size": 4}


MODEL, PLAIN = PointerGenerator(**SIZES, dropout=0.3), EncoderDecoder(**SIZES, dropout=0.3)


# Token 4 comes twice in the first source; of the second one's targets none is in its source.
SOURCE = jnp.array([[4, 5], [6, 3], [4, 0], [3, 0]])


TARGETS = jnp.array([[4, 8], [6, 9], [3, 7]])


def apply(model, method="__call__"):
    """The method, compiled: it takes parameters, source, targets or the tokens before them."""
    extra = () if method == "generation_probability" else (False,)
    return jax.jit(lambda params, *tokens: model.apply(params, *tokens, *extra, method=method))


@pytest.fixture(scope="module")
def params():
    return random_params(MODEL)


def test_a_token_is_written_or_copied_from_wherever_it_stands(params):
    scores, weights = apply(MODEL)(params, SOURCE, shift_right(TARGETS))
    gate = apply(MODEL, "generation_probability")(params, SOURCE, TARGETS)
    written = jax.nn.softmax(apply(PLAIN)(params, SOURCE, shift_right(TARGETS))[0])
    for t, b in np.ndindex(TARGETS.shape):
        expected = [float(gate[t, b] * p) for p in written[t, b]]
        for s in range(len(SOURCE)):
            expected[SOURCE[s, b]] += float((1 - gate[t, b]) * weights[t, b, s])
        np.testing.assert_allclose(jnp.exp(scores[t, b]), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(jnp.exp(scores).sum(-1), 1, rtol=1e-5)


def test_steps_one_by_one_with_beams_are_teacher_forcing(params):
    scores, _ = apply(MODEL)(params, SOURCE, shift_right(TARGETS))
    memory, carry = jax.jit(lambda p: MODEL.apply(p, SOURCE, method="encode"))(params)
    advance = jax.jit(
        lambda carry, tokens: MODEL.apply(params, memory, carry, tokens, method="step")
    )
    carry = jax.tree.map(lambda x: jnp.stack([x, x]), carry)  # two beams
    for t, previous in enumerate(shift_right(TARGETS)):
        carry, step = advance(carry, jnp.stack([previous] * 2))
        for beam in step:
            np.testing.assert_allclose(beam, scores[t], atol=1e-5)


@pytest.mark.parametrize("model", [MODEL, PLAIN])
def test_the_scores_of_targets_and_their_gradient_are_those_of_the_distribution(model):
    params = random_params(model)
    targets = TARGETS.at[2, 1].set(subwords.PADDING)

    def alone(params):
        scores, right = apply(model, "score_targets")(params, SOURCE, targets)
        return scores.sum(), (scores, right)

    def chosen(params):
        scores = jax.nn.log_softmax(apply(model)(params, SOURCE, shift_right(targets))[0])
        likely = scores.argmax(-1) == targets
        scores = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0] * (targets != 0)
        return scores.sum(), (scores, likely)

    (_, values), gradient = jax.jit(jax.value_and_grad(alone, has_aux=True))(params)
    (_, others), expected = jax.jit(jax.value_and_grad(chosen, has_aux=True))(params)
    assert values[0][2, 1] == 0
    np.testing.assert_allclose(values[0], others[0], atol=1e-5)
    np.testing.assert_array_equal(values[1], others[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, expected)


@given(
    gate=st.floats(-300, 300, width=32),
    written=st.floats(-300, -0.001953125, width=32),
    copied=st.one_of(st.just(0.0), st.floats(2.0**-120, 1, width=32)),
)
def test_a_mixture_is_finite_and_that_of_the_probabilities_in_long_double(gate, written, copied):
    value, gradient = jax.value_and_grad(mix, (0, 1, 2))(gate, written, copied)
    assert np.isfinite([value, *gradient[:2]]).all()
    wide = np.longdouble
    p_gen = 1 / (1 + np.exp(-wide(gate)))
    p_copy = 1 / (1 + np.exp(wide(gate)))
    expected = np.log(p_gen * np.exp(wide(written)) + p_copy * wide(copied))
    np.testing.assert_allclose(float(value), float(expected), rtol=1e-5, atol=1e-6)
    share = p_gen * np.exp(wide(written)) / np.exp(expected)
    np.testing.assert_allclose(float(gradient[1]), float(share), rtol=1e-3, atol=1e-6)


def test_a_summarizer_reads_the_end_of_a_long_text_and_stops_in_time(params):
    bias = params["params"]["output_bias"].copy()
    bias[subwords.END] = -9  # outputs do not end by themselves
    params = {"params": params["params"] | {"output_bias": bias}}
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    summarizer = Translator(MODEL, params, tokenizer, (8,), 2, tail=3, max_length=4)
    read, _, weights = summarizer.attention_map("abcd" * 5 + " b", "a")
    assert len(read) == 8
    assert read[-2:] == ["b", "</s>"]
    assert weights.shape[1] == 8
    assert 0 < len(summarizer(["abcd" * 5], 1)[0]) <= 4 * len("ab")  # no subword has more letters
    assert len(summarizer._replace(max_length=None)(["abcd" * 5], 1)[0]) > 4 * len("ab")
