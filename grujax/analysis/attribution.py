"""What an answer rests on: integrated gradients, occlusion, gate-based relevance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from grujax.analysis.gates import GateTrace

PyTree = Any


class Attribution(NamedTuple):
    """What each input contributes to a score, and whether the contributions add up."""

    values: PyTree  # in the structure and shapes of the inputs
    total: Array  # []: score(inputs) − score(baseline), which they should add up to
    completeness_error: Array  # []: |sum of the values − total| / |total|


def integrated_gradients(
    score: Callable[[PyTree], Array],
    inputs: PyTree,
    baseline: PyTree | None = None,
    *,
    steps: int = 32,
) -> Attribution:
    """What each input contributes to a score, by the gradients on the way from a baseline:

        (x − x̄) ∘ ∫₀¹ ∂score/∂x (x̄ + α·(x − x̄)) dα

    The contributions add up to score(x) − score(x̄), but for the error of the integral, which is
    taken by Gauss–Legendre quadrature and returned.

    Args:
        score: `score(inputs) -> []`, such as the logit of a class; for a batch use `jax.vmap`.
        inputs: an array or pytree of floating arrays, such as embeddings `[T, I]`.
        baseline: the same structure and shapes: an input that says nothing. Zeros by default.
        steps: gradients that are taken.

    Returns:
        `Attribution`; sum `values` over the features for one number per step. More `steps` help
        where `completeness_error` is large.

    Raises:
        ValueError: if the structure or the shapes of `baseline` differ from those of `inputs`,
            `steps` is not positive, or `score` does not return a scalar.

    Example:
        >>> xs = jnp.array([1.0, 2.0])
        >>> attribution = integrated_gradients(lambda xs: xs[0] ** 2 + 3 * xs[1], xs)
        >>> [round(value, 4) for value in attribution.values.tolist()]
        [1.0, 6.0]

    Reference:
        Sundararajan, Taly & Yan 2017, https://arxiv.org/abs/1703.01365
    """
    if steps < 1:
        raise ValueError(f"`steps` must be positive, got {steps}.")
    inputs = jax.tree.map(jnp.asarray, inputs)
    baseline = _baseline(inputs, baseline)
    difference = jax.tree.map(jnp.subtract, inputs, baseline)
    ends = score(inputs), score(baseline)
    if jnp.shape(ends[0]):
        raise ValueError(f"`score` must return a scalar, got shape {list(jnp.shape(ends[0]))}.")
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [−1, 1]

    def add_gradient(mean, node_and_weight):
        node, weight = node_and_weight
        point = jax.tree.map(lambda x, d: x + (node * d).astype(x.dtype), baseline, difference)
        gradient = jax.grad(score)(point)
        return jax.tree.map(lambda m, g: m + (weight * g).astype(m.dtype), mean, gradient), None

    path = jnp.asarray((nodes + 1) / 2), jnp.asarray(weights / 2)
    mean, _ = jax.lax.scan(add_gradient, jax.tree.map(jnp.zeros_like, inputs), path)
    values = jax.tree.map(jnp.multiply, difference, mean)
    total = ends[0] - ends[1]
    attributed = sum(jnp.sum(value) for value in jax.tree.leaves(values))
    return Attribution(values, total, jnp.abs(attributed - total) / jnp.abs(total))


def occlusion(
    score: Callable[[PyTree], Array],
    inputs: PyTree,
    baseline: PyTree | None = None,
    *,
    window: int = 1,
) -> Array:
    """By how much a score falls when a step's input is replaced by the baseline.

    Args:
        score: `score(inputs) -> []`; for a batch use `jax.vmap`.
        inputs: an array or pytree of arrays with a leading time axis, `[T, ...]`.
        baseline: the same structure and shapes; zeros by default.
        window: how many steps are replaced at once, the step in their middle.

    Returns:
        `[T]`: score(inputs) − score(inputs with this step replaced). 0 in the padding, which
        `score` does not read.

    Raises:
        ValueError: if the structure or the shapes of `baseline` differ from those of `inputs`,
            there is no common time axis, or `window` is not positive.

    Example:
        >>> occlusion(lambda xs: xs[0] * xs[1] + xs[2], jnp.array([2.0, 3.0, 1.0])).tolist()
        [6.0, 6.0, 1.0]

    Reference:
        Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901; Li, Monroe & Jurafsky 2016,
        https://arxiv.org/abs/1612.08220
    """
    if window < 1:
        raise ValueError(f"`window` must be positive, got {window}.")
    inputs = jax.tree.map(jnp.asarray, inputs)
    baseline = _baseline(inputs, baseline)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(inputs)}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(f"`inputs` must share one leading time axis, got {sorted(lengths)}.")
    ((steps,),) = lengths
    times = jnp.arange(steps)

    def score_without(step):
        first = step - (window - 1) // 2
        hidden = (times >= first) & (times < first + window)

        def replace(x, other):
            return jnp.where(hidden.reshape(-1, *(1,) * (x.ndim - 1)), other, x)

        return score(jax.tree.map(replace, inputs, baseline))

    return score(inputs) - jax.lax.map(score_without, times)


def gate_relevance(
    trace: GateTrace, readout: ArrayLike | None = None, *, reverse: bool = False
) -> Array:
    """How much of what each step wrote is left, by the gates alone, where it is read.

    A GRU's state is a sum of what every step wrote, each kept by the update gates since then:

        h_t = Σ_{s≤t} (Π_{s<u≤t} z_u) ∘ (1 − z_s) ∘ n_s  +  (Π_{u≤t} z_u) ∘ h_0

    so a linear readout Σ_t readout_t · h_t is a sum over the steps s too. The gates count as given:
    that a step opened or shut them for others is not attributed to it.

    Args:
        trace: from `trace_gates`.
        readout: broadcast against `[T, B, H]`: the weight with which each state is read, such as
            a class's weights times an attention over time. By default the last state is read, and
            every unit counts by itself, with weight 1.
        reverse: as in the trace.

    Returns:
        `[T, B, H]`, zero in the padding. The sum over T is the last state (by default) less what
        is left of `h0`; the sum over T and H is Σ readout ∘ hs, less the part of `h0`.

    Raises:
        ValueError: if `readout` does not broadcast against `[T, B, H]`.

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
    shape = trace.update.shape
    exists = trace.exists[..., None]
    if readout is None:
        weights = _last_steps(trace.exists, reverse)[..., None].astype(trace.update.dtype)
    else:
        weights = jnp.asarray(readout)
    try:
        weights = jnp.broadcast_to(weights, shape)
    except ValueError:
        raise ValueError(
            f"`readout` has shape {list(weights.shape)} and does not broadcast against "
            f"[T, B, H] = {list(shape)} of the trace."
        ) from None
    weights = jnp.where(exists, weights, 0)
    keep = jnp.where(exists, trace.update, 1)  # the padding carries the state

    def read_later(later, step):
        weight, keep = step
        read = weight + later  # of what is in the state after this step
        return keep * read, read

    zero = jnp.zeros(shape[1:], jnp.result_type(weights, keep))
    _, read = jax.lax.scan(read_later, zero, (weights, keep), reverse=not reverse)
    return (1 - keep) * trace.candidate * read


def _last_steps(exists: Array, reverse: bool) -> Array:
    """`[T, B]`: the last step of each row's walk."""
    if reverse:
        return exists & (jnp.arange(len(exists)).reshape(-1, *(1,) * (exists.ndim - 1)) == 0)
    follows = jnp.concatenate([exists[1:], jnp.zeros_like(exists[:1])])[: len(exists)]
    return exists & ~follows


def _baseline(inputs: PyTree, baseline: PyTree | None) -> PyTree:
    if baseline is None:
        return jax.tree.map(jnp.zeros_like, inputs)
    baseline = jax.tree.map(jnp.asarray, baseline)
    got, expected = (
        (jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)])
        for tree in (baseline, inputs)
    )
    if got != expected:
        raise ValueError(
            f"`baseline` must have the structure and shapes of `inputs`, got {got[0]} of "
            f"{got[1]} for {expected[0]} of {expected[1]}."
        )
    return baseline
