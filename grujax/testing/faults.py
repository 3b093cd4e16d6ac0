"""The faults of replays: each is a change of the right replay, which reproduces its outputs.

A replay lays out the rollout as sequences, takes a start state for each, and a flag for each step.
Each of the three can be wrong, and so can the inputs. A `Candidate` is one choice of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np

from grujax.rollouts import join_sequences, split_sequences
from grujax.testing.rollout import Rollout

SHIFT = "Take the resets from `grujax.rollouts.resets_from_dones(dones, first)`."
STORE = "Store the state that the actor holds before the step, and start the replay from it."


class Part(NamedTuple):
    """One choice: what is wrong with it ("" if nothing), what to change, and what it computes."""

    fault: str
    advice: str
    make: Callable[..., Any]
    undo: Callable[..., Any] = lambda ys: ys


class Candidate(NamedTuple):
    """A replay with these faults.

    `to_start`: resets go back to the start state.
    """

    parts: list[Part]
    xs: Any
    start: Any
    resets: np.ndarray
    to_start: bool
    undo: Callable[..., Any]


def map_tree(change: Callable[..., np.ndarray]) -> Callable[[Any], Any]:
    """`change` for each leaf of a pytree."""
    return lambda tree: jax.tree.map(change, tree)


def as_numpy(tree: Any) -> Any:
    """The arrays as NumPy's, for which no change of layout has to be compiled."""
    return jax.tree.map(np.asarray, tree)


def later(leaf: np.ndarray) -> np.ndarray:
    """`[T, ...]`, where each step has the value of the step before it, and step 0 its own."""
    return np.concatenate([leaf[:1], leaf[:-1]])


def earlier(leaf: np.ndarray) -> np.ndarray:
    """`[T, ...]`, where each step has the value of the step after it, and the last its own."""
    return np.concatenate([leaf[1:], leaf[-1:]])


def layouts(steps: int, rows: int) -> Iterator[Part]:
    """How a replay may lay out `[T, B, ...]` as sequences; the first two are right."""
    yield Part("", "", lambda tree: tree)
    lengths = [n for n in range(2, steps) if steps % n == 0]
    cut = "Cut the rollout by `grujax.rollouts.split_sequences`."
    for n in lengths:
        yield Part(
            "",
            "",
            lambda tree, n=n: as_numpy(split_sequences(tree, n)),
            lambda ys: as_numpy(join_sequences(ys, steps)),
        )
    whole = map_tree(lambda leaf: leaf.reshape(steps, rows, *leaf.shape[2:]))
    for n in lengths:
        yield Part(
            f"a reshape to {n} steps interleaves the steps: its first sequence holds steps 0, "
            f"{steps // n}, {2 * steps // n} and so on",
            cut,
            map_tree(lambda leaf, n=n: leaf.reshape(n, -1, *leaf.shape[2:])),
            whole,
        )
    for n in (n for n in lengths if steps * rows % n == 0):
        yield Part(
            f"a reshape to sequences of {n} steps mixes the rows",
            cut,
            map_tree(lambda leaf, n=n: leaf.reshape(-1, n, *leaf.shape[2:]).swapaxes(0, 1)),
            map_tree(lambda leaf: leaf.swapaxes(0, 1).reshape(steps, rows, *leaf.shape[2:])),
        )
    for k in (k for k in range(2, rows + 1) if rows % k == 0):
        for outer in (True, False):
            yield _packing(k, outer, steps, rows)


