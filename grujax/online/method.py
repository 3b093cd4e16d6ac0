"""What every method is: three functions, and what is carried from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.checks import array_leaves, as_arrays, check_instance
from grujax.implementations.plain import select
from grujax.online.pattern import Pattern
from grujax.online.rows import Layout, Rows, check_wide, layout_of, rows_of
from grujax.time_checks import check_reset, like_state


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Carry:
    """What a method carries from step to step: a pytree.

    Attributes:
        state: the state of the cell, a pytree of `[B, n]`.
        influence: what the method knows of ∂state/∂params, a pytree of `[B, ...]`.
        key: the JAX random key of a method that draws, else None.
        layout: the structure and the shapes of the parameters. A static field.
        pattern: of a sparse influence, which entries it has; else None. A static field.
    """

    state: Any
    influence: Any
    key: Array | None
    layout: Layout = field(metadata={"static": True})
    pattern: Pattern | None = field(default=None, metadata={"static": True})


class Init(Protocol):
    """The first carry, see `Method`."""

    def __call__(
        self, params: Any, state: Any, *, x: Any = None, key: Array | None = None
    ) -> Carry: ...


@dataclass(frozen=True)
class Method:
    """A method that follows how the parameters influence the state, while the cell runs.

    Every function can be jitted, scanned and vmapped. The parameters may change between two steps;
    then the influence is that of a mixture of old and new ones.

    Attributes:
        init: `init(params, state, *, x=None, key=None) -> carry`. `params` is a pytree of arrays,
            `state` one of `[B, n]`; B stands for any number of batch axes, none included. All are
            float32 or float64. The influence begins as zero: the state does not depend on the
            parameters. `x` is an example of the inputs, which `snap` and `eprop` need to find their
            pattern, unless `params` have an `input_size`. `key` is a JAX random key, for `uoro`.
        step: `step(params, carry, x) -> (carry, state)`: one step of the cell, and of the
            influence. `x` is a pytree of `[B, ...]`.
        gradient: `gradient(carry, d_state) -> d_params`: the gradient of a loss that reads the
            state after the last step, for `d_state`, its gradient with respect to that state. The
            sum over the rows; inside of `jax.shard_map`, over those of one device. Add them up over
            the steps for the gradient of a sum over steps.
    """

    init: Init
    step: Callable[[Any, Carry, Any], tuple[Carry, Any]]
    gradient: Callable[[Carry, Any], Any]


def reset(carry: Carry, reset: ArrayLike, reset_state: Any = 0.0) -> Carry:
    """Starts a new episode in some rows: no gradient passes from after it to before it.

    Args:
        carry: of any method.
        reset: `[B]` bool: where true, the state becomes `reset_state`, and the influence zero.
        reset_state: the state at resets: a number, one array `[H]`, or a pytree as the state.

    Returns:
        The new carry, with the rows where `reset` is false unchanged.

    Raises:
        ValueError: if `reset` is not bool `[B]`, or `reset_state` does not fit the state.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> method = grujax.online.rtrl(grujax.gru_cell)
        >>> carry = method.init(params, jnp.ones((2, 4)))
        >>> reset(carry, jnp.array([True, False])).state[:, 0].tolist()
        [0.0, 1.0]
    """
    check_instance("carry", carry, Carry, "Method.init")
    leaves = array_leaves("carry.state", carry.state)
    flags = check_reset(reset, leaves[0].shape[:-1])
    after = like_state(reset_state, carry.state, -1)
    zeros = jax.tree.map(jnp.zeros_like, carry.influence)
    return merge_rows(flags, replace(carry, state=after, influence=zeros), carry)


def merge_rows(condition: Array, if_true: Carry, if_false: Carry) -> Carry:
    """Rows `[B]` of one carry or another; the rest, such as the key, is that of `if_false`."""
    return replace(
        if_false,
        state=select(condition, if_true.state, if_false.state),
        influence=select(condition, if_true.influence, if_false.influence),
    )


def check_start(params: Any, state: Any) -> tuple[Any, Any, Layout, Rows]:
    """The parameters and the state as arrays, the layout of the former and rows of the latter."""
    params, state = as_arrays("params", params), as_arrays("state", state)
    check_wide("params", array_leaves("params", params))
    return params, state, layout_of(params), rows_of("state", state)


def step_rows(
    advance: Callable[..., tuple[Any, Any]], params: Any, carry: Carry, x: Any, *drawn: Array
) -> tuple[Carry, Any]:
    """`Method.step`; on a mesh with explicit axes each device takes the rows that it holds.

    Args:
        advance: `advance(rows, params, state, influence, x, *drawn) -> (state, influence)`.
        params: see `Method`.
        carry: see `Method`.
        x: see `Method`.
        *drawn: `[B, ...]`, what was drawn for this step.

    Raises:
        ValueError: the state or `x` does not fit.
    """
    rows = rows_of("state", carry.state)
    x = rows.check_inputs(x)

    def run(params: Any, of_rows: Any) -> tuple[Any, Any]:
        return advance(rows.like(jax.tree.leaves(of_rows)[0]), params, *of_rows)

    of_rows = (carry.state, carry.influence, x, *drawn)
    state, influence = meshes.map_rows(run, params, of_rows, len(rows.batch))
    return replace(carry, state=state, influence=influence), state


def sum_rows(pull: Callable[[Array, Any], Array], carry: Carry, d_state: Any) -> Any:
    """`Method.gradient`; on a mesh with explicit axes each device takes the rows that it holds.

    Args:
        pull: `pull(d_states [R, S], influence [B, ...]) -> [P]`.
        carry: see `Method`.
        d_state: see `Method`.

    Raises:
        ValueError: `d_state` does not have the shapes of the state.
    """
    rows, d_state = rows_of("state", carry.state), as_arrays("d_state", d_state)
    if jax.tree.map(jnp.shape, d_state) != jax.tree.map(jnp.shape, carry.state):
        raise ValueError("`d_state` must have the structure and the shapes of the state.")

    def run(_: Any, of_rows: Any) -> Array:
        d_state, influence = of_rows
        here = rows.like(jax.tree.leaves(d_state)[0])
        return pull(here.join(d_state), influence)

    of_rows = (d_state, carry.influence)
    return carry.layout.split(meshes.map_rows(run, (), of_rows, len(rows.batch), is_sum=True))
