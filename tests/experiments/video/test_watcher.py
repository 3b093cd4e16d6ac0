"""The network that watches: its convolutions, its answers, and the frames it expects."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.video.moving_digits import SIDE, SIZES
from experiments.video.watcher import GLYPH_ROOM, Encoder, TorusConv, Watcher, imagine, init_watcher

FRAMES = np.random.default_rng(0).random((2, 5, SIDE, SIDE)).astype(np.float32)


def make(reader: str = "gru"):
    """A network, its parameters, and its compiled methods."""
    model = Watcher(hidden_size=8, features=4, reader=reader)
    params = jax.jit(lambda key: init_watcher(model, key))(jax.random.key(0))
    return model, params, jax.jit(model.apply, static_argnames="method")


@pytest.mark.parametrize("size", [3, 5])
def test_convolution_is_that_of_xla_over_the_edges(size):
    maps = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    conv = TorusConv(4, size)
    params = jax.jit(conv.init)(jax.random.key(0), maps)
    dense = params["params"]["Dense_0"]
    margin = size // 2
    padded = np.pad(maps, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="wrap")
    # Rows of patches are put together first, then columns: the kernel is [columns, rows, C, F].
    kernel = dense["kernel"].reshape(size, size, 3, 4).swapaxes(0, 1)
    expected = jax.lax.conv_general_dilated(
        padded, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(
        conv.apply(params, maps), np.maximum(expected + dense["bias"], 0), atol=1e-5
    )


def test_what_is_seen_does_not_depend_on_where():
    encoder = Encoder(4)
    params = jax.jit(encoder.init)(jax.random.key(0), FRAMES[0])
    run = jax.jit(encoder.apply)
    here, there = run(params, FRAMES[0]), run(params, np.roll(FRAMES[0], (8, 16), (1, 2)))
    np.testing.assert_allclose(here[:, :4], there[:, :4], atol=1e-5)
    assert np.abs(here[:, 4:] - there[:, 4:]).max() > 1e-3


def test_the_order_of_frames_matters_to_the_gru_alone():
    for reader, matters in (("gru", True), ("mean", False)):
        _, params, apply = make(reader)
        answers = [apply(params, frames)[0] for frames in (FRAMES, FRAMES[:, ::-1])]
        gaps = [np.abs(answers[0][name] - answers[1][name])[:, -1].max() for name in SIZES]
        assert (max(gaps) > 1e-4) == matters
    _, params, apply = make("last")
    alone = apply(params, FRAMES[:, -1:])[0]
    for name, logits in apply(params, FRAMES)[0].items():
        assert logits.shape == (2, 1, SIZES[name])
        np.testing.assert_allclose(logits, alone[name], atol=1e-6)


def test_watching_goes_on_where_it_was():
    _, params, apply = make()
    h, first = apply(params, FRAMES[:, :2], method="watch")
    last, second = apply(params, FRAMES[:, 2:], h, method="watch")
    hs = apply(params, FRAMES)[1]
    np.testing.assert_allclose(np.concatenate([first, second], 1), hs, atol=1e-5)
    np.testing.assert_allclose(last, hs[:, -1], atol=1e-5)


def test_an_expected_frame_is_a_glyph_at_all_places_by_their_chances():
    _, params, apply = make()
    h = jax.random.normal(jax.random.key(1), (1, 8))
    weights = params["params"]
    glyph = jax.nn.sigmoid(h @ weights["glyph"]["kernel"] + weights["glyph"]["bias"] - 2)
    logits = h @ weights["corner"]["kernel"] + weights["corner"]["bias"]
    rows, columns = jax.nn.softmax(logits.reshape(2, SIDE))
    frame = np.zeros((SIDE, SIDE))
    room = SIDE - GLYPH_ROOM
    whole = np.pad(np.asarray(glyph).reshape(GLYPH_ROOM, GLYPH_ROOM), (0, room))
    for row in range(SIDE):
        for column in range(SIDE):
            chance = float(rows[row] * columns[column])
            frame += chance * np.roll(whole, (row, column), (0, 1))
    np.testing.assert_allclose(apply(params, h, method="expect")[0], frame, atol=1e-5)


def test_imagined_frames_are_seen_as_if_they_had_come():
    model, params, apply = make()
    hs = apply(params, FRAMES)[1]
    imagined = jax.jit(partial(imagine, model, count=3))(params, h=hs[:, -1])
    assert imagined.shape == (2, 3, SIDE, SIDE)
    longer = jnp.concatenate([FRAMES, imagined[:, :2]], 1)
    states = apply(params, longer)[1][:, -3:]
    np.testing.assert_allclose(apply(params, states, method="expect"), imagined, atol=1e-4)
