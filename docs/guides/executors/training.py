"""What the programs beside this file sweep: a GRU learns to add up the numbers of a sequence."""

import jax
import jax.numpy as jnp

import grujax
from grujax import sweep


def train(key, learning_rate, hidden_size):
    init_key, data_key = jax.random.split(key)
    xs = jax.random.normal(data_key, (20, 16, 1))  # [time, batch, input]

    def loss(params):
        h_last, _ = grujax.gru(params, xs)
        return jnp.mean((h_last.sum(-1) - xs.sum((0, 2))) ** 2)

    def update(params, _):
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient), value

    params = grujax.init_gru(init_key, 1, hidden_size)
    params, losses = jax.lax.scan(update, params, length=40)
    return {"loss": loss(params), "losses": losses}


trials = sweep.sample(
    jax.random.key(1),
    64,
    learning_rate=sweep.log_uniform(1e-4, 1e-1),
    hidden_size=sweep.choice([4, 8, 12]),
)
options = {"key": jax.random.key(2), "static": ["hidden_size"]}
