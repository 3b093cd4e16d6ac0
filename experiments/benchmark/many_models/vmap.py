"""Gradients of many models under one `jax.vmap`: grujax compared with Flax's GRU."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import grujax
from experiments.common.report import format_table
from experiments.common.report.timing import Run, time_interleaved


class Population(NamedTuple):
    """Models on the same inputs."""

    models: int = 32
    steps: int = 100
    batch: int = 32
    inputs: int = 8
    units: int = 64


USUAL = Population()
CONTESTANTS = ("native", "scan", "flax.linen")


def make_run(contestant: str, population: Population) -> Run:
    """Returns a compiled function that computes the gradients of all models."""
    models, steps, batch, inputs, units = population
    keys = jax.random.split(jax.random.key(0), models)
    xs = jax.random.normal(jax.random.key(1), (steps, batch, inputs))
    if contestant == "flax.linen":
        from flax import linen

        layer = linen.RNN(linen.GRUCell(units), time_major=True)
        params = jax.vmap(lambda key: layer.init(key, xs))(keys)
        run = layer.apply
    else:
        params = jax.vmap(lambda key: grujax.init_gru(key, inputs, units))(keys)

        def run(params, xs: Array) -> Array:
            return grujax.gru(params, xs, implementation=contestant)[1]

    def loss(params, xs: Array) -> Array:
        return jnp.mean(run(params, xs) ** 2)

    gradients = jax.jit(jax.vmap(jax.grad(loss), in_axes=(0, None)))
    compiled = gradients.lower(params, xs).compile()
    return lambda: jax.block_until_ready(compiled(params, xs))


def report_vmap(
    seconds: float,
    contestants: Sequence[str] = CONTESTANTS,
    population: Population = USUAL,
) -> str:
    """A table of milliseconds, and of Flax's time divided by each."""
    times = time_interleaved({name: make_run(name, population) for name in contestants}, seconds)
    medians = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
    rows = [
        [name, f"{ms:.1f}", f"{medians['flax.linen'] / ms:.1f}"] for name, ms in medians.items()
    ]
    models, steps, batch, inputs, units = population
    title = f"{models} models, gradient, T{steps} B{batch} I{inputs} H{units}"
    return format_table([title, "ms", "flax.linen's / its"], rows)
