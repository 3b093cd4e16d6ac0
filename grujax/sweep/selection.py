"""Exploitation and exploration: which member copies which, and how hyperparameters change then.

An `Exploit`, `(key, scores [n]) -> parents [n]`, names for each member the one whose state and
hyperparameters it copies, or the member itself if it keeps its own. Greater scores are better; the
score of a member with NaN is −∞, and that of one with an infinite loss the least finite number. An
`Explore`, `(key, value []) -> value []`, changes one hyperparameter of a member that copied another
one, and keeps its kind: an integer stays one. Both are traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.checks import check_sequence
from grujax.sweep.distributions import Distribution, check_bounds, check_distribution
from grujax.sweep.values import check_fit, concrete_number

Exploit = Callable[[Array, Array], Array]
Explore = Callable[[Array, Array], Array]


def truncation(fraction: float = 0.25) -> Exploit:
    """Truncation selection: each of the worst members copies one of the best.

    Args:
        fraction: the share of members that count as worst, and as best: rounded down, but at least
            one member. Members with NaN or an infinite loss are always replaced, and never copied.

    Returns:
        A function for `population`: `(key, scores [n]) -> parents [n]`.

    Raises:
        ValueError: unless the fraction is a number with 0 < fraction ≤ 1/2.

    Example:
        >>> exploit = truncation(0.25)
        >>> exploit(jax.random.key(0), jnp.array([3.0, 9.0, 1.0, 5.0])).tolist()
        [0, 1, 1, 3]

    Reference:
        Jaderberg et al. 2017, "Population Based Training of Neural Networks",
        https://arxiv.org/abs/1711.09846
    """
    return _truncation(concrete_number("fraction", fraction, "(0, 0.5]"))


def perturb(lo: float, hi: float, factors: tuple[float, ...] = (0.8, 1.25)) -> Explore:
    """Multiplies a hyperparameter by one of the factors, all equally likely.

    Args:
        lo, hi: the bounds to which the product is clipped.
        factors: positive numbers. Integer hyperparameters are rounded, within the bounds.

    Returns:
        A function for `population`: `(key, value []) -> value []`, of the same dtype.

    Raises:
        ValueError: for bounds that are not finite numbers or in the wrong order, or factors that
            are not positive. When it is traced: for a hyperparameter that is not a real number, or
            bounds or factors that do not fit its dtype.

    Example:
        >>> explore = perturb(1e-4, 0.1, factors=(2.0,))
        >>> float(explore(jax.random.key(0), jnp.float32(0.03125)))
        0.0625
    """
    lo, hi = check_bounds(lo, hi)
    check_sequence("factors", factors, "positive numbers")
    numbers = (concrete_number("factors", factor, "(0, inf)") for factor in factors)
    return _perturbation(lo, hi, tuple(numbers))


def resample(distribution: Distribution, probability: float = 1.0) -> Explore:
    """Draws a new value of a hyperparameter.

    Args:
        distribution: `uniform`, `log_uniform`, `integer` or `choice`; or any function from a number
            in [0, 1) to a value, which is traced.
        probability: of drawing a new value; otherwise the old one stays.

    Returns:
        A function for `population`: `(key, value []) -> value []`.

    Raises:
        ValueError: for an argument that is not a distribution, or a probability outside of (0, 1].

    Example:
        >>> from grujax.sweep import integer
        >>> value = resample(integer(2, 5))(jax.random.key(0), jnp.int32(64))
        >>> int(value) in (2, 3, 4)
        True
    """
    check_distribution("distribution", distribution)
    return partial(_draw, distribution, concrete_number("probability", probability, "(0, 1]"))


@cache  # equal arguments give the same function, so that its compiled programs are reused
def _truncation(fraction: float) -> Exploit:
    return partial(_truncate, fraction)


def _truncate(fraction: float, key: Array, scores: Array) -> Array:
    n = len(scores)
    count = max(1, int(fraction * n))
    order = jnp.argsort(-scores)  # the best first
    rank = jnp.argsort(order)
    failed = ~(scores > jnp.finfo(scores.dtype).min)
    best = jnp.minimum(count, n - failed.sum())
    donors = order[jax.random.randint(key, (n,), 0, jnp.maximum(best, 1))]
    replaced = ((rank >= n - count) | failed) & (best > 0)
    return jnp.where(replaced, donors, jnp.arange(n))


@cache
def _perturbation(lo: float, hi: float, factors: tuple[float, ...]) -> Explore:
    return partial(_perturb, lo, hi, factors)


def _perturb(lo: float, hi: float, factors: tuple[float, ...], key: Array, value: Array) -> Array:
    is_integer = jnp.issubdtype(value.dtype, jnp.integer)
    if not is_integer and not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"`perturb` changes integers and floats, not a value of {value.dtype}.")
    if is_integer:
        lo, hi = math.ceil(lo), math.floor(hi)
        if lo > hi:
            raise ValueError("`lo` and `hi` have no integer between them, to perturb one.")
    check_fit("lo", lo, value.dtype)
    check_fit("hi", hi, value.dtype)
    check_fit("factors", np.array(factors, float))
    product = value * jax.random.choice(key, jnp.array(factors, float))
    if not is_integer:
        return jnp.clip(product, lo, hi).astype(value.dtype)
    convertible = jnp.clip(jnp.round(product), *_float_limits(value.dtype, product.dtype))
    return jnp.clip(convertible.astype(value.dtype), lo, hi)


def _float_limits(integer: np.dtype, floating: np.dtype) -> tuple[np.floating, np.floating]:
    """The least and the greatest float that an integer dtype holds."""
    limits = jnp.iinfo(integer)
    greatest = floating.type(limits.max)
    if int(greatest) > limits.max:  # rounded up to a power of two
        greatest = np.nextafter(greatest, floating.type(0))
    return floating.type(limits.min), greatest


def _draw(distribution: Distribution, probability: float, key: Array, value: Array) -> Array:
    choice_key, value_key = jax.random.split(key)
    drawn = distribution(jax.random.uniform(value_key))
    return jnp.where(jax.random.bernoulli(choice_key, probability), drawn, value)
