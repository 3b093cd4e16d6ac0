"""Cells whose products with weights leave the loop over time.

Such a cell is split in two: with h the part of its state s that the weights Wh multiply,

    a  = project(params, x) + h·Wh         the sums, of each gate
    s' = update(rest, s, a)                what follows: gates, or norms over the units of a row

Time is split into chunks. The inputs of a chunk are projected by one product per gate; then a step
is one product and the update.

Gradient. With a dot for a tangent, and θ for what `rest` holds,

    ṡ' = ∂s·ṡ + ∂a·(ḣ·Wh) + [∂a·(h·Ẇh + ṗ) + ∂θ·θ̇]        p = project(params, x)

where ∂s, ∂a and ∂θ are the derivatives of `update`, which JAX finds. They are computed for a whole
chunk, and so is the bracket, which does not depend on ṡ. Reverse mode transposes this: a step back
is one product with Whᵀ, and the gradients of the weights are products over the chunk, where the
transpose of JAX's own derivative adds to them at every step.

From the forward to the backward pass the states are saved and, for short or narrow sequences, the
sums (`grujax.implementations.derivatives.keeps_gates`). All else is computed again, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from grujax import meshes
from grujax.cell import matmul
from grujax.implementations.derivatives import keeps_gates
from grujax.implementations.plain import select
from grujax.implementations.scan.chunks import Chunks, split_time
from grujax.implementations.types import RecurrenceArgs, states_before, zero_invalid
from grujax.jax_support.promotion import wide_dtype

MOST_ROWS = 16  # of a batch; with more, JAX's own derivative of the whole cell is as fast
_SAVED = "grujax_saved"  # what the backward pass finds saved


class SplitCell(NamedTuple):
    """A cell in two parts. Arrays have the promoted dtype, products at least float32."""

    project: Callable[[Any, Array], tuple[Array, ...]]  # (params, x) -> [.., H] of each gate
    weights: Callable[[Any], tuple[Array, ...]]  # params -> Wh [H, H] of each gate
    rest: Callable[[Any], Any]  # params -> θ, any pytree
    hidden: Callable[[Any], Array]  # state -> h [.., H]
    update: Callable[[Any, Any, tuple[Array, ...]], Any]  # (θ, s, a) -> s'


class _Constants(NamedTuple):
    """What all steps share."""

    w: Array  # [H, G·H], of all gates
    rest: Any
    reset_state: Any  # [B, ...]


class _Inputs(NamedTuple):
    """What a step reads; of a chunk, with a leading axis [K]."""

    projected: tuple[Array, ...]  # each [B, H]
    taken: Array | None  # [B] bool: where false, the state stays
    restart: Array | None  # [B] bool
    reset_states: Any  # [B, ...], or None


_SPLIT: dict[Callable[..., Any], SplitCell] = {}


def register(cell: Callable[..., Any], split: SplitCell) -> None:
    """Says that `cell(params, state, x) -> state` is this one in two parts."""
    _SPLIT[cell] = split


def find(cell: Callable[..., Any], params: Any, xs: Any, state0: Any) -> SplitCell | None:
    """The two parts of a cell; None if it has none, or where they are not faster.

    They are for at least two steps of at most `MOST_ROWS` rows, all sizes known and not zero.

    Raises:
      ValueError: what the cell raises for these arguments.
    """
    split = _SPLIT.get(cell) if callable(getattr(cell, "__hash__", None)) else None
    if split is None or not isinstance(xs, Array):
        return None
    sizes = [*xs.shape, *(size for leaf in jax.tree.leaves(state0) for size in leaf.shape)]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    if xs.shape[0] == 1 or prod(xs.shape[1:-1]) > MOST_ROWS:
        return None
    x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
    found = jax.tree.map(_kind, jax.eval_shape(cell, params, state0, x))
    return split if found == jax.tree.map(_kind, state0) else None


def run(split: SplitCell, args: RecurrenceArgs) -> tuple[Any, Any]:
    """`(state_last, states)`, as `grujax.implementations.plain.scan_masked` of the whole cell.

    The arguments have been placed by `grujax.meshes.RowSharding.place`.
    """

    def run_each(recurrences: list[RecurrenceArgs]) -> list[tuple[Array, ...]]:
        return [tuple(jax.tree.leaves(_run_rows(split, args))) for args in recurrences]

    number = len(jax.tree.leaves(args.h0))
    (leaves,) = meshes.run_own_rows(run_each, [args], (0,) * number + (1,) * number)
    return jax.tree.unflatten(jax.tree.structure((args.h0, args.h0)), leaves)


def _run_rows(split: SplitCell, args: RecurrenceArgs) -> tuple[Any, Any]:
    """The same for the rows of one device."""
    masks, xs, reverse = args.masks, args.xs, args.reverse
    dtype = jnp.result_type(xs, *jax.tree.leaves(args.params))
    params, xs = jax.tree.map(lambda leaf: leaf.astype(dtype), (args.params, xs))
    w = jnp.concatenate(split.weights(params), axis=-1)
    constants = _Constants(w, split.rest(params), args.reset_state)
    keep = keeps_gates(args)

    def run_chunk(state: Any, chunk: tuple[Any, ...]) -> tuple[Any, Any]:
        xs, taken, restart, reset_states = chunk
        inputs = _Inputs(split.project(params, xs), taken, restart, reset_states)
        states = _run_chunk(split, reverse, keep, constants, state, inputs)
        return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), states

    policy = jax.checkpoint_policies.save_only_these_names(_SAVED)
    run_chunk = jax.checkpoint(run_chunk, policy=policy, prevent_cse=False)
    state, states = _fold(
        run_chunk, args.h0, (xs, masks.reads, masks.restart, args.reset_states), reverse
    )
    return state, jax.tree.map(partial(zero_invalid, masks.valid), states)


def _fold(
    body: Callable[[Any, Any], tuple[Any, Any]], state: Any, in_time: Any, reverse: bool
) -> tuple[Any, Any]:
    """`body(state, chunk) -> (state, states)` for each chunk; the first one may be shorter."""
    xs = in_time[0]
    chunks = split_time(xs.shape[0], prod(xs.shape[1:-1]), reverse)
    if chunks.number == 1:
        return body(state, in_time)
    if chunks.first_length == chunks.length:
        return _fold_evenly(body, state, in_time, chunks)
    at = -chunks.first_length if reverse else chunks.first_length
    early, late = (
        jax.tree.map(lambda leaf: leaf[:at], in_time),
        jax.tree.map(lambda leaf: leaf[at:], in_time),
    )
    state, of_first = body(state, late if reverse else early)
    state, of_others = _fold_evenly(body, state, early if reverse else late, chunks)
    both = (of_others, of_first) if reverse else (of_first, of_others)
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *both)


def _fold_evenly(
    body: Callable[[Any, Any], tuple[Any, Any]], state: Any, in_time: Any, chunks: Chunks
) -> tuple[Any, Any]:
    """The same for chunks of one length."""

    def split(leaf: Array) -> Array:
        return leaf.reshape(-1, chunks.length, *leaf.shape[1:])

    state, states = meshes.scan(body, state, jax.tree.map(split, in_time), reverse=chunks.reverse)
    return state, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), states)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _run_chunk(
    split: SplitCell, reverse: bool, keep: bool, constants: _Constants, state: Any, inputs: _Inputs
) -> Any:
    """The states after each step, `[K, B, ...]`, which stay where no step is taken."""
    return _run_steps(split, reverse, False, constants, state, inputs)[0]


def _run_steps(
    split: SplitCell, reverse: bool, keep: bool, constants: _Constants, state: Any, inputs: _Inputs
) -> tuple[Any, tuple[Array, ...] | None]:
    """The states, and the sums of each gate, `[K, B, H]`, if `keep`."""

    def step(state: Any, inputs: _Inputs) -> tuple[Any, Any]:
        state = _enter(state, constants.reset_state, inputs)
        sums = _add_products(inputs.projected, matmul(split.hidden(state), constants.w))
        new_state = split.update(constants.rest, state, sums)
        new_state = _stay(inputs.taken, new_state, state)
        return new_state, (new_state, sums if keep else None)

    return meshes.scan(step, state, inputs, reverse=reverse)[1]


@_run_chunk.defjvp
def _differentiate_chunk(
    split: SplitCell, reverse: bool, keep: bool, primals: Any, tangents: Any
) -> Any:
    constants, first, inputs = primals
    d_constants, d_first, d_inputs = tangents
    saved = _run_steps(split, reverse, keep, constants, first, inputs)
    states, sums = jax.tree.map(lambda leaf: checkpoint_name(leaf, _SAVED), saved)

    before = _states_before(states, first, constants.reset_state, inputs, reverse)
    h = split.hidden(before)
    if sums is None:
        sums = _add_products(inputs.projected, matmul(h, constants.w))
    d_sums = _add_products(d_inputs.projected, matmul(h, d_constants.w))

    def update_all(rest: Any, sums: Any) -> Any:
        return split.update(rest, before, sums)

    direct = jax.linearize(update_all, constants.rest, sums)[1](d_constants.rest, d_sums)

    def linearize_step(before: Any, sums: Any) -> Any:
        return jax.linearize(partial(split.update, constants.rest), before, sums)[1]

    push = jax.vmap(linearize_step)(before, sums)
    w_t = constants.w.T  # so that the transpose multiplies by a matrix that is laid out for it

    def step(d_state: Any, at_step: Any) -> tuple[Any, Any]:
        push, direct, inputs, d_reset_states = at_step
        d_state = _enter(
            d_state, d_constants.reset_state, inputs._replace(reset_states=d_reset_states)
        )
        h = split.hidden(d_state)
        axes = (((h.ndim - 1,), (1,)), ((), ()))
        product = lax.dot_general(h, w_t, axes, preferred_element_type=wide_dtype(h.dtype))
        pushed = push(d_state, tuple(jnp.split(product, len(inputs.projected), axis=-1)))
        d_state = _stay(inputs.taken, jax.tree.map(jnp.add, pushed, direct), d_state)
        return d_state, d_state

    at_steps = push, direct, inputs, d_inputs.reset_states
    return states, meshes.scan(step, d_first, at_steps, reverse=reverse)[1]


def _enter(state: Any, reset_state: Any, inputs: _Inputs) -> Any:
    """The state that the step sees."""
    if inputs.restart is None:
        return state
    after_reset = reset_state if inputs.reset_states is None else inputs.reset_states
    return select(inputs.restart, after_reset, state)


def _stay(taken: Array | None, new_state: Any, state: Any) -> Any:
    return new_state if taken is None else select(taken, new_state, state)


def _add_products(projected: tuple[Array, ...], product: Array) -> tuple[Array, ...]:
    """The sums of each gate, from the product with the weights of all gates."""
    return tuple(map(jnp.add, projected, jnp.split(product, len(projected), axis=-1)))


def _states_before(
    states: Any, first: Any, reset_state: Any, inputs: _Inputs, reverse: bool
) -> Any:
    """The states that the steps of a chunk see, `[K, B, ...]`."""

    own = inputs.reset_states
    restart = inputs.restart if own is None else None

    def shift(states: Array, first: Array, after_reset: Array) -> Array:
        return states_before(states, first, after_reset, restart, reverse)

    before = jax.tree.map(shift, states, first, reset_state)
    return before if own is None or inputs.restart is None else select(inputs.restart, own, before)


def _kind(array: Any) -> tuple[Any, ...]:
    return array.shape, array.dtype
