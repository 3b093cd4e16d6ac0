"""Costs between the sizes that were trained."""

import pytest

from experiments.streaming.equal_quality import common_error, cost_at

ERRORS, COSTS = [2.0, 1.5, 1.0], [1.0, 4.0, 64.0]


def test_the_common_error_is_the_worst_best():
    assert common_error({"gru": [2.0, 1.5, 1.6], "lstm": [1.9, 1.8, 1.7]}) == 1.7


@pytest.mark.parametrize(
    ("error", "cost", "is_bound"),
    [
        (1.0, 64.0, False),
        (1.75, 2.0, False),
        (1.25, 16.0, False),
        (2.0, 1.0, False),
        (2.1, 1, True),
    ],
)
def test_costs_are_interpolated_in_logarithms(error, cost, is_bound):
    found = cost_at(error, ERRORS, COSTS)
    assert found == (pytest.approx(cost), is_bound)
    assert cost_at(error, ERRORS[::-1], COSTS[::-1]) == found


def test_no_size_is_better_than_the_best():
    with pytest.raises(ValueError, match="below all"):
        cost_at(0.9, ERRORS, COSTS)
