"""Trainings that the tests of sweeps share, with the processes they start."""

import jax
import jax.numpy as jnp

import grujax
from grujax.sweep import grid

KEY = jax.random.key(3)


def train_gru(key, learning_rate, hidden_size=3):
    """A few steps of gradient descent: a GRU learns to add up what it sees."""
    init_key, data_key = jax.random.split(key)
    params = (grujax.init_gru(init_key, 1, hidden_size), jnp.full(hidden_size, 0.1))
    xs = jax.random.normal(data_key, (6, 4, 1))

    def loss(params):
        gru, readout = params
        h_last, _ = grujax.gru(gru, xs)
        return jnp.mean((h_last @ readout - xs.sum((0, 2))) ** 2)

    def step(params, _):
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient), value

    params, losses = jax.lax.scan(step, params, length=4)
    return {"loss": loss(params), "losses": losses, "hidden": jnp.int32(hidden_size)}


GRU_TRIALS = grid(learning_rate=[0.01, 0.1, 0.3, 0.5, float("inf")])  # the last one diverges


def descend(key, learning_rate, steps=5):
    """Gradient descent on (w − 1)², from a random start: compiles at once."""

    def step(w, _):
        return w - learning_rate * 2 * (w - 1), (w - 1) ** 2

    w, losses = jax.lax.scan(step, jax.random.normal(key), length=steps)
    return {"loss": (w - 1) ** 2, "losses": losses}


TRIALS = grid(learning_rate=[0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 1.0])
