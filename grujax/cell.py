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
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

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
    params, h, x = promote(params, h, x)
    gates = _gates(params, h, x)
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
    return _gates(*promote(params, h, x))


def _gates(params: GRUParams, h: Array, x: Array) -> GRUGates:
    matrices = jnp.unstack(params.w_h)

    def multiply(states: Array, begin: int, end: int) -> list[Array]:
        return [matmul(states.astype(h.dtype), w) for w in matrices[begin:end]]

    projected = project_inputs(params, x)
    return evaluate_gates(projected, h, params.b_hn, multiply, params.reset_after)[0]


def evaluate_gates(
    projected: tuple[Array, Array, Array],
    h: Array,
    b_hn: Array,
    multiply: Callable[[Array, int, int], Sequence[Array]],
    reset_after: bool,
) -> tuple[GRUGates, Array | None]:
    """The equations of the gates, for every implementation that evaluates them in JAX.

    Args:
        projected: `x·Wx + b` for r, z and n, each `[..., H]`.
        h: `[..., H]`, the state as the gates see it.
        b_hn: `[H]`.
        multiply: `(states, begin, end) -> states·Wh` for the gates from `begin` to `end` − 1, in
            the order r, z, n; `[..., H]` each. It may pack gates for its matmuls.
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
    (rh_n,) = multiply(reset * h.astype(reset.dtype), 2, 3)
    return GRUGates(reset, update, jnp.tanh(add_bias(x_n + rh_n, b_hn))), None


def project_inputs(params: GRUParams, xs: Array) -> tuple[Array, Array, Array]:
    """The inputs' part of the gates r, z and n, `xs·Wx + b`, each `[..., H]`, for `xs [..., I]`.

    The stacks are unstacked, not indexed: the gradient then is a stack of three gradients instead
    of a sum of three stacks, which a loop over steps would add up at every step.
    """
    of_gates = zip(jnp.unstack(params.w_x), jnp.unstack(params.b_x), strict=True)
    x_r, x_z, x_n = (add_bias(matmul(xs, w), b) for w, b in of_gates)
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
