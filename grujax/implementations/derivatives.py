"""Recurrences as differentiable functions, in every mode and to every order.

An implementation gives `Rules`: a forward pass, and the tangent and the gradient at what the
forward pass has saved. Let x be all that a recurrence is differentiated with respect to, y its
outputs, and J = ∂y/∂x. For each recurrence,

    tangent     ẏ = J·ẋ          a linear recurrence, in the direction of the recurrence
    gradient    x̄ = Jᵀ·ȳ         its transpose, a linear recurrence in the other direction

So both are one linear primitive (`grujax.implementations.linear`), in which each is the transpose
of the other; the forward pass is another one (`grujax.implementations.recurrence`). Forward mode
runs the tangent. Reverse mode transposes it, which runs the gradient; the tangent then is never
computed. Second derivatives are taken of the linear primitive: it is linear in ẋ or ȳ, and its
dependence on x is differentiated by JAX, through the plain implementation.

Recurrences over the same inputs, the two directions of a layer, are passed together. An array that
occurs in both is one operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from jax import Array

from grujax.implementations import plain
from grujax.implementations.recurrence import Recurrence
from grujax.implementations.structure import Rules
from grujax.implementations.types import RecurrenceArgs

LONG = 256  # steps from which on the gates are recomputed,
WIDE = 16  # if the batch has at least this many rows


def keeps_gates(args: RecurrenceArgs) -> bool:
    """Whether the forward pass saves the gates for the derivatives, for `xs [T, B, I]`.

    Saved gates take 4·T·B·H numbers; recomputing them takes one matmul, as large as that of the
    recurrence itself. Long sequences with many rows recompute them, all others save them.

    This is part of the traced program and depends on shapes alone, so a program traced on a machine
    with a GPU is the one traced without. On a GPU, where memory is ample and the matmul is not
    hidden, saving them for long sequences too would be faster; that is the price.
    """
    steps, *batch, _ = args.xs.shape
    return steps < LONG or prod(batch) < WIDE


def of_each(run: Callable[..., Any]) -> Callable[..., list[Any]]:
    """`run`, which takes one recurrence, for lists: the recurrences run one after the other."""

    def run_each(*lists: Sequence[Any]) -> list[Any]:
        return [run(*arguments) for arguments in zip(*lists, strict=True)]

    return run_each


def run(rules: Rules, recurrences: Sequence[RecurrenceArgs]) -> list[tuple[Array, Array]]:
    """`(h_last [B, H], hs [T, B, H])` of each, for any number of batch axes and any T.

    No implementation but the plain one knows `reset_states`.
    """
    has_reset_states = any(args.reset_states is not None for args in recurrences)
    if has_reset_states or not has_steps(recurrences[0].xs):
        return [plain.run(args) for args in recurrences]
    arrays, recurrence = Recurrence.of(rules, flatten_batch(recurrences))
    outputs = iter(recurrence.bind(arrays))
    return [
        (
            next(outputs).reshape(args.h0.shape),
            next(outputs).reshape(*args.xs.shape[:-1], args.h0.shape[-1]),
        )
        for args in recurrences
    ]


def has_steps(xs: Array) -> bool:
    """Whether T and all batch axes of `xs [T, B, I]` are known and not zero.

    A size is not known where `jax.export` leaves it symbolic.
    """
    return all(isinstance(size, int) and size > 0 for size in xs.shape[:-1])


def flatten_batch(recurrences: Sequence[RecurrenceArgs]) -> list[RecurrenceArgs]:
    """All batch axes as one. An array that occurs in several recurrences still is one array."""
    axes = recurrences[0].h0.ndim - 1
    flat: dict[tuple[int, int], Array] = {}

    def flatten(array: Array, axis: int) -> Array:
        key = id(array), axis
        if key not in flat:
            flat[key] = array.reshape(*array.shape[:axis], -1, *array.shape[axis + axes :])
        return flat[key]

    return [args.map_batch(flatten) for args in recurrences]
