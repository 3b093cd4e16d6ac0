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


# [T, B]: padding on the left, holes, no step at all, and no hole.
MASK = np.array(
    [[0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1], [0] * 7, [1] * 7], dtype=bool
).transpose()


@pytest.mark.parametrize("reset_after", [True, slow(False)], ids=["after", "before"])
def test_a_mask_with_holes_skips_the_same_steps(reset_after):
    """Both hold the last state there, which is the initial state before the first step."""
    xs, h0 = Draw("xs", "float32").normal(T, B, I), Draw("h0", "float32").normal(B, H)
    weights = random_weights(reset_after)
    params = from_keras(weights, reset_after=reset_after)
    for reverse in (False, True):
        layer = layer_of(weights, reset_after, go_backwards=reverse)
        hs, last = layer(np.swapaxes(xs, 0, 1), mask=MASK.T, initial_state=h0)
        hs = np.swapaxes(hs, 0, 1)
        want = np.asarray(last), hs[::-1] if reverse else hs
        assert_close(grujax.gru(params, xs, h0, mask=MASK, reverse=reverse), want, "float32")


def test_the_masking_layer_and_two_directions_skip_the_same_steps():
    xs = Draw("xs", "float32").normal(T, B, I)
    xs[~MASK] = -1.0
    weights = random_weights(True, directions=2)
    model = keras.Sequential([keras.layers.Masking(-1.0), layer_of(weights, True, True)])
    hs, *states = model(np.swapaxes(xs, 0, 1))
    last, got = grujax.bidirectional_gru(from_keras(weights), xs, mask=MASK)
    got = np.where(MASK[..., None], got, 0)  # Keras' two directions return zeros there
    want = tuple(map(np.asarray, states)), np.swapaxes(hs, 0, 1)
    assert_close((last, got), want, "float32")


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


# --- layers ---------------------------------------------------------------------------------------


def built(layer):
    layer.build((B, T, I))
    return layer


@pytest.mark.parametrize("bidirectional", [False, slow(True)])
@FORMS
@pytest.mark.parametrize("use_bias", [True, False])
def test_takes_a_layer(reset_after, use_bias, bidirectional):
    weights = random_weights(reset_after, directions=1 + bidirectional)
    if not use_bias:
        weights = [array for array in weights if array.shape[0] in (I, H)]
    options = {"use_bias": use_bias, "dropout": 0.2, "recurrent_dropout": 0.1}
    layer = layer_of(weights, reset_after, bidirectional, **options)
    got = from_keras(layer)
    assert_equal(got, from_keras(weights, reset_after=reset_after))
    xs = Draw("xs", "float32").normal(T, B, I)
    run = grujax.bidirectional_gru if bidirectional else grujax.gru
    assert_close(run(got, xs), run_keras(layer, xs), "float32")


def test_takes_cells_and_layers_in_models():
    cell = built(keras.layers.GRUCell(H, reset_after=False))
    want = from_keras(cell.get_weights())
    assert_equal(from_keras(cell), want)
    assert_equal(from_keras(built(keras.layers.RNN(cell))), want)
    gru = built(keras.layers.GRU(H, name="gru"))
    model = keras.Sequential([keras.Input((T, I)), keras.Sequential([gru], name="encoder")])
    assert_equal(from_keras(model, prefix="encoder/gru"), from_keras(gru))
    for prefix in ("", "encoder", "decoder/gru"):
        with pytest.raises(ValueError, match=r"GRUs are under `prefix` 'encoder/gru'"):
            from_keras(model, prefix=prefix)
    with pytest.raises(ValueError, match=r"`prefix` needs a model as `weights`, got bare weights"):
        from_keras(gru.get_weights(), prefix="gru")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda gru: built(gru(H, activation="relu")), r"`gru.*\.activation` must be tanh"),
        (
            lambda gru: built(gru(H, recurrent_activation="hard_sigmoid")),
            r"`gru.*\.recurrent_activation` must be sigmoid",
        ),
        (lambda gru: built(gru(H, go_backwards=True)), r"has `go_backwards` = True: .* `reverse`"),
        (lambda gru: built(gru(H, stateful=True)), r"has `stateful` = True: .* as `h0`"),
        (
            lambda gru: built(keras.layers.Bidirectional(gru(H), merge_mode="sum")),
            r"has `merge_mode` = 'sum': .* pass `merge`",
        ),
        (lambda gru: gru(H), r"a layer that is built"),
        (lambda _: keras.layers.LSTM(H), r"must hold a GRU .*, got LSTM"),
        (
            lambda _: keras.layers.Bidirectional(keras.layers.LSTM(H)),
            r"must hold a GRU",
        ),
        (lambda _: built(keras.layers.RNN(OtherCell(H))), r"class OtherCell replaces its `call`"),
    ],
)
def test_a_layer_that_its_parameters_do_not_describe_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        from_keras(make(keras.layers.GRU))


class OtherCell(keras.layers.GRUCell):
    def call(self, inputs, states, training=False):
        return super().call(-inputs, states, training)


def test_arguments_that_contradict_the_layer_are_refused():
    layer = built(keras.layers.GRU(H))
    with pytest.raises(ValueError, match=r"`reset_after` must be True, as in the layer, or None"):
        from_keras(layer, reset_after=False)
    with pytest.raises(ValueError, match=r"`bidirectional` must be False, as in the layer"):
        from_keras(layer, bidirectional=True)


def test_weights_with_two_readings_are_refused():
    draw = Draw("two readings", "float32")
    square = [draw.normal(H, 3 * H), draw.normal(H, 3 * H), draw.normal(2, 3 * H)]
    with pytest.raises(ValueError, match=r"a Bidirectional layer or of two layers.*itself"):
        from_keras([*square, *square])
    assert len(from_keras([*square, *square], bidirectional=True)) == 2
    with pytest.raises(ValueError, match=r"`weights\[:3\]` first"):
        from_keras([*square, *square], bidirectional=False)
    with pytest.raises(ValueError, match=r"expected 4 or 6 with `bidirectional=True`"):
        from_keras(square, bidirectional=True)
    with pytest.raises(ValueError, match=r"without a bias could be of either form"):
        from_keras(square[:2])
    assert not from_keras(square[:2], reset_after=False).reset_after
    # The weights of two layers of a stack.
    with pytest.raises(ValueError, match=r"have 3 and 5 rows, but both directions read the same"):
        from_keras([*random_weights(True), *square])


def test_the_bias_says_the_form():
    assert from_keras(random_weights(True)).reset_after
    assert not from_keras(random_weights(False)).reset_after
