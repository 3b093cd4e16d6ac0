"""The bootstrap over groups, against resampling group by group."""

import numpy as np
import pytest

from experiments.common.report.bootstrap import ratio_interval


def test_whole_groups_are_drawn():
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(list("abcdefghij"), np.arange(1, 11)))
    numerators, denominators = rng.random(55), rng.integers(1, 4, 55)
    sums = np.array(
        [(numerators[groups == g].sum(), denominators[groups == g].sum()) for g in set(groups)]
    )
    drawn = sums[rng.integers(10, size=(20_000, 10))].sum(1)
    expected = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    found = ratio_interval(numerators, denominators, groups, draws=20_000)
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert found == ratio_interval(numerators, denominators, groups, draws=20_000)


def test_groups_that_agree_have_an_interval_of_no_width():
    groups = np.array([0, 0, 1, 2])
    interval = ratio_interval(np.full(4, 0.5), np.ones(4), groups, draws=100)
    assert interval == pytest.approx((0.5, 0.5))
