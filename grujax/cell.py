"""The equations of the gated recurrent unit: one step.

    r  = σ(x·Wxr + h·Whr + br)                           reset gate
    z  = σ(x·Wxz + h·Whz + bz)                           update gate
    n  = tanh(x·Wxn + bn + r ∘ (h·Whn + bhn))            candidate, reset_after=True
    n  = tanh(x·Wxn + bn + (r ∘ h)·Whn + bhn)            candidate, reset_after=False
    h' = z ∘ h + (1 − z) ∘ n                             new state

`reset_after=True` is the form of cuDNN, PyTorch, Keras and Flax; `reset_after=False` that of
Cho et al. 2014. Textbooks that write `h' = (1 − z) ∘ h + z ∘ n` call 1 − z what is z here. In this
form z = 1 carries the state bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from grujax.params import GRUParams, as_floating, check_params


class CellParams(Protocol):
    """What the parameters of every cell say of themselves."""

    @property
    def input_size(self) -> int: ...

    @property
    def hidden_size(self) -> int: ...


Params = TypeVar("Params", bound=CellParams)


class GRUGates(NamedTuple):
    """The three gates of a step, each `[B, H]`, in at least float32."""

    reset: Array
    update: Array
    candidate: Array


def gru_cell(params: GRUParams, h: Array, x: Array) -> Array:
    """One step of a GRU.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes.
        x: `[B, I]`, the input.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate, and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not fit.

    Example:
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> gru_cell(params, jnp.zeros(16), jnp.ones(8)).shape
        (16,)

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078
    """
    params, h, x = promote(params, h, x)
    return update_state(_gates(params, h, x), h)


def gru_gates(params: GRUParams, h: Array, x: Array) -> GRUGates:
    """The gates of one step: what `gru_cell` computes on the way.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step.
        x: `[B, I]`, the input.

    Returns:
        `GRUGates(reset, update, candidate)`, each `[B, H]`, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not fit.
    """
    return _gates(*promote(params, h, x))


def _gates(params: GRUParams, h: Array, x: Array) -> GRUGates:
    x_r, x_z, x_n = project_inputs(params, x)
    w_hr, w_hz, w_hn = params.w_h
    reset = jax.nn.sigmoid(x_r + matmul(h, w_hr))
    update = jax.nn.sigmoid(x_z + matmul(h, w_hz))
    if params.reset_after:
        candidate = jnp.tanh(x_n + reset * (matmul(h, w_hn) + params.b_hn))
    else:
        candidate = jnp.tanh(x_n + matmul((reset * h).astype(h.dtype), w_hn) + params.b_hn)
    return GRUGates(reset, update, candidate)


def project_inputs(params: GRUParams, xs: Array) -> tuple[Array, Array, Array]:
    """The inputs' part of the three gates, `xs·Wx + b`, each `[..., H]`, for `xs [..., I]`."""
    x_r, x_z, x_n = (matmul(xs, w) + b for w, b in zip(params.w_x, params.b_x, strict=True))
    return x_r, x_z, x_n


def update_state(gates: GRUGates, h: Array) -> Array:
    """The state after the step, in the dtype of `h`."""
    return (gates.update * h + (1 - gates.update) * gates.candidate).astype(h.dtype)


def matmul(x: Array, w: Array) -> Array:
    """`x·w`, accumulated and returned in at least float32."""
    return jnp.matmul(x, w, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def promote(params: GRUParams, h: Array, x: Array) -> tuple[GRUParams, Array, Array]:
    """Checks the operands of a step and casts them to the dtype of its result."""
    check_params(params)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    return params, h, x


def promote_operands(
    params: Params, states: Mapping[str, Array], x: Array
) -> tuple[Params, list[Array], Array]:
    """The same for any cell with checked parameters, whose `states` are `[B, H]` each."""
    x = as_floating("x", x, params.input_size, "input size")
    for name, state in states.items():
        state = as_floating(name, state, params.hidden_size, "hidden size")
        try:
            jnp.broadcast_shapes(state.shape[:-1], x.shape[:-1])
        except ValueError:
            raise ValueError(
                f"`{name}` has shape {list(state.shape)} and `x` has shape {list(x.shape)}: their "
                "batch axes do not fit."
            ) from None
    dtype = jnp.result_type(x, *jax.tree.leaves(params))
    operands = params, list(states.values()), x
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), operands)
