"""Which member copies which, and how hyperparameters change then."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grujax import sweep

KEYS = jax.random.split(jax.random.key(0), 400)


@cache  # equal functions share their compiled programs
def draw_many(function):
    """`(keys [draws], value) -> results [draws, ...]`."""
    return jax.jit(jax.vmap(function, in_axes=(0, None)))


@given(data=st.data(), n=st.sampled_from([1, 5, 8]), fraction=st.sampled_from([0.25, 0.4]))
def test_truncation_replaces_the_worst_by_the_best(data, n, fraction):
    score = st.integers(-5, 5) | st.just(-np.inf)
    scores = np.array(data.draw(st.lists(score, min_size=n, max_size=n)), np.float32)
    count = max(1, int(fraction * n))
    ordered = np.argsort(-scores, kind="stable")
    sound = [int(i) for i in ordered if scores[i] > -np.inf]
    donors = set(sound[:count])
    worst = {int(i) for i in ordered[n - count :]} | set(range(n)) - set(sound)
    parents = draw_many(sweep.truncation(fraction))(KEYS, jnp.asarray(scores))
    parents = np.asarray(parents)  # [draws, n]
    for member in range(n):
        expected = donors if member in worst and donors else {member}
        assert set(parents[:, member].tolist()) <= expected
        if len(donors) < 4:  # all of them are drawn
            assert set(parents[:, member].tolist()) == expected


def test_all_donors_are_equally_likely():
    parents = np.asarray(draw_many(sweep.truncation(0.5))(KEYS, jnp.arange(8.0)))[:, :4]
    shares = np.bincount(parents.ravel(), minlength=8) / parents.size
    np.testing.assert_allclose(shares, [0] * 4 + [0.25] * 4, atol=0.05)  # 5 standard deviations


@given(value=st.floats(1e-3, 1e3), lo=st.floats(1e-4, 1.0), width=st.floats(0.1, 100.0))
def test_perturbed_values_are_multiples_clipped_to_the_bounds(value, lo, width):
    hi = lo + width
    drawn = jax.vmap(sweep.perturb(lo, hi, (0.5, 3.0)), in_axes=(0, None))(KEYS, jnp.float32(value))
    expected = np.clip([0.5 * value, 3 * value], lo, hi)
    near = np.isclose(np.asarray(drawn)[:, None], expected, rtol=1e-5)
    assert near.any(1).all()
    assert near.any(0).all()


def test_perturbed_integers_are_rounded():
    drawn = draw_many(sweep.perturb(2, 30))(KEYS, jnp.int32(6))
    assert set(np.asarray(drawn).tolist()) == {5.0, 8.0}  # 4.8 and 7.5


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (sweep.choice([1, 2, 5]), {1, 2, 5}),
        (sweep.integer(3, 6), {3, 4, 5}),
        (sweep.choice([True, False]), {True, False}),
    ],
)
def test_resampled_values_come_from_the_distribution(distribution, values):
    drawn = draw_many(sweep.resample(distribution))(KEYS, jnp.asarray(next(iter(values))))
    drawn = np.asarray(drawn)
    assert set(drawn.tolist()) == values


def test_resampling_keeps_some_values():
    explore = sweep.resample(sweep.log_uniform(1e-3, 1e-1), 0.25)
    drawn = np.asarray(draw_many(explore)(KEYS, jnp.float32(7.0)))
    assert abs((drawn == 7).mean() - 0.75) < 0.1  # 4.6 standard deviations
    others = drawn[drawn != 7]
    assert others.min() >= 1e-3 * (1 - 1e-6)
    assert others.max() <= 0.1
    assert abs(np.median(np.log10(others)) + 2) < 0.4


def test_equal_arguments_give_the_same_function():
    assert sweep.truncation(0.2) is sweep.truncation(0.2)
    assert sweep.perturb(1e-3, 1) is sweep.perturb(1e-3, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweep.truncation(0.6), "`fraction` must be above 0 and at most 1/2, got 0.6"),
        (lambda: sweep.truncation(0.0), "`fraction` must be above 0"),
        (lambda: sweep.perturb(1, 0), "`perturb` needs finite bounds lo < hi, got 1 and 0"),
        (lambda: sweep.perturb(0, 1, ()), r"`factors` must be positive numbers, got \(\)"),
        (lambda: sweep.perturb(0, 1, (-1.0,)), "`factors` must be positive"),
        (
            lambda: sweep.resample([1, 2]),
            r"`distribution` must be a distribution, such as .* got \[1, 2\]",
        ),
        (lambda: sweep.resample(sweep.uniform(0, 1), 0), "`probability` must be above 0"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
