"""Whether acting step by step and replaying whole sequences agree; if not, what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.checks import (
    array_leaves,
    as_arrays,
    check_callable,
    check_integer,
    check_key,
    check_number,
)
from grujax.testing.faults import Candidate, as_numpy, candidates
from grujax.testing.rollout import Rollout, Step, draw_rollout, run_steps

MINIMUM = 4  # rows and steps: fewer could hide a fault


def check_replay(
    step: Callable[[Any, Any, Array], tuple[Any, Any]],
    replay: Callable[[Rollout], Any],
    initial_state: Any,
    x: Any,
    *,
    steps: int = 24,
    tolerance: float | None = None,
    key: Array | None = None,
) -> None:
    """Checks that a replay of whole sequences gives the outputs of acting step by step.

    It works for any recurrent network. It draws inputs, terminations and truncations, acts with
    `step` from a state that is in use, and passes `replay` what an actor stores. Use your own code
    in `replay`: how it shifts the dones, cuts the sequences and picks the stored states.

    Args:
        step: acts, `step(x, state, reset) -> (state, y)`. `x` and `state` are pytrees `[B, ...]`;
            `reset [B]` bool is true where an episode starts, and the state is to be reset before x
            is read. It is traced by JAX. The `step` method of the layers has this signature.
        replay: `replay(rollout) -> ys`, the outputs of all steps, a pytree `[T, B, ...]` like the
            outputs `y` of `step`. `rollout` is a `Rollout`.
        initial_state: the state at the start of an episode, a pytree of arrays `[B, ...]` with at
            least 4 rows.
        x: an example of the inputs of one step, a pytree of arrays `[B, ...]`. Floats are drawn
            from the normal distribution, integers between the least and the greatest in `x`.
        steps: T, the length of the rollout, at least 4; a multiple of the length of your sequences.
        tolerance: the difference that is allowed, relative to the largest output; by default 1e-9
            in float64, 1e-4 in float32, and 0.05 in dtypes of 16 bits.
        key: a JAX random key; `jax.random.key(0)` if None.

    Raises:
        AssertionError: if they differ. The message names the fault, the first step and the rows
            where it shows, and what to change.
        ValueError: if an argument or the shape of an output does not match, or the outputs hardly
            depend on the state.

    Example:
        >>> from grujax import gru, init_gru
        >>> params = init_gru(jax.random.key(0), input_size=3, hidden_size=8)
        >>> def step(x, h, reset):
        ...     h, hs = gru(params, x[None], h, resets=reset[None], reset_state=jnp.zeros(8))
        ...     return h, hs[0]
        >>> def replay(rollout):
        ...     h0 = jnp.zeros(8)  # and not `rollout.first_state`
        ...     return gru(params, rollout.xs, h0, resets=rollout.resets, reset_state=h0)[1]
        >>> check_replay(step, replay, jnp.zeros((4, 8)), jnp.zeros((4, 3)))
        Traceback (most recent call last):
        AssertionError: The replay differs from acting from step 0 on, first in rows 0, 2 of 4: it
        starts from the initial state, not from the stored one. Store the state that the actor holds
        before the step, and start the replay from it.
    """
    check_callable("step", step, "(x, state, reset) -> (state, y)")
    check_callable("replay", replay, "(rollout) -> ys")
    initial_state = _as_rows("initial_state", initial_state)
    x = _as_rows("x", x, jax.tree.leaves(initial_state)[0].shape[0])
    steps = check_integer("steps", steps, MINIMUM)
    key = jax.random.key(0) if key is None else check_key("key", key)
    if tolerance is not None:
        check_number("tolerance", tolerance, "(0, 1)")

    draw = jax.jit(partial(draw_rollout, step, steps=steps))
    rollout, want = draw(initial_state, x, key=key)
    compare = Comparison(want, tolerance)
    _check_step(step, rollout, initial_state, compare)
    got = compare.check_shapes(replay(rollout))
    if compare.agree(got, want):
        return
    fault = _name_fault(step, rollout, initial_state, compare, got)
    fault = fault or _leak(step, replay, rollout, compare, got)
    fault = fault or (
        "this is none of the faults that the check knows. Compare the states at that step, in that "
        "row, by hand"
    )
    raise AssertionError(f"The replay differs from acting {compare.place(got)}: {fault}.")


class Comparison:
    """Compares outputs `[T, B, ...]` with those of acting."""

    def __init__(self, want: Any, tolerance: float | None) -> None:
        """The outputs of acting, and the relative tolerance; None for that of their dtype."""
        self.want = want
        leaves = array_leaves("y", want)
        self.scale = [max(_largest(leaf), 1e-30) for leaf in leaves]
        self.tolerance = [tolerance or _default_tolerance(leaf) for leaf in leaves]

    def errors(self, got: Any, want: Any) -> np.ndarray:
        """`[T, B]`, the largest difference of each step and row; 1 is the tolerance."""
        pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
        errors = []
        for (one, other), scale, allowed in zip(pairs, self.scale, self.tolerance, strict=True):
            off = np.abs(_wide(one) - _wide(other)) / (scale * allowed)
            off = np.where(np.isnan(off), np.inf, off)  # NaN agrees with nothing
            errors.append(off.reshape(*off.shape[:2], -1).max(-1))
        return np.max(errors, axis=0)

    def agree(self, got: Any, want: Any) -> bool:
        """Whether all steps and rows agree."""
        return bool(self.errors(got, want).max() <= 1)

    def place(self, got: Any) -> str:
        """The first step, and the rows in which it differs."""
        wrong = self.errors(got, self.want) > 1
        first = int(wrong.any(1).argmax())
        rows = np.flatnonzero(wrong[first])
        shown = ", ".join(map(str, rows[:8])) + (" ..." if rows.size > 8 else "")
        noun = "row" if rows.size == 1 else "rows"
        return f"from step {first} on, first in {noun} {shown} of {wrong.shape[1]}"

    def check_shapes(self, got: Any) -> Any:
        """The outputs of the replay; raises ValueError unless they have the shapes of acting."""
        got = as_arrays("replay", got)
        structure: Any = jax.tree.structure(self.want)
        shapes = [leaf.shape for leaf in jax.tree.leaves(got)]
        expected = [leaf.shape for leaf in jax.tree.leaves(self.want)]
        if jax.tree.structure(got) != structure or shapes != expected:
            raise ValueError(
                "`replay` must return the outputs of all steps, time-major [T, B, ...], as `step` "
                f"returns those of one step: expected the shapes {list(map(list, expected))}, got "
                f"{list(map(list, shapes))}."
            )
        return got


def _check_step(step: Step, rollout: Rollout, initial_state: Any, compare: Comparison) -> None:
    """Acting itself: its resets work, and its outputs depend on the state."""
    x = jax.tree.map(lambda leaf: leaf[0], rollout.xs)
    act = jax.jit(lambda *arguments: step(*arguments))  # a new function: `step` may have changed
    used, reset = rollout.first_state, jnp.ones_like(rollout.resets[0])
    fresh, kept, after_reset = (
        jax.tree.map(lambda leaf: leaf[None], act(x, state, flags)[1])
        for state, flags in ((initial_state, ~reset), (used, ~reset), (used, reset))
    )
    if compare.errors(fresh, kept).max() <= 2:
        raise ValueError(
            "The outputs of `step` hardly depend on its state, so no fault would show: let `step` "
            "and `replay` return the state, or draw weights of the output layer that are larger."
        )
    if not compare.agree(after_reset, fresh):
        ignored = compare.agree(after_reset, kept)
        reason = "it ignores `reset`" if ignored else "it goes to another state"
        raise AssertionError(
            "`step` does not reset the state to `initial_state` before it reads x: "
            f"{reason}. With a function of grujax, set `reset_state` to the initial state: while "
            "acting, `h0` is the carried state."
        )


def _name_fault(
    step: Step, rollout: Rollout, initial_state: Any, compare: Comparison, got: Any
) -> str:
    """The fewest faults that reproduce the outputs of the replay; "" if none do."""
    rows = rollout.resets.shape[1]
    one_row = jax.tree.map(lambda leaf: leaf[:1], initial_state)
    run = jax.jit(partial(_run_in_groups, step, rows))

    def after_step(start: Any, xs: Any, resets: Array) -> Any:
        states, _ = run(start, xs, resets, False)
        return jax.tree.map(lambda leaf: leaf[1], states)

    def error(candidate: Candidate) -> float:
        _, ys = run(candidate.start, candidate.xs, candidate.resets, candidate.to_start)
        return float(compare.errors(candidate.undo(as_numpy(ys)), got).max())

    for number in (1, 2):
        for of_layout in candidates(rollout, one_row, after_step, number):
            errors = [(error(candidate), candidate.parts) for candidate in of_layout]
            smallest, parts = min(errors, key=lambda pair: pair[0], default=(np.inf, []))
            if smallest <= 1:
                advice = " ".join(dict.fromkeys(part.advice for part in parts))
                return f"{', and '.join(part.fault for part in parts)}. {advice}".rstrip(".")
    return ""


def _run_in_groups(
    step: Step, rows: int, start: Any, xs: Any, resets: Array, to_start: Array
) -> tuple[Any, Any]:
    """States and outputs of any number of rows, by a `step` for this number of them."""
    columns = resets.shape[1]
    groups = -(-columns // rows)
    index = jnp.arange(groups * rows).reshape(groups, rows) % columns

    def run(index: Array) -> tuple[Any, Any]:
        rows_of = partial(jax.tree.map, lambda leaf: jnp.take(leaf, index, axis=1))
        first = jax.tree.map(lambda leaf: jnp.take(leaf, index, axis=0), start)
        _, states, ys = run_steps(step, first, rows_of(xs), rows_of(resets), to_start)
        return states, ys

    def join(leaf: Array) -> Array:
        return leaf.reshape(leaf.shape[0], -1, *leaf.shape[3:])[:, :columns]

    return jax.tree.map(join, jax.vmap(run, out_axes=1)(index))


def _leak(
    step: Step,
    replay: Callable[[Rollout], Any],
    rollout: Rollout,
    compare: Comparison,
    got: Any,
) -> str:
    """What the replay reads and acting does not: other rows, or later steps; "" if neither."""
    run = jax.jit(partial(run_steps, step))

    def replay_with(changed: Array) -> Any:
        """The replay of another rollout, whose inputs differ where `changed [T, B]` is true."""
        xs = jax.tree.map(
            lambda leaf: jnp.where(
                changed.reshape(*changed.shape, *(1,) * (leaf.ndim - 2)),
                jnp.roll(leaf, (1, 1), (0, 1)),
                leaf,
            ),
            rollout.xs,
        )
        _, states, _ = run(rollout.first_state, xs, rollout.resets)
        return compare.check_shapes(replay(rollout._replace(xs=xs, states=states)))

    none = jnp.zeros_like(rollout.resets)
    for row in range(none.shape[1]):
        off = compare.errors(replay_with(none.at[:, row].set(True)), got) > 1
        others = [int(other) for other in np.flatnonzero(off.any(0)) if other != row]
        if others:
            return f"a leak between rows: the inputs of row {row} change the outputs of row " + str(
                others[0]
            )
    half = none.shape[0] // 2
    if (compare.errors(replay_with(none.at[half:].set(True)), got)[:half] > 1).any():
        return f"it looks ahead: the inputs from step {half} on change the outputs before it"
    return ""


def _as_rows(name: str, value: Any, rows: int | None = None) -> Any:
    """A pytree of arrays `[B, ...]`; raises ValueError unless B is `rows`, or at least 4."""
    tree = as_arrays(name, value)
    leaves = array_leaves(name, tree)
    expected = f"{rows} rows, as `initial_state` has"
    if rows is None:
        expected = f"the same number of rows, and at least {MINIMUM}"
        rows = max([MINIMUM, *(leaf.shape[0] for leaf in leaves if leaf.ndim)])
    for leaf in leaves:
        if leaf.shape[:1] != (rows,):
            raise ValueError(
                f"`{name}` must hold arrays [B, ...] with {expected}, got one of shape "
                f"{list(leaf.shape)}."
            )
    return tree


def _wide(leaf: Any) -> np.ndarray:
    return np.asarray(leaf).astype(np.float64)


def _largest(leaf: Any) -> float:
    return float(np.abs(_wide(leaf)).max(initial=0.0))


def _default_tolerance(leaf: Array) -> float:
    bits = jnp.finfo(leaf.dtype).bits if jnp.issubdtype(leaf.dtype, jnp.floating) else 32
    return {64: 1e-9, 32: 1e-4}.get(bits, 0.05)
