"""grujax and the libraries on JAX: one function each, for one direction of one layer."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import grujax
from experiments.benchmark.peers.problem import Problem, Program
from grujax import GRUParams, convert

# (weights, run) for one direction of one layer, where
# run(weights, xs [T, B, I], h0 [B, H], lengths, resets, reverse) -> (h_last [B, H], hs [T, B, H]).
Direction = tuple[Any, Callable[..., tuple[Array, Array]]]
MakeDirection = Callable[[GRUParams], Direction]


def grujax_direction(params: GRUParams, implementation: str) -> Direction:
    """`grujax.gru` with one implementation."""

    def run(weights, xs, h0, lengths, resets, reverse):
        return grujax.gru(
            weights,
            xs,
            h0,
            lengths=lengths,
            resets=resets,
            reset_state=h0,
            reverse=reverse,
            implementation=implementation,
        )

    return params, run


def linen_direction(params: GRUParams) -> Direction:
    """`flax.linen.RNN(GRUCell)`, time-major."""
    from flax import linen

    rnn = linen.RNN(linen.GRUCell(params.hidden_size), time_major=True, return_carry=True)

    def run(weights, xs, h0, lengths, _, reverse):
        return rnn.apply(
            {"params": {"cell": weights["params"]}},
            xs,
            initial_carry=h0,
            seq_lengths=lengths,
            reverse=reverse,
            keep_order=True,
        )

    return convert.to_linen(params), run


def nnx_direction(params: GRUParams) -> Direction:
    """`flax.nnx.RNN(GRUCell)`, time-major; without `b_hn`."""
    from flax import nnx

    cell = convert.to_nnx(replace(params, b_hn=jnp.zeros_like(params.b_hn)))
    graph, weights, rest = nnx.split(nnx.RNN(cell, time_major=True), nnx.Param, ...)

    def run(weights, xs, h0, lengths, _, reverse):
        return nnx.merge(graph, weights, rest)(
            xs,
            initial_carry=h0,
            seq_lengths=lengths,
            reverse=reverse,
            keep_order=True,
            return_carry=True,
        )

    return weights, run


def haiku_direction(params: GRUParams) -> Direction:
    """`haiku.GRU` in `haiku.dynamic_unroll`; it resets before the recurrent product."""
    import haiku

    weights = {"gru": convert.to_haiku(replace(params, reset_after=False))}

    def unroll(xs, h0, resets, reverse):
        core = haiku.GRU(params.hidden_size)
        if resets is not None:
            core, xs = haiku.ResetCore(core), (xs, resets)
        hs, h_last = haiku.dynamic_unroll(core, xs, h0, reverse=reverse)
        return h_last, hs

    transformed = haiku.without_apply_rng(haiku.transform(unroll))

    def run(weights, xs, h0, _, resets, reverse):
        return transformed.apply(weights, xs, h0, resets, reverse)

    return weights, run


def equinox_direction(params: GRUParams) -> Direction:
    """`equinox.nn.GRUCell` in a `lax.scan`."""

    def run(cell, xs, h0, _, __, reverse):
        def step(h, x):
            h = jax.vmap(cell)(x, h)
            return h, h

        return jax.lax.scan(step, h0, xs, reverse=reverse)

    return convert.to_equinox(params), run


def keras_direction(params: GRUParams) -> Direction:
    """`keras.layers.GRU`, batch-major."""
    import keras

    weights = [jnp.asarray(array) for array in convert.to_keras(params)]
    layers = [
        keras.layers.GRU(
            params.hidden_size,
            recurrent_initializer="zeros",  # unused; the default does not support bfloat16
            return_sequences=True,
            return_state=True,
            go_backwards=reverse,
            dtype=params.w_h.dtype.name,
        )
        for reverse in (False, True)
    ]
    for layer in layers:
        layer.build((None, None, params.input_size))

    def run(weights, xs, h0, lengths, _, reverse):
        layer = layers[reverse]
        rest = [variable.value for variable in layer.non_trainable_variables]
        mask = None if lengths is None else jnp.arange(xs.shape[1]) < lengths[:, None]
        (hs, h_last), _ = layer.stateless_call(weights, rest, xs, initial_state=h0, mask=mask)
        return h_last, jnp.flip(hs, 1) if reverse else hs

    return weights, run


def compile_program(
    direction: MakeDirection, problem: Problem, mode: str, batch_major: bool = False
) -> Program:
    """Combines directions and layers, differentiates in mode "training", and compiles."""
    directions = [[direction(params) for params in layer] for layer in problem.layers]
    weights = [[weights for weights, _ in layer] for layer in directions]
    xs, c = problem.xs, problem.c
    if batch_major:
        xs, c = jnp.swapaxes(xs, 0, 1), jnp.swapaxes(c, 0, 1)

    def forward(weights, xs, h0, lengths, resets):
        h_last = []
        for layer, layer_weights, layer_h0 in zip(directions, weights, h0, strict=True):
            results = [
                run(layer_weights[i], xs, layer_h0[i], lengths, resets, reverse=i == 1)
                for i, (_, run) in enumerate(layer)
            ]
            h_last.append([last for last, _ in results])
            xs = (
                jnp.concatenate([hs for _, hs in results], -1)
                if len(results) > 1
                else results[0][1]
            )
        return h_last, xs

    def loss(weights, xs, h0, lengths, resets, c, c_last):
        h_last, hs = forward(weights, xs, h0, lengths, resets)
        products = jax.tree.map(lambda a, b: jnp.vdot(a, b), (h_last, hs), (c_last, c))
        return sum(jax.tree.leaves(products))

    arguments: tuple[Any, ...] = (weights, xs, problem.h0, problem.lengths, problem.resets)
    function: Callable[..., Any] = forward
    if mode == "training":
        function = jax.value_and_grad(loss, argnums=(0, 1, 2))
        arguments = (*arguments, c, problem.c_last)
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return Program(
        run=lambda: jax.block_until_ready(compiled(*arguments)),
        compile_seconds=seconds,
        temporaries=None if memory is None else memory.temp_size_in_bytes,
    )
