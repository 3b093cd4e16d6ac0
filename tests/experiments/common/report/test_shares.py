"""The interval of a share."""

import pytest
from scipy.stats import binomtest

from experiments.common.report.shares import wilson_interval


@pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 7), (1, 1), (90, 100)])
def test_the_interval_is_that_of_scipy(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    found = wilson_interval(right / count, count)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-4)
