"""Gates over time: traces, memory time scales, saturation."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.analysis.states import visit_states
from grujax.cell import gru_gates
from grujax.checks import as_array, as_floating, check_instance, check_number
from grujax.jax_support.pytrees import register
from grujax.params import GRUParams


@register
class GateTrace(NamedTuple):
    """The gates and the state of a layer at every step; zero in the padding."""

    reset: Array  #: [T, B, H]; all three gates are in at least float32
    update: Array  #: [T, B, H]: 1 keeps the state, 0 replaces it
    candidate: Array  #: [T, B, H]
    hs: Array  #: [T, B, H], the state after each step, in the dtype of `grujax.gru`
    exists: Array  #: [T, B] bool: whether the step is not padding


@register
class GateSaturation(NamedTuple):
    """The fraction of existing steps in which a unit's gates are almost closed or open."""

    reset_shut: Array  #: [H]: r near 0
    reset_open: Array  #: [H]: r near 1
    update_shut: Array  #: [H]: z near 0, the state is replaced
    update_open: Array  #: [H]: z near 1, the state is kept
    candidate: Array  #: [H]: |n| near 1


def trace_gates(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> GateTrace:
    """Records the gates r, z, n and the state of a layer at every step of a sequence.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`; for a layer inside a stack, see `layer_inputs`.
        h0: the initial state, see `grujax.gru`.
        lengths: `[B]`, see `grujax.gru`.
        reverse: see `grujax.gru`.

    Returns:
        `GateTrace`. `hs` is what `grujax.gru` returns; it equals z ∘ h + (1 − z) ∘ n.

    Raises:
        ValueError: as `grujax.gru` does.

    Example:
        >>> import jax, grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=6)
        >>> trace = trace_gates(params, jnp.ones((5, 2, 3)), lengths=jnp.array([5, 2]))
        >>> trace.update.shape, trace.update[2:, 1].any().item()
        ((5, 2, 6), False)
    """
    visited = visit_states(params, xs, h0, lengths, reverse)
    gates = gru_gates(params, visited.before, visited.xs)
    r, z, n = (jnp.where(visited.exists[..., None], gate, 0) for gate in gates)
    return GateTrace(r, z, n, visited.after, visited.exists)


def memory_time_scale(trace: GateTrace) -> Array:
    """How many steps each unit remembers, from its mean update gate z̄ over all existing steps:

        τ = −1 / log z̄

    A state that is multiplied by z̄ at every step decays to 1/e after τ steps.

    Args:
        trace: from `trace_gates`.

    Returns:
        `[H]`, in steps: 0 if the gate is always closed, infinite if it is always open, NaN if no
        step exists or a gate of the unit is NaN.

    Raises:
        ValueError: if `trace` is no `GateTrace` of matching arrays.

    Example:
        >>> import jax, grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=2)
        >>> trace = trace_gates(params, jnp.zeros((5, 3)))  # no input: every gate is 1/2
        >>> [round(steps, 3) for steps in memory_time_scale(trace).tolist()]
        [1.443, 1.443]

    Reference:
        Tallec & Ollivier 2018, https://arxiv.org/abs/1804.11188
    """
    trace = check_trace(trace)
    return 1 / jnp.abs(jnp.log(_mean_over_steps(trace.update, trace.exists)))


def gate_saturation(trace: GateTrace, margin: float = 0.1) -> GateSaturation:
    """How often each unit's gates are saturated: within `margin` of an end of their range.

    Args:
        trace: from `trace_gates`.
        margin: between 0 and 1/2, exclusive.

    Returns:
        `GateSaturation`; each field is a fraction of all existing steps, `[H]`: NaN if no step
        exists or this gate of the unit is NaN in one.

    Raises:
        ValueError: if `trace` is no `GateTrace` of matching arrays, or `margin` is not in (0, 1/2).

    Example:
        >>> import jax, grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=2)
        >>> gate_saturation(trace_gates(params, jnp.zeros((5, 3)))).update_open.tolist()
        [0.0, 0.0]

    Reference:
        Karpathy et al. 2015, https://arxiv.org/abs/1506.02078
    """
    margin = check_number("margin", margin, "(0, 0.5)")
    reset, update, candidate, _, exists = check_trace(trace)

    def share(gate: Array, saturated: Array) -> Array:
        return _mean_over_steps(jnp.where(jnp.isnan(gate), jnp.nan, saturated), exists)

    return GateSaturation(
        reset_shut=share(reset, reset < margin),
        reset_open=share(reset, reset > 1 - margin),
        update_shut=share(update, update < margin),
        update_open=share(update, update > 1 - margin),
        candidate=share(candidate, jnp.abs(candidate) > 1 - margin),
    )


def check_trace(trace: GateTrace) -> GateTrace:
    """The trace with its fields as arrays; raises ValueError unless their shapes match."""
    check_instance("trace", trace, GateTrace, "trace_gates")
    *gates, exists = trace
    names = GateTrace._fields
    arrays = [as_floating(f"trace.{name}", gate) for name, gate in zip(names, gates, strict=False)]
    reset, update, candidate, hs = arrays
    exists = as_array("trace.exists", exists)
    (shape, *others) = (array.shape for array in arrays)
    fits = len(shape) >= 2 and all(other == shape for other in others)
    if not fits or exists.shape != shape[:-1] or exists.dtype != bool:
        got = (f"{name} {list(array.shape)}" for name, array in zip(names, arrays, strict=False))
        raise ValueError(
            "`trace` must have the shapes [T, B, H], and exists [T, B] of bool, got "
            f"{', '.join(got)} and exists {list(exists.shape)} of {exists.dtype}."
        )
    return GateTrace(reset, update, candidate, hs, exists)


def _mean_over_steps(values: Array, exists: Array) -> Array:
    """The mean of `[T, B, H]` over the existing steps of all rows: `[H]`."""
    rows = tuple(range(values.ndim - 1))
    return jnp.mean(values, axis=rows, where=exists[..., None])
