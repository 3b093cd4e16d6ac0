"""Truncated BPTT over streams, compared with a Python loop that carries the state."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import grujax
from experiments.common import training
from experiments.text_generation.streaming import cut_streams, make_streaming_training

SYMBOLS = np.random.default_rng(0).integers(0, 4, 200).astype(np.uint8)


@given(
    batch_size=st.integers(1, 4),
    steps=st.integers(1, 5),
    parts=st.integers(1, 3),
    extra=st.integers(0, 40),
)
def test_each_stream_is_read_without_gap_or_repetition(batch_size, steps, parts, extra):
    unit = batch_size * steps * parts
    symbols = np.arange(unit + 1 + extra)
    streams = cut_streams(symbols, batch_size, steps, parts)
    segments = (unit + extra) // unit
    assert streams.shape == (parts, segments, steps + 1, batch_size)
    read, next_ones = streams[:, :, :-1], streams[:, :, 1:]
    np.testing.assert_array_equal(next_ones, read + 1)
    used = segments * unit
    np.testing.assert_array_equal(read.reshape(-1, batch_size).T.reshape(-1), symbols[:used])


def test_too_little_to_read():
    with pytest.raises(ValueError, match=r"24 symbols do not fill 2 parts.* which takes 25\."):
        cut_streams(np.arange(24), batch_size=3, steps=4, parts=2)


def loss(params, state, segment):
    state, hs = grujax.gru(params["gru"], jax.nn.one_hot(segment[:-1], 4), state)
    logits = hs @ params["readout"]
    return optax.softmax_cross_entropy_with_integer_labels(
        logits, segment[1:].astype(int)
    ).mean(), state


def init_params(key):
    return {"gru": grujax.init_gru(key, 4, 5), "readout": jnp.ones((5, 4)).at[0].set(0.5)}


def make_training(streams, optimizer, epochs):
    return make_streaming_training(
        init_params=init_params,
        initial_state=jnp.zeros((streams.shape[-1], 5)),
        loss=loss,
        evaluate=lambda params: {"score": -jnp.sum(params["readout"] ** 2)},
        score="score",
        optimizer=optimizer,
        streams=jnp.asarray(streams),
        epochs=epochs,
    )


def test_the_state_is_carried_and_restarts_with_the_streams():
    streams = cut_streams(SYMBOLS, batch_size=3, steps=4, parts=2)
    optimizer = optax.adam(0.02)
    plan = make_training(streams, optimizer, epochs=5)
    state, metrics = jax.jit(partial(training.train, plan))(jax.random.key(0))

    params = plan.init(jax.random.key(0)).params
    optimizer_state, losses = optimizer.init(params), []
    update = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for epoch in range(5):
        if epoch % 2 == 0:
            h = jnp.zeros((3, 5))
        for segment in streams[epoch % 2]:
            (value, h), gradient = update(params, h, segment)
            changes, optimizer_state = optimizer.update(gradient, optimizer_state)
            params = optax.apply_updates(params, changes)
            losses.append(value)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6), state.params, params)
    np.testing.assert_allclose(state.carried, h, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(
        metrics["train_loss"], np.mean(np.reshape(losses, (5, -1)), 1), rtol=1e-5
    )
    assert float(state.best_score) == float(metrics["score"].max())


def test_without_updates_reading_in_segments_is_reading_at_once():
    streams = cut_streams(SYMBOLS, batch_size=2, steps=3, parts=4)
    plan = make_training(streams, optax.sgd(0.0), epochs=4)
    _, metrics = jax.jit(partial(training.train, plan))(jax.random.key(0))
    params = plan.init(jax.random.key(0)).params
    length = streams[:, :, :-1].size // 2
    whole = np.stack([SYMBOLS[: length + 1], SYMBOLS[length : 2 * length + 1]], axis=1)
    want, _ = loss(params, jnp.zeros((2, 5)), jnp.asarray(whole))
    np.testing.assert_allclose(metrics["train_loss"].mean(), want, rtol=1e-5)
