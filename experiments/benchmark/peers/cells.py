"""The LSTM and the RNN of five other libraries.

Every library draws its own weights of the same sizes. A training step computes the gradients of
Σ hs ∘ c with respect to all weights, xs and the initial state, for a fixed random c.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.benchmark.peers.problem import Setting

# (weights, run), where run(weights, xs [T, B, I], h0 [B, H]) -> hs [T, B, H].
Layer = tuple[Any, Callable[[Any, Array, Array], Array]]


def linen_layer(cell: str, setting: Setting) -> Layer:
    """`flax.linen.RNN` of `OptimizedLSTMCell` or `SimpleCell`, time-major."""
    from flax import linen

    inner = linen.OptimizedLSTMCell if cell == "lstm" else linen.SimpleCell
    rnn = linen.RNN(inner(setting.hidden_size), time_major=True)
    weights = rnn.init(jax.random.key(0), jnp.zeros((1, 1, setting.input_size)))

    def run(weights: Any, xs: Array, h0: Array) -> Array:
        carry = (h0, h0) if cell == "lstm" else h0
        return rnn.apply(weights, xs, initial_carry=carry)

    return weights, run


def haiku_layer(cell: str, setting: Setting) -> Layer:
    """`haiku.LSTM` or `haiku.VanillaRNN` in `haiku.dynamic_unroll`."""
    import haiku

    def unroll(xs: Array, h0: Array) -> Array:
        if cell == "lstm":
            state0 = haiku.LSTMState(h0, h0)
            return haiku.dynamic_unroll(haiku.LSTM(setting.hidden_size), xs, state0)[0]
        core = haiku.VanillaRNN(setting.hidden_size, double_bias=False)
        return haiku.dynamic_unroll(core, xs, h0)[0]

    transformed = haiku.without_apply_rng(haiku.transform(unroll))
    inputs = jnp.zeros((1, 1, setting.input_size)), jnp.zeros((1, setting.hidden_size))
    return transformed.init(jax.random.key(0), *inputs), transformed.apply


def equinox_layer(cell: str, setting: Setting) -> Layer:
    """`equinox.nn.LSTMCell` in a `lax.scan`. It has no RNN."""
    import equinox

    def run(weights: Any, xs: Array, h0: Array) -> Array:
        def step(state: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
            state = jax.vmap(weights)(x, state)
            return state, state[0]

        return jax.lax.scan(step, (h0, h0), xs)[1]

    sizes = setting.input_size, setting.hidden_size
    return equinox.nn.LSTMCell(*sizes, key=jax.random.key(0)), run


def keras_layer(cell: str, setting: Setting) -> Layer:
    """`keras.layers.LSTM` or `SimpleRNN`, batch-major: `xs` and `hs` are transposed."""
    import keras

    kind = keras.layers.LSTM if cell == "lstm" else keras.layers.SimpleRNN
    layer = kind(setting.hidden_size, return_sequences=True)
    layer.build((None, None, setting.input_size))
    rest = [variable.value for variable in layer.non_trainable_variables]

    def run(weights: Any, xs: Array, h0: Array) -> Array:
        state0 = [h0, h0] if cell == "lstm" else [h0]
        hs, _ = layer.stateless_call(weights, rest, xs.swapaxes(0, 1), initial_state=state0)
        return hs.swapaxes(0, 1)

    return [variable.value for variable in layer.trainable_variables], run


LAYERS: dict[str, Callable[[str, Setting], Layer]] = {
    "flax.linen": linen_layer,
    "haiku": haiku_layer,
    "equinox": equinox_layer,
    "keras": keras_layer,
}


def has_cell(library: str, cell: str) -> bool:
    """Whether a library has an "lstm" or an "rnn"."""
    return library in (*LAYERS, "torch") and (library, cell) != ("equinox", "rnn")


def compile_training(library: str, cell: str, setting: Setting) -> Callable[[], Any]:
    """Compiles a training step; a call returns the gradients when they are computed."""
    key_xs, key_c = jax.random.split(jax.random.key(1))
    rows = setting.steps, setting.batch
    xs = jax.random.normal(key_xs, (*rows, setting.input_size))
    c = jax.random.normal(key_c, (*rows, setting.hidden_size))
    h0 = jnp.zeros((setting.batch, setting.hidden_size))
    if library == "torch":
        return _torch_training(cell, setting, xs, c)
    weights, run = LAYERS[library](cell, setting)

    def loss(weights: Any, xs: Array, h0: Array) -> Array:
        return jnp.vdot(run(weights, xs, h0), c)

    arguments = weights, xs, h0
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def _torch_training(cell: str, setting: Setting, xs: Array, c: Array) -> Callable[[], Any]:
    """`torch.nn.LSTM` or `torch.nn.RNN`, eager, with autograd."""
    import torch

    kind = torch.nn.LSTM if cell == "lstm" else torch.nn.RNN
    module = kind(setting.input_size, setting.hidden_size)
    inputs, cotangent = torch.from_numpy(np.array(xs)), torch.from_numpy(np.array(c))
    states = [
        torch.zeros(1, setting.batch, setting.hidden_size, requires_grad=True)
        for _ in range(2 if cell == "lstm" else 1)
    ]
    wanted = [*module.parameters(), inputs.requires_grad_(), *states]

    def training() -> Any:
        hs, _ = module(inputs, tuple(states) if cell == "lstm" else states[0])
        return torch.autograd.grad((hs * cotangent).sum(), wanted)

    return training
