"""How much of what each step wrote into the state remains when it is read."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.analysis.checks import as_numbers
from grujax.analysis.gates import GateTrace, check_trace
from grujax.checks import check_bool


def gate_relevance(
    trace: GateTrace, readout: ArrayLike | None = None, *, reverse: bool = False
) -> Array:
    """How much of what each step wrote remains, according to the gates, when the state is read.

    A GRU's state is a sum of what every step wrote, scaled by all later update gates:

        h_t = Σ_{s≤t} (Π_{s<u≤t} z_u) ∘ (1 − z_s) ∘ n_s  +  (Π_{u≤t} z_u) ∘ h_0

    so a linear readout Σ_t readout_t · h_t is also a sum over the steps s. The gates are taken as
    given: how a step changed the gates of later steps is not attributed to it.

    Args:
        trace: from `trace_gates`.
        readout: floats or integers, broadcast against `[T, B, H]`: the weight of each state in the
            readout, such as a class's weights times an attention over time. By default the last
            state is read with weight 1 for every unit.
        reverse: as in the trace.

    Returns:
        `[T, B, H]` in the dtype of the gates, zero in the padding. The sum over T is (by default)
        the last state minus what remains of `h0`; the sum over T and H is Σ readout ∘ hs minus the
        part of `h0`. NaN where a later gate or weight of the unit is NaN.

    Raises:
        ValueError: if `trace` is no `GateTrace` of matching arrays, or `readout` does not broadcast
            against `[T, B, H]`.

    Example:
        >>> import grujax
        >>> from grujax.analysis import trace_gates
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=6)
        >>> trace = trace_gates(params, jnp.ones((5, 2, 3)))
        >>> bool(jnp.allclose(gate_relevance(trace).sum(0), trace.hs[-1], atol=1e-6))
        True

    Reference:
        Du et al. 2019, https://arxiv.org/abs/1903.11245
    """
    trace, reverse = check_trace(trace), check_bool("reverse", reverse)
    shape = trace.update.shape
    exists = trace.exists[..., None]
    if readout is None:
        weights = _last_steps(trace.exists, reverse)[..., None].astype(trace.update.dtype)
    else:
        weights = as_numbers("readout", readout)
    try:
        weights = jnp.broadcast_to(weights, shape)
    except ValueError:
        raise ValueError(
            f"`readout` has shape {list(weights.shape)} and does not broadcast against "
            f"[T, B, H] = {list(shape)} of the trace."
        ) from None
    weights = jnp.where(exists, weights, 0)
    keep = jnp.where(exists, trace.update, 1)  # padding carries the state

    def read_later(later, step):
        weight, keep = step
        read = weight + later  # the total readout weight of the state after this step
        return keep * read, read

    zero = jnp.zeros(shape[1:], jnp.result_type(weights, keep))
    _, read = meshes.scan(read_later, zero, (weights, keep), reverse=not reverse)
    return jnp.where(exists, (1 - keep) * trace.candidate * read, 0)


def _last_steps(exists: Array, reverse: bool) -> Array:
    """`[T, B]` bool: the step that each row processes last."""
    if reverse:
        return exists & (jnp.arange(len(exists)).reshape(-1, *(1,) * (exists.ndim - 1)) == 0)
    follows = jnp.concatenate([exists[1:], jnp.zeros_like(exists[:1])])[: len(exists)]
    return exists & ~follows
