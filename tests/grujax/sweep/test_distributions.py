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
        (lambda: sweep.uniform(1, 1), "`uniform` needs finite bounds lo < hi, got 1 and 1"),
        (lambda: sweep.log_uniform(0, 1), "`log_uniform` needs positive bounds, got lo = 0"),
        (lambda: sweep.integer(0, np.inf), "`integer` needs finite bounds lo < hi, got 0 and inf"),
        (lambda: sweep.choice([]), r"`choice` must have a list of one or more values, got \[\]"),
    ],
)
def test_bad_bounds_and_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
