"""Distributions turn uniform numbers into hyperparameters with the right quantiles."""

import jax
import numpy as np
import pytest

from grujax import sweep


@pytest.mark.parametrize("sobol", [False, True])
def test_distributions_have_their_quantiles(sobol):
    drawn = sweep.sample(
        jax.random.key(1),
        4096,
        sobol=sobol,
        a=sweep.uniform(2, 6),
        b=sweep.log_uniform(1e-4, 1.0),
        c=sweep.integer(0, 4),
    )
    # Four standard deviations of a quantile of 4096 independent draws.
    np.testing.assert_allclose(np.quantile(drawn["a"], [0.25, 0.5]), [3, 4], atol=0.13)
    np.testing.assert_allclose(np.quantile(np.log10(drawn["b"]), 0.5), -2, atol=0.13)
    np.testing.assert_allclose(np.bincount(drawn["c"]) / 4096, 0.25, atol=0.03)
    assert abs(np.corrcoef(drawn["a"], np.log(drawn["b"]))[0, 1]) < 0.07


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweep.uniform(1, 1), "`lo` must be below `hi`, got 1 and 1"),
        (lambda: sweep.uniform(-1e308, 1e308), "`hi` - `lo` must be finite"),
        (lambda: sweep.uniform("0", 1), "`lo` must be a finite number, got '0'"),
        (lambda: sweep.uniform(True, 2), "`lo` must be a finite number, got True"),
        (lambda: sweep.log_uniform(0, 1), "`lo` must be positive, got 0"),
        (lambda: sweep.log_uniform(1e-200, 1e200), "`hi` / `lo` must be finite"),
        (lambda: sweep.integer(0, np.inf), "`hi` must be an integer from .*, got inf"),
        (lambda: sweep.integer(0, 2.0), "`hi` must be an integer from .*, got 2.0"),
        (lambda: sweep.integer(0, 2**54), "`hi - lo` must be at most 9007199254740992, got 1801"),
        (lambda: sweep.choice([]), "`values` must have one or more values, got a list of 0"),
        (lambda: sweep.choice(["gru", 1]), "`values` mixes strings with other values"),
        (lambda: jax.jit(lambda lo: sweep.uniform(lo, 2.0)(0.5))(1.0), "`lo` must be a number tha"),
    ],
)
def test_bad_bounds_and_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (sweep.uniform(0, 1e300), r"`hi` holds 1e\+300, which does not fit float32"),
        (sweep.uniform(-3e38, 3e38), r"`hi - lo` holds 6e\+38, which does not fit"),
        (sweep.log_uniform(1e-50, 1), r"`lo` holds 1e-50, which does not fit"),
        (sweep.log_uniform(1e-20, 1e20), r"`hi / lo` holds 1e\+40, which does not fit"),
        (sweep.integer(2**40, 2**40 + 3), "`lo` holds 1099511627776, which does not fit int32"),
        (sweep.integer(2**31 - 3, 2**31 + 1), "`hi - 1` holds 2147483648, which does not fit"),
        (sweep.integer(0, 2**24), "`hi - lo` must be at most 8388608, got 16777216"),
        (sweep.choice([1, 2**40]), "`values` holds 1099511627776, which does not fit int32"),
        (sweep.choice([1e-50]), "`values` holds 1e-50, which does not fit float32"),
        (sweep.choice(["gru"]), "`values` holds strings, which cannot be traced"),
    ],
)
def test_a_traced_distribution_must_fit_jax_numbers(distribution, message):
    """Otherwise wrapped, infinite or NaN values would be drawn."""
    distribution(np.array([0.0, 0.5]))  # NumPy's 64 bits suffice
    for function in (distribution, jax.jit(distribution)):
        with pytest.raises(ValueError, match=message):
            function(jax.numpy.float32(0.5))


def test_wide_distributions_are_drawn_with_64_bits():
    with jax.enable_x64(True):
        u = jax.numpy.array([0.0, 0.5])
        assert sweep.integer(2**40, 2**40 + 4)(u).tolist() == [2**40, 2**40 + 2]
        assert sweep.choice([1e300, 1e-50])(u).tolist() == [1e300, 1e-50]


def test_the_greatest_integers_are_drawn():
    u = np.array([0.0, np.nextafter(1.0, 0.0)])
    assert sweep.integer(-(2**31), -(2**31) + 5)(jax.numpy.float32(0.99)) == -(2**31) + 4
    assert sweep.integer(0, 2**53)(u).tolist() == [0, 2**53 - 1]
    assert sweep.integer(2**63 - 4, 2**63 - 1)(u).tolist() == [2**63 - 4, 2**63 - 2]