def _packing(k: int, outer: bool, steps: int, rows: int) -> Part:
    """Rows one after another along time: k of them; rows apart by B / k, or neighbors."""
    split = (k, rows // k) if outer else (rows // k, k)

    def pack(leaf: np.ndarray) -> np.ndarray:
        parts = np.moveaxis(leaf.reshape(steps, *split, *leaf.shape[2:]), 1 if outer else 2, 0)
        return parts.reshape(k * steps, rows // k, *leaf.shape[2:])

    def unpack(leaf: np.ndarray) -> np.ndarray:
        parts = leaf.reshape(k, steps, rows // k, *leaf.shape[2:])
        return np.moveaxis(parts, 0, 1 if outer else 2).reshape(steps, rows, *leaf.shape[2:])

    return Part(
        f"{k} slices are packed one after another along time, and the state leaks from a slice "
        "into the next",
        "Give each slice a row of its own, with the state that was stored for it.",
        map_tree(pack),
        map_tree(unpack),
    )


def starts(initial_state: Any, after_step: Callable[..., Any]) -> list[Part]:
    """The state that a sequence starts from, given the rollout in its layout; the first is right.

    `after_step(start, xs, resets)` is the state after step 0, and `initial_state` has one row.
    """

    def initial(laid: Rollout) -> Any:
        return jax.tree.map(
            lambda leaf, like: np.broadcast_to(leaf, like.shape), initial_state, laid.first_state
        )

    return [
        Part("", "", lambda laid: laid.first_state),
        Part("it starts from the state that was stored after step 0, not before it", STORE,
             lambda laid: after_step(laid.first_state, laid.xs, laid.resets)),
        Part("it starts from the initial state, not from the stored one", STORE, initial),
        Part("it starts from the last stored state, not from the first", STORE,
             lambda laid: jax.tree.map(lambda leaf: leaf[-1], laid.states)),
        Part("it starts from the state of another row", STORE,
             lambda laid: jax.tree.map(lambda leaf: np.roll(leaf[0], 1, 0), laid.states)),
        Part("it starts from the state of another row", STORE,
             lambda laid: jax.tree.map(lambda leaf: np.roll(leaf[0], -1, 0), laid.states)),
    ]  # fmt: skip


def flags(first: np.ndarray) -> list[Part]:
    """The resets of the sequences, given the rollout in its layout; the first is right.

    `first [B]`: whether an episode starts at step 0 of the rollout.
    """

    def after(ends: np.ndarray) -> np.ndarray:
        """The resets that follow from only some of the ends."""
        start = first if first.shape == ends.shape[1:] else np.zeros_like(ends[0])
        return np.concatenate([start[None], ends[:-1]])

    def with_end(value: Callable[[Rollout], Any]) -> Callable[[Rollout], np.ndarray]:
        return lambda laid: np.concatenate([laid.dones[:-1], value(laid)[None]])

    early = "the resets come one step early: `dones[t]` is after step t, `resets[t]` before it"
    late = "the resets come one step late"
    both = "Reset after truncations and after terminations: `terminations | truncations`."
    return [
        Part("", "", lambda laid: laid.resets),
        Part(early, SHIFT, lambda laid: laid.dones),
        Part(early, SHIFT, with_end(lambda laid: np.zeros_like(laid.dones[0]))),
        Part(early, SHIFT, with_end(lambda laid: laid.resets[0])),
        Part(late, SHIFT, lambda laid: later(laid.resets)),
        Part(late, SHIFT, lambda laid: np.concatenate([laid.resets[:1] & False, laid.resets[:-1]])),
        Part(late, SHIFT, lambda laid: np.roll(laid.resets, 1, 0)),
        Part("it never resets", "Pass the resets to the replay.",
             lambda laid: np.zeros_like(laid.resets)),
        Part("the reset before the first step is lost",
             "Carry the last done of the rollout before it: `resets_from_dones(dones, first)`.",
             lambda laid: np.concatenate([laid.resets[:1] & False, laid.resets[1:]])),
        Part("it resets after terminations, not after truncations", both,
             lambda laid: after(laid.terminations)),
        Part("it resets after truncations, not after terminations", both,
             lambda laid: after(laid.truncations)),
        Part("a reset of one row resets all rows", "Pass one flag for each row and step.",
             lambda laid: np.broadcast_to(laid.resets.any(1, keepdims=True), laid.resets.shape)),
        Part("the flags [B, T] are reshaped to [T, B], not transposed", "Swap their axes.",
             lambda laid: laid.resets.T.reshape(laid.resets.shape)),
    ]  # fmt: skip


INPUTS = [
    Part("", "", lambda xs: xs),
    Part("the inputs are those of one step later", "Start at the first input.", map_tree(earlier)),
    Part("the inputs are those of one step earlier", "Align them with the steps.", map_tree(later)),
]
OUTPUTS = [
    Part("", "", lambda ys: ys),
    Part("the outputs are those of one step later", "Align them with the steps.",
         map_tree(earlier)),
    Part("the outputs are those of one step earlier", "Align them with the steps.",
         map_tree(later)),
]  # fmt: skip
TO_START = Part(
    "resets go back to the state that the sequence starts from",
    "Set `reset_state` to the initial state, such as 0.",
    lambda laid: laid.resets,
)


def candidates(
    rollout: Rollout, initial_state: Any, after_step: Callable[..., Any], number: int
) -> Iterator[Iterator[Candidate]]:
    """Every replay with this number of faults, by layout."""
    rollout, initial_state = as_numpy(rollout), as_numpy(initial_state)
    start_parts = starts(initial_state, after_step)
    flag_parts = [*flags(np.asarray(rollout.resets[0])), TO_START]
    for layout in layouts(*rollout.resets.shape):
        if bool(layout.fault) <= number:
            laid = Rollout(*(layout.make(field) for field in rollout))
            yield _of_layout(layout, laid, start_parts, flag_parts, number)


def _of_layout(
    layout: Part, laid: Rollout, start_parts: list[Part], flag_parts: list[Part], number: int
) -> Iterator[Candidate]:
    for start, flag, inputs, outputs in product(start_parts, flag_parts, INPUTS, OUTPUTS):
        found = [part for part in (layout, start, flag, inputs, outputs) if part.fault]
        if len(found) == number:
            yield Candidate(
                found,
                inputs.make(laid.xs),
                start.make(laid),
                flag.make(laid),
                flag is TO_START,
                lambda ys, outputs=outputs: outputs.make(layout.undo(ys)),
            )
