"""The gradient of a loss over a whole sequence, under the contract for time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.baselines.lstm import LSTMParams, LSTMState
from grujax.checks import array_leaves, as_arrays, check_callable, check_key, describe
from grujax.implementations.plain import select
from grujax.online.eprop import eprop
from grujax.online.method import Carry, Method, merge_rows, reset
from grujax.online.rows import Cell, check_wide, rows_of
from grujax.online.rtrl import rtrl
from grujax.online.snap import snap
from grujax.online.uoro import uoro
from grujax.sequence import scan_cell
from grujax.step_masks import make_step_masks, split_reset_states
from grujax.time_checks import check_reset_state, like_state

MethodName = Literal["rtrl", "snap", "eprop", "uoro"]
_METHODS: dict[str, Callable[[Cell], Method]] = {
    "rtrl": rtrl,
    "snap": snap,
    "eprop": eprop,
    "uoro": uoro,
}


def gradient(
    cell: Cell,
    params: Any,
    xs: Any,
    loss: Callable[[Any], Array],
    *,
    method: MethodName | Method = "rtrl",
    h0: Any = None,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset_state: Any = None,
    key: Array | None = None,
) -> Any:
    """The gradient of a loss with respect to the parameters, as `value_and_gradient`.

    Args:
        cell: see `value_and_gradient`, as all other arguments.
        params: see there.
        xs: `[T, B, F]`, see there.
        loss: see there.
        method: see there.
        h0: see there.
        lengths: see there.
        resets: see there.
        mask: see there.
        reset_state: see there.
        key: see there.

    Returns:
        A pytree like `params`.

    Raises:
        ValueError: as `value_and_gradient`.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> xs = jnp.ones((7, 2, 3))
        >>> gradient(grujax.gru_cell, params, xs, lambda hs: (hs**2).sum()).w_x.shape
        (3, 3, 4)
    """
    return value_and_gradient(
        cell,
        params,
        xs,
        loss,
        method=method,
        h0=h0,
        lengths=lengths,
        resets=resets,
        mask=mask,
        reset_state=reset_state,
        key=key,
    )[1]


def value_and_gradient(
    cell: Cell,
    params: Any,
    xs: Any,
    loss: Callable[[Any], Array],
    *,
    method: MethodName | Method = "rtrl",
    h0: Any = None,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset_state: Any = None,
    key: Array | None = None,
) -> tuple[Array, Any]:
    """A loss of all states and its gradient, without a backward pass through time.

    The states are computed, then the gradient of the loss with respect to each of them, by one
    backward pass through the loss alone. A second pass forward carries the influence and adds up
    the gradients. So `hs`, its gradient and the arguments are all that grows with T: besides them
    the memory is that of one step. For a stream without end use the functions of a `Method`, which
    keep nothing. Inside of `jax.shard_map` the gradient is that of the loss of all devices, as that
    of `jax.grad`.

    Args:
        cell: `cell(params, state, x) -> state`, as in `grujax.scan_cell`, with a state of arrays
            `[B, n]`.
        params: a pytree of float32 or float64 arrays.
        xs: `[T, B, F]`, or a pytree of `[T, B, ...]`.
        loss: `loss(hs) -> []`, a scalar function of the states after all steps, `[T, B, H]`, or a
            pytree of such arrays. It may be a sum over steps, or any other function of the states.
            If it reads parameters by itself, the gradient does not cover that.
        method: `"rtrl"`, `"snap"` (of order 1), `"eprop"`, `"uoro"`, or a `Method`.
        h0: the initial state, a pytree of `[B, n]`. None means zeros, for the cells of grujax.
        lengths: `[B]` integers, see `grujax.gru`.
        resets: `[T, B]` bool, see `grujax.gru`. No gradient passes through a reset.
        mask: `[T, B]` bool: where false, the step is skipped, see `grujax.gru`.
        reset_state: the state at resets, see `grujax.scan_cell`. None means zeros, but with an
            `h0` and `resets` it must be given. It is a constant: it has no gradient.
        key: a JAX random key, for `"uoro"`.

    Returns:
        `(value, gradient)`: the loss, and a pytree like `params`.

    Raises:
        ValueError: as `grujax.scan_cell`; if `method` is unknown, `loss` does not return a
            floating scalar, or a dtype has 16 bits.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> xs = jnp.ones((7, 2, 3))
        >>> value, gradient = value_and_gradient(
        ...     grujax.gru_cell, params, xs, lambda hs: (hs**2).sum(), lengths=jnp.array([7, 3])
        ... )
        >>> value.shape, gradient.w_h.shape
        ((), (3, 4, 4))
    """
    check_callable("cell", cell, "(params, state, x) -> state")
    check_callable("loss", loss, "(hs) -> []")
    chosen = _choose(method, cell)
    if key is not None:
        check_key("key", key)
    params, xs = as_arrays("params", params), as_arrays("xs", xs)
    check_wide("params", array_leaves("params", params))
    first = array_leaves("xs", xs)[0]
    if h0 is not None:
        check_reset_state("h0", reset_state, resets)
    state0 = _zero_state(params, xs) if h0 is None else as_arrays("h0", h0)
    batch = rows_of("h0", state0).batch
    after_reset = 0.0 if reset_state is None else reset_state
    time: dict[str, Any] = {"lengths": lengths, "mask": mask, "resets": resets}
    _, states = scan_cell(cell, params, xs, state0, reset_state=after_reset, **time)
    value, d_states = jax.value_and_grad(partial(_scalar, loss))(states)

    steps, rows = first.shape[0], meshes.row_sharding(first, 1, len(batch))
    masks = make_step_masks(steps, batch, lengths, mask, resets, False, rows)
    after_reset = like_state(after_reset, state0, steps)
    after_reset, reset_states = split_reset_states(state0, after_reset, masks, steps, False)
    if masks.reads is not None:
        xs = select(masks.reads, xs, jax.tree.map(jnp.zeros_like, xs))
    if masks.valid is not None:
        d_states = select(masks.valid, d_states, jax.tree.map(jnp.zeros_like, d_states))
    x = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), xs)
    carry = chosen.init(params, state0, x=x, key=key)
    inputs = (xs, d_states, masks.reads, masks.restart, reset_states)
    gradients = _add_up(chosen, params, carry, after_reset, inputs)
    return value, jax.tree.map(meshes.as_gradient, gradients, params)


def _add_up(method: Method, params: Any, carry: Carry, after_reset: Any, inputs: Any) -> Any:
    """The sum over all steps of the gradients at each of them.

    Args:
        method: any.
        params: a pytree.
        carry: before the first step.
        after_reset: the state at resets.
        inputs: of all steps `(xs, d_states, taken, restart, reset_states)`, each a pytree of
            `[T, B, ...]`; `taken` and `restart` are None for all steps and for none, `reset_states`
            are None for `after_reset`.
    """

    def step(loop: tuple[Carry, Any], inputs: Any) -> tuple[Any, None]:
        carry, total = loop
        x, d_state, taken, restart, own_reset_state = inputs
        if restart is not None:
            own = after_reset if own_reset_state is None else own_reset_state
            carry = reset(carry, restart, own)
        new_carry, _ = method.step(params, carry, x)
        if taken is not None:
            new_carry = merge_rows(~taken, carry, new_carry)
        total = jax.tree.map(jnp.add, total, method.gradient(new_carry, d_state))
        return (new_carry, total), None

    start = carry, jax.tree.map(jnp.zeros_like, params)
    (_, total), _ = meshes.scan(step, start, inputs)
    return total


def _choose(method: Any, cell: Cell) -> Method:
    if isinstance(method, Method):
        return method
    if isinstance(method, str) and method in _METHODS:
        return _METHODS[method](cell)
    names = ", ".join(f'"{name}"' for name in _METHODS)
    raise ValueError(f"`method` must be one of {names}, or a Method, got {describe(method)}.")


def _zero_state(params: Any, xs: Any) -> Any:
    """The initial state zero of a cell of grujax."""
    size = getattr(params, "hidden_size", None)
    if not isinstance(size, int) or not hasattr(xs, "shape"):
        raise ValueError(
            "`h0` must be given, because only the cells of grujax tell the shape of their state, "
            "by `params.hidden_size`."
        )
    zeros = jnp.zeros((*xs.shape[1:-1], size), jnp.result_type(xs, *jax.tree.leaves(params)))
    return LSTMState(h=zeros, c=zeros) if isinstance(params, LSTMParams) else zeros


def _scalar(loss: Callable[[Any], Array], states: Any) -> Array:
    value = loss(states)
    if jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise ValueError(f"`loss` must return a floating scalar, got {describe(value)}.")
    return value
