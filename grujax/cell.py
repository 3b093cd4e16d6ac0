"""The equations of the gated recurrent unit: one step.

    r  = σ(x·Wxr + h·Whr + br)                           reset gate
    z  = σ(x·Wxz + h·Whz + bz)                           update gate
    n  = tanh(x·Wxn + bn + r ∘ (h·Whn + bhn))            candidate, reset_after=True
    n  = tanh(x·Wxn + bn + (r ∘ h)·Whn + bhn)            candidate, reset_after=False
    h' = z ∘ h + (1 − z) ∘ n                             new state

cuDNN, PyTorch, Keras and Flax use `reset_after=True`; Cho et al. 2014 use `reset_after=False`. Some
textbooks write `h' = (1 − z) ∘ h + z ∘ n`: their z is 1 − z here. In the form used here, z = 1
carries the state bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.checks import as_features, check_batch_axes
from grujax.jax_support.promotion import match, match_rank, wide_dtype
from grujax.jax_support.pytrees import register
from grujax.meshes import gather
from grujax.params import GRUParams, check_params


class CellParams(Protocol):
    """The sizes that the parameters of every cell state."""

    @property
    def input_size(self) -> int:
        """I, the number of features of an input."""
        ...

    @property
    def hidden_size(self) -> int:
        """H, the number of units of the state."""
        ...


Params = TypeVar("Params", bound=CellParams)
MultiplyEach = Callable[[Array, Array], list[Array]]  # see `matmul_each`
MultiplyStates = Callable[[Array, int, int], Sequence[Array]]  # see `evaluate_gates`


@register
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
        x: `[B, I]`, the input. If one of `h` and `x` has no batch axes, or one of size 1, it serves
            all rows of the other.

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
    return gru_step(params, h, x, matmul_each)


def gru_step(params: GRUParams, h: Array, x: Array, multiply_each: MultiplyEach) -> Array:
    """`gru_cell`; with `matmul_separately`, for stacks that were just made of separate matrices."""
    params, h, x = promote(params, h, x)
    gates = _gates(params, h, x, multiply_each)
    return update_state(gates.update, gates.candidate, h)


def gru_gates(params: GRUParams, h: Array, x: Array) -> GRUGates:
    """The three gates of one step, from which `gru_cell` computes the new state.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step.
        x: `[B, I]`, the input; batch axes as in `gru_cell`.

    Returns:
        `GRUGates(reset, update, candidate)`, each `[B, H]`, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not fit.

    Example:
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> gates = gru_gates(params, jnp.zeros((4, 16)), jnp.ones((4, 8)))
        >>> gates.update.shape, bool((gates.update > 0).all())
        ((4, 16), True)

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078
    """
    return _gates(*promote(params, h, x), matmul_each)


def _gates(params: GRUParams, h: Array, x: Array, multiply_each: MultiplyEach) -> GRUGates:
    projected = project_inputs(params, x, multiply_each)
    multiply = multiply_states(params, multiply_each)
    return evaluate_gates(projected, h, params.b_hn, multiply, params.reset_after)[0]


def evaluate_gates(
    projected: tuple[Array, Array, Array],
    h: Array,
    b_hn: Array,
    multiply: MultiplyStates,
    reset_after: bool,
) -> tuple[GRUGates, Array | None]:
    """The equations of the gates, for every implementation that evaluates them in JAX.

    Args:
        projected: `x·Wx + b` for r, z and n, each `[..., H]`.
        h: `[..., H]`, the state as the gates see it.
        b_hn: `[H]`.
        multiply: `(states, begin, end) -> states·Wh` for the gates from `begin` to `end` − 1, in
            the order r, z, n; `[..., H]` each. `states` are of the dtype of `h`.
        reset_after: as in `GRUParams`.

    Returns:
        The gates, and `h·Whn + bhn`, which the gradient needs with `reset_after`; else None.
    """
    x_r, x_z, x_n = projected
    h_r, h_z, *h_n = multiply(h, 0, 3 if reset_after else 2)
    reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    if reset_after:
        product = add_bias(h_n[0], b_hn)
        return GRUGates(reset, update, jnp.tanh(x_n + reset * product)), product
    reset_h = (reset * h.astype(reset.dtype)).astype(h.dtype)
    (rh_n,) = multiply(reset_h, 2, 3)
    return GRUGates(reset, update, jnp.tanh(add_bias(x_n + rh_n, b_hn))), None


def multiply_states(params: GRUParams, multiply_each: MultiplyEach) -> MultiplyStates:
    """The recurrent products of `evaluate_gates`, where there is no loop to pack matrices for."""
    matrices = jnp.unstack(params.w_h)

    def multiply(states: Array, begin: int, end: int) -> list[Array]:
        return multiply_each(states, jnp.stack(matrices[begin:end]))

    return multiply


def project_inputs(
    params: GRUParams, xs: Array, multiply_each: MultiplyEach
) -> tuple[Array, Array, Array]:
    """The inputs' part of the gates r, z and n, `xs·Wx + b`, each `[..., H]`, for `xs [..., I]`.

    The stacks are unstacked, not indexed: the gradient then is a stack of three gradients instead
    of a sum of three stacks, which a loop over steps would add up at every step.
    """
    x_r, x_z, x_n = map(add_bias, multiply_each(xs, params.w_x), jnp.unstack(params.b_x))
    return x_r, x_z, x_n


def update_state(update: Array, candidate: Array, h: Array) -> Array:
    """The state after the step, `z ∘ h + (1 − z) ∘ n`, in the dtype of `h`."""
    return (update * h.astype(update.dtype) + (1 - update) * candidate).astype(h.dtype)


def add_bias(product: Array, b: Array) -> Array:
    """`product + b`, for `product [..., H]` and `b [H]`."""
    return product + match(b, product)


def matmul(x: Array, w: Array) -> Array:
    """`x·w`, accumulated and returned in at least float32."""
    return jnp.matmul(x, w, preferred_element_type=wide_dtype(x.dtype))


def matmul_each(x: Array, w: Array) -> list[Array]:
    """`x·w` for each matrix of a stack: `[..., H]` each, for `x [..., N]` and `w [G, N, H]`.

    XLA for CPUs copies a matrix out of its stack before it multiplies, again at every step of a
    loop. One batched product reads the stack where it is, but needs G copies of x. So it is used
    where x has no more rows than a matrix has columns; in derivatives, where x has one row, as
    XLA's batched products along rows are slow.
    """
    return _batched(x, w) if _has_at_most(w.shape[-1], x) else matmul_separately(x, w)


def matmul_separately(x: Array, w: Array) -> list[Array]:
    """The same by one product for each matrix, which undoes a stack of separate matrices."""
    return [matmul(x, matrix) for matrix in jnp.unstack(w)]


def _has_at_most(rows: int, x: Array) -> bool:
    """False if their number is not known yet, as `jax.export` may leave it."""
    size = prod(x.shape[:-1])
    return isinstance(size, int) and size <= rows


@jax.custom_jvp
def _batched(x: Array, w: Array) -> list[Array]:
    return _together(x, w)


@_batched.defjvp
def _tangent(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, w), (d_x, d_w) = primals, tangents
    multiply = _together if _has_at_most(1, x) else matmul_separately
    return _batched(x, w), list(map(jnp.add, multiply(d_x, w), multiply(x, d_w)))


def _together(x: Array, w: Array) -> list[Array]:
    copies = jnp.broadcast_to(x, (len(w), *x.shape))
    over = ((x.ndim,), (1,)), ((0,), (0,))
    product = lax.dot_general(copies, w, over, preferred_element_type=wide_dtype(x.dtype))
    return list(jnp.unstack(product))


def promote(params: GRUParams, h: Array, x: Array) -> tuple[GRUParams, Array, Array]:
    """Checks the operands of a step and casts them to the dtype of its result."""
    check_params(params)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    return params, h, x


def promote_operands(
    params: Params, states: Mapping[str, Array], x: Array
) -> tuple[Params, list[Array], Array]:
    """As `promote`, for any cell with checked parameters, whose `states` are `[B, H]` each."""
    params = jax.tree.map(gather, params)
    x = gather(as_features("x", x, params.input_size, "input size"), -1)
    arrays = []
    for name, value in states.items():
        state = gather(as_features(name, value, params.hidden_size, "hidden size"), -1)
        arrays.append(state)
    check_batch_axes({**dict(zip(states, arrays, strict=True)), "x": x})
    dtype = jnp.result_type(x, *jax.tree.leaves(params))
    widest = max([x, *arrays], key=jnp.ndim)
    operands = params, [match_rank(array, widest) for array in arrays], match_rank(x, widest)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), operands)
