"""Weights from and to Keras with the JAX backend; its layers are the reference."""

import os

import numpy as np
import pytest

import grujax
from grujax.convert import from_keras, to_keras
from tests.helpers import Draw, assert_close, assert_equal

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")

T, B, I, H = 7, 4, 3, 5  # noqa: E741
LENGTHS = np.array([7, 4, 1, 6])
FORMS = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


# Each reset form and each kind of lengths once; the other pairs are slow.
FORMS_AND_LENGTHS = pytest.mark.parametrize(
    ("reset_after", "lengths"),
    [(True, LENGTHS), (False, None), slow(True, None), slow(False, LENGTHS)],
    ids=["after-masked", "before-full", "after-full", "before-masked"],
)


def random_weights(reset_after: bool, directions: int = 1) -> list[np.ndarray]:
    draw = Draw(f"keras {reset_after}", "float32")
    shapes = [(I, 3 * H), (H, 3 * H), (2, 3 * H) if reset_after else (3 * H,)]
    return [draw.normal(*shape, scale=0.5) for _ in range(directions) for shape in shapes]


def layer_of(weights, reset_after: bool, bidirectional: bool = False, **options):
    layer = keras.layers.GRU(
        H, return_sequences=True, return_state=True, reset_after=reset_after, **options
    )
    if bidirectional:
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, I))
    layer.set_weights(weights)
    return layer


def run_keras(layer, xs, lengths=None):
    """`(h_last, hs)` of time-major inputs, with zeros in the padding."""
    mask = None if lengths is None else np.arange(T) < lengths[:, None]
    hs, *states = layer(np.swapaxes(xs, 0, 1), mask=mask)
    hs = np.asarray(hs) if mask is None else np.where(mask[..., None], hs, 0)
    states = [np.asarray(state) for state in states]
    return states[0] if len(states) == 1 else tuple(states), np.swapaxes(hs, 0, 1)


@FORMS_AND_LENGTHS
def test_agrees_with_keras_in_both_directions_of_conversion(reset_after, lengths):
    xs = Draw("xs", "float32").normal(T, B, I)
    layer = layer_of(random_weights(reset_after), reset_after)
    params = from_keras(layer.get_weights(), reset_after=reset_after)
    assert_close(grujax.gru(params, xs, lengths=lengths), run_keras(layer, xs, lengths), "float32")

    params = Draw("params", "float32").params(I, H, reset_after)
    layer = layer_of(to_keras(params), reset_after)
    assert_close(run_keras(layer, xs, lengths), grujax.gru(params, xs, lengths=lengths), "float32")


@FORMS_AND_LENGTHS
def test_a_bidirectional_layer_is_a_pair(reset_after, lengths):
    xs = Draw("xs", "float32").normal(T, B, I)
    weights = random_weights(reset_after, directions=2)
    layer = layer_of(weights, reset_after, bidirectional=True)
    pair = from_keras(layer.get_weights(), reset_after=reset_after)
    got = grujax.bidirectional_gru(pair, xs, lengths=lengths)
    assert_close(got, run_keras(layer, xs, lengths), "float32")

    layer.set_weights(to_keras(pair))
    assert_close(run_keras(layer, xs, lengths), got, "float32")


@pytest.mark.slow
@FORMS
def test_without_a_bias(reset_after):
    xs = Draw("xs", "float32").normal(T, B, I)
    layer = layer_of(random_weights(reset_after)[:2], reset_after, use_bias=False)
    params = from_keras(layer.get_weights(), reset_after=reset_after)
    assert_close(grujax.gru(params, xs), run_keras(layer, xs), "float32")


def test_round_trips():
    params = Draw("params", "float32").params(I, H)
    weights = to_keras(params)
    assert all(isinstance(array, np.ndarray) for array in weights)
    assert_equal(from_keras(weights), params)
    assert_equal(to_keras(from_keras(weights)), weights)
    assert_equal(to_keras(from_keras([*weights, *weights])), [*weights, *weights])

    one_bias = random_weights(reset_after=False)
    assert_equal(to_keras(from_keras(one_bias, reset_after=False)), one_bias)

    two = random_weights(reset_after=True)
    again = to_keras(from_keras(two))
    np.testing.assert_allclose(again[2].sum(0), two[2].sum(0), atol=1e-6)
    np.testing.assert_array_equal(again[2][1, 2 * H :], two[2][1, 2 * H :])


@pytest.mark.parametrize(
    ("weights", "reset_after", "message"),
    [
        (random_weights(True), False, r"`bias` has shape \[2, 15\], expected \[3H\] with H = 5"),
        (random_weights(False), True, r"`bias` has shape \[15\], expected \[2, 3H\] with H = 5"),
        (random_weights(True)[:1], True, "`weights` holds 1 arrays, expected kernel"),
        ([np.ones((I, 20), "f"), np.ones((H, 20), "f")], True, r"`recurrent_kernel` .*\[5, 20\]"),
        ([np.ones((I, 12), "f"), np.ones((H, 15), "f")], True, r"`kernel` .*\[3, 12\].* H = 5"),
    ],
)
def test_errors_name_the_array(weights, reset_after, message):
    with pytest.raises(ValueError, match=message):
        from_keras(weights, reset_after=reset_after)


def test_directions_must_have_the_same_shapes():
    draw = Draw("pair", "float32")
    with pytest.raises(ValueError, match=r"`bias` .*\[2, 15\] forward and \[15\] backward"):
        to_keras((draw.params(I, H), draw.params(I, H, reset_after=False)))
    with pytest.raises(ValueError, match=r"`kernel` .*\[3, 15\] forward and \[3, 12\] backward"):
        to_keras((draw.params(I, H), draw.params(I, 4)))
    with pytest.raises(ValueError, match=r"`params` must be .* pair .*, got a list of 1"):
        to_keras([draw.params(I, H)])
