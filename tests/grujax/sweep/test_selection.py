"""Which member copies which, and how hyperparameters change then."""

import math
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
    assert drawn.dtype == np.int32
    assert set(np.asarray(drawn).tolist()) == {5, 8}  # 4.8 and 7.5


@given(
    value=st.integers(-(2**31), 2**31 - 1),
    bounds=st.lists(st.floats(-(2.0**31), 2.0**31 - 1), min_size=2, max_size=2, unique=True),
    factor=st.floats(1e-3, 1e3),
)
def test_perturbed_integers_stay_within_their_bounds(value, bounds, factor):
    lo, hi = sorted(bounds)
    if math.floor(hi) < math.ceil(lo):
        return
    changed = sweep.perturb(lo, hi, (factor,))(KEYS[0], jnp.int32(value))
    assert lo <= int(changed) <= hi
    if abs(value * factor) < 2**23:
        expected = np.clip(np.round(value * factor), math.ceil(lo), math.floor(hi))
        assert abs(int(changed) - expected) <= 1


def test_perturbed_values_of_any_size_stay_within_their_bounds():
    assert sweep.perturb(0, 2**31 - 1, (2.0,))(KEYS[0], jnp.int32(2**31 - 1)) > 2**31 - 1000
    assert sweep.perturb(0, 3e38, (2.0,))(KEYS[0], jnp.float32(3e38)) == np.float32(3e38)
    assert sweep.perturb(1, 5)(KEYS[0], jnp.float16(3)).dtype == np.float16
    assert sweep.perturb(1.5, 8.6, (2.0, 0.1))(KEYS[0], jnp.uint32(5)) in (2, 8)


@pytest.mark.parametrize(
    ("explore", "value", "message"),
    [
        (sweep.perturb(0, 1e300), 1.0, r"`hi` holds 1e\+300, which does not fit float32"),
        (sweep.perturb(1e-50, 1), 1.0, "`lo` holds 1e-50, which does not fit float32"),
        (sweep.perturb(1, 2**40), 3, "`hi` holds 1099511627776, which does not fit int32"),
        (sweep.perturb(-1, 8), np.uint32(3), "`lo` holds -1, which does not fit uint32"),
        (sweep.perturb(0, 1, (1e-50,)), 1.0, "`factors` holds 1e-50, which does not fit"),
        (sweep.perturb(1.2, 1.8), 1, "`lo` and `hi` have no integer between them"),
        (sweep.perturb(0, 1), True, "`perturb` changes integers and floats, not a value of bool"),
        (sweep.resample(sweep.choice([2**40])), 1, "`values` holds 1099511627776"),
    ],
)
def test_values_that_do_not_fit_the_hyperparameter_are_refused(explore, value, message):
    with pytest.raises(ValueError, match=message):
        explore(KEYS[0], jnp.asarray(value))


@pytest.mark.parametrize("worst", [np.nan, -np.inf, np.finfo(np.float32).min])
def test_failed_members_are_replaced_and_never_copied(worst):
    scores = jnp.array([worst, worst, worst, 2.0, worst])
    parents = draw_many(sweep.truncation(0.5))(KEYS, scores)
    assert np.all(np.asarray(parents) == 3)


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
        (lambda: sweep.truncation(0.6), r"`fraction` must be a number in \(0, 0.5\], got 0.6"),
        (lambda: sweep.truncation(0.0), r"`fraction` must be a number in \(0, 0.5\], got 0.0"),
        (lambda: sweep.truncation([]), r"`fraction` must be a number in \(0, 0.5\], got a list"),
        (lambda: sweep.perturb(1, 0), "`lo` must be below `hi`, got 1 and 0"),
        (lambda: sweep.perturb(0, 1, ()), "`factors` must be a non-empty list of positive numb"),
        (lambda: sweep.perturb(0, 1, (-1.0,)), r"`factors` must be a number in \(0, inf\)"),
        (
            lambda: sweep.resample([1, 2]),
            "`distribution` must be a distribution, such as .* got a list of 2",
        ),
        (lambda: sweep.resample(sweep.uniform(0, 1), 0), r"`probability` must be a number in \(0,"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
