"""The contribution of each input to a score: integrated gradients and occlusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.analysis.checks import as_floating_leaves, check_function, check_scalar
from grujax.checks import as_arrays, check_integer
from grujax.jax_support.pytrees import register

PyTree = Any

MAX_STEPS = 4096  # the nodes of a quadrature are the eigenvalues of a dense matrix of this size


@register
class Attribution(NamedTuple):
    """The contribution of each input to a score, and whether the contributions add up."""

    values: PyTree  #: the structure, shapes and dtypes of the inputs
    total: Array  #: []: score(inputs) − score(baseline), the exact sum of the contributions
    #: []: |sum of the values − total| / |total|; for a total of 0 infinite, or NaN if the sum is 0
    completeness_error: Array


def integrated_gradients(
    score: Callable[[PyTree], Array],
    inputs: PyTree,
    baseline: PyTree | None = None,
    *,
    steps: int = 32,
) -> Attribution:
    """Attributes a score to the inputs by its gradients along a line from a baseline:

        (x − x̄) ∘ ∫₀¹ ∂score/∂x (x̄ + α·(x − x̄)) dα

    The contributions add up to score(x) − score(x̄), except for the error of the Gauss–Legendre
    quadrature, which is returned.

    Args:
        score: `score(inputs) -> []`, such as the logit of a class; for a batch use `jax.vmap`.
        inputs: an array or pytree of floating arrays, such as embeddings `[T, I]`. A list is a
            pytree, too.
        baseline: an uninformative input of the same structure and shapes; zeros by default.
        steps: the number of gradients in the quadrature, at most 4096.

    Returns:
        `Attribution`. Sum `values` over the features to get one number per step. Increase `steps`
        if `completeness_error` is large.

    Raises:
        ValueError: if `inputs` or `baseline` are not floating, their structure or shapes differ,
            `steps` is out of range, or `score` does not return a floating scalar.

    Example:
        >>> xs = jnp.array([1.0, 2.0])
        >>> attribution = integrated_gradients(lambda xs: xs[0] ** 2 + 3 * xs[1], xs)
        >>> [round(value, 4) for value in attribution.values.tolist()]
        [1.0, 6.0]

    Reference:
        Sundararajan, Taly & Yan 2017, https://arxiv.org/abs/1703.01365
    """
    check_function("score", score, "inputs")
    steps = check_integer("steps", steps, maximum=MAX_STEPS)
    inputs = as_floating_leaves("inputs", inputs)
    if baseline is not None:
        baseline = as_floating_leaves("baseline", baseline)
    baseline = _check_baseline(inputs, baseline)
    difference = jax.tree.map(jnp.subtract, inputs, baseline)
    ends = (check_scalar("score", score(inputs)), check_scalar("score", score(baseline)))
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
    """The decrease of a score when the input of each step is replaced by a baseline.

    Args:
        score: `score(inputs) -> []`; for a batch use `jax.vmap`.
        inputs: an array or pytree of arrays with a leading time axis, `[T, ...]`. A list is a
            pytree, too.
        baseline: an input of the same structure and shapes; zeros by default.
        window: the number of steps to replace at once, centered at each step.

    Returns:
        `[T]`: score(inputs) − score(inputs with this step replaced). It is 0 in padding that
        `score` does not read.

    Raises:
        ValueError: if the structure or the shapes of `baseline` differ from those of `inputs`,
            there is no common time axis, `window` is not positive, or `score` does not return a
            floating scalar.

    Example:
        >>> occlusion(lambda xs: xs[0] * xs[1] + xs[2], jnp.array([2.0, 3.0, 1.0])).tolist()
        [6.0, 6.0, 1.0]

    Reference:
        Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901; Li, Monroe & Jurafsky 2016,
        https://arxiv.org/abs/1612.08220
    """
    check_function("score", score, "inputs")
    window = check_integer("window", window)
    inputs = as_arrays("inputs", inputs)
    baseline = _check_baseline(inputs, baseline)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(inputs)}
    if len(lengths) != 1 or lengths == {()}:
        got = sorted(leaf.shape for leaf in jax.tree.leaves(inputs))
        raise ValueError(f"`inputs` must share one leading time axis, got the shapes {got}.")
    ((steps,),) = lengths
    times = jnp.arange(steps)

    def score_without(step):
        first = step - (window - 1) // 2
        hidden = (times >= first) & (times < first + window)

        def replace(x, other):
            return jnp.where(hidden.reshape(-1, *(1,) * (x.ndim - 1)), other, x)

        return check_scalar("score", score(jax.tree.map(replace, inputs, baseline)))

    return check_scalar("score", score(inputs)) - jax.lax.map(score_without, times)


def _check_baseline(inputs: PyTree, baseline: PyTree | None) -> PyTree:
    if baseline is None:
        return jax.tree.map(jnp.zeros_like, inputs)
    baseline = as_arrays("baseline", baseline)
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
