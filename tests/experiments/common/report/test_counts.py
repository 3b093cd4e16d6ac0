"""Numbers with their nouns."""

import pytest

from experiments.common.report.counts import count


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, "row"), "1 row"),
        ((0, "row"), "0 rows"),
        ((12_000, "row"), "12,000 rows"),
        ((2, "story", "stories"), "2 stories"),
        ((1, "text", "different texts"), "1 text"),
    ],
)
def test_a_number_has_its_noun(arguments, expected):
    assert count(*arguments) == expected
