"""The video network: its convolutions, its answers, and the frames it predicts."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.video.data import NUM_CLASSES, SIDE
from experiments.video.model import (
    GLYPH_SIZE,
    CausalConvolutions,
    Encoder,
    TorusConv,
    VideoNetwork,
    init_network,
    predict_frames,
)
from grujax.baselines import count_parameters

FRAMES = np.random.default_rng(0).random((2, 5, SIDE, SIDE)).astype(np.float32)


@cache
def make(reader: str = "gru", cell: str = "gru"):
    """A network, its parameters, and its compiled methods."""
    network = VideoNetwork(hidden_size=8, features=4, reader=reader, cell=cell)
    params = jax.jit(lambda key: init_network(network, key))(jax.random.key(0))
    return network, params, jax.jit(network.apply, static_argnames="method")


@pytest.mark.parametrize("size", [3, 5])
def test_convolution_agrees_with_xla(size):
    maps = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    conv = TorusConv(4, size)
    params = jax.jit(conv.init)(jax.random.key(0), maps)
    dense = params["params"]["Dense_0"]
    margin = size // 2
    padded = np.pad(maps, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="wrap")
    # Patches are concatenated by rows, then by columns: the kernel is [columns, rows, C, F].
    kernel = dense["kernel"].reshape(size, size, 3, 4).swapaxes(0, 1)
    expected = jax.lax.conv_general_dilated(
        padded, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(
        conv.apply(params, maps), np.maximum(expected + dense["bias"], 0), atol=1e-5
    )


def test_content_does_not_depend_on_position():
    encoder = Encoder(4)
    frames = FRAMES[0][..., None]
    params = jax.jit(encoder.init)(jax.random.key(0), frames)
    run = jax.jit(encoder.apply)
    here, there = run(params, frames), run(params, np.roll(frames, (8, 16), (1, 2)))
    np.testing.assert_allclose(here[:, :4], there[:, :4], atol=1e-5)
    assert np.abs(here[:, 4:] - there[:, 4:]).max() > 1e-3


def test_only_readers_in_order_see_the_order_of_frames():
    for reader, matters in (("gru", True), ("cnn", True), ("mean", False)):
        _, params, apply = make(reader)
        answers = [apply(params, frames)[0] for frames in (FRAMES, FRAMES[:, ::-1])]
        gaps = [np.abs(answers[0][name] - answers[1][name])[:, -1].max() for name in NUM_CLASSES]
        assert (max(gaps) > 1e-4) == matters
    _, params, apply = make("last")
    alone = apply(params, FRAMES[:, -1:])[0]
    for name, logits in apply(params, FRAMES)[0].items():
        assert logits.shape == (2, 1, NUM_CLASSES[name])
        np.testing.assert_allclose(logits, alone[name], atol=1e-6)


@pytest.mark.parametrize(
    ("reader", "cell"), [("gru", "gru"), ("gru", "lstm"), ("gru", "min_gru"), ("cnn", "gru")]
)
def test_a_video_can_be_read_in_pieces(reader, cell):
    network, params, apply = make(reader, cell)
    carry, first = apply(params, FRAMES[:, :2], method="read")
    carry, second = apply(params, FRAMES[:, 2:], carry, method="read")
    hs = apply(params, FRAMES)[1]
    np.testing.assert_allclose(np.concatenate([first, second], 1), hs, atol=1e-5)
    np.testing.assert_allclose(network.last_output(carry), hs[:, -1], atol=1e-5)


def test_causal_convolutions_agree_with_xla():
    xs = np.random.default_rng(2).normal(size=(2, 7, 3)).astype(np.float32)
    layers = CausalConvolutions(gru_size=5)
    params = jax.jit(layers.init)(jax.random.key(0), xs)
    expected = xs
    for dense in params["params"].values():
        kernel = dense["kernel"].reshape(layers.width, -1, dense["kernel"].shape[-1])
        expected = jax.lax.conv_general_dilated(
            expected,
            kernel,
            (1,),
            [(layers.width - 1, 0)],
            dimension_numbers=("NWC", "WIO", "NWC"),
        )
        expected = np.maximum(expected + dense["bias"], 0)
    np.testing.assert_allclose(layers.apply(params, xs)[1], expected, atol=1e-5)


def test_causal_convolutions_see_ten_frames():
    xs = np.random.default_rng(3).normal(size=(1, 24, 4)).astype(np.float32)
    layers = CausalConvolutions(gru_size=8)
    params = jax.jit(layers.init)(jax.random.key(0), xs)
    changed = xs.copy()
    changed[:, 5] += 1
    before, after = (layers.apply(params, inputs)[1][0] for inputs in (xs, changed))
    differs = np.abs(before - after).max(-1) > 0
    assert not differs[:5].any()
    assert differs[5]
    assert not differs[15:].any()


@pytest.mark.parametrize(("input_size", "gru_size"), [(128, 128), (64, 64), (3, 16)])
def test_causal_convolutions_have_as_many_parameters_as_the_gru(input_size, gru_size):
    layers = CausalConvolutions(gru_size)
    shapes = jax.eval_shape(layers.init, jax.random.key(0), jnp.zeros((1, 1, input_size)))
    gru = 3 * gru_size * (input_size + gru_size) + 3 * gru_size
    assert count_parameters(shapes["params"]) == pytest.approx(gru, rel=0.05)


def test_a_predicted_frame_is_the_expectation_over_positions():
    _, params, apply = make()
    h = jax.random.normal(jax.random.key(1), (1, 8))
    weights = params["params"]
    glyph = jax.nn.sigmoid(h @ weights["glyph"]["kernel"] + weights["glyph"]["bias"] - 2)
    logits = h @ weights["corner"]["kernel"] + weights["corner"]["bias"]
    rows, columns = jax.nn.softmax(logits.reshape(2, SIDE))
    frame = np.zeros((SIDE, SIDE))
    margin = SIDE - GLYPH_SIZE
    whole = np.pad(np.asarray(glyph).reshape(GLYPH_SIZE, GLYPH_SIZE), (0, margin))
    for row in range(SIDE):
        for column in range(SIDE):
            probability = float(rows[row] * columns[column])
            frame += probability * np.roll(whole, (row, column), (0, 1))
    np.testing.assert_allclose(apply(params, h, method="predict_frame")[0], frame, atol=1e-5)


@pytest.mark.parametrize(("reader", "cell"), [("gru", "gru"), ("gru", "lstm"), ("cnn", "gru")])
def test_predicted_frames_are_fed_back(reader, cell):
    network, params, apply = make(reader, cell)
    carry = apply(params, FRAMES)[2]
    predicted = jax.jit(partial(predict_frames, network, count=3))(params, carry=carry)
    assert predicted.shape == (2, 3, SIDE, SIDE)
    longer = jnp.concatenate([FRAMES, predicted[:, :2]], 1)
    states = apply(params, longer)[1][:, -3:]
    np.testing.assert_allclose(apply(params, states, method="predict_frame"), predicted, atol=1e-4)
