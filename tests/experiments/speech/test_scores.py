"""Scores of recognized digits, against jiwer's rates and a table filled by loops."""

import jax
import jax.numpy as jnp
import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.data.text import pad
from experiments.speech.scores import (
    NOTHING,
    edit_distances,
    error_rate_interval,
    error_rates_by_length,
    score_strings,
)

ROWS = st.lists(st.integers(1, 4), max_size=6)


def naive_distance(said: list[int], heard: list[int]) -> int:
    table = np.zeros((len(said) + 1, len(heard) + 1), int)
    table[:, 0], table[0] = np.arange(len(said) + 1), np.arange(len(heard) + 1)
    for i, one in enumerate(said):
        for j, other in enumerate(heard):
            table[i + 1, j + 1] = min(
                table[i, j] + (one != other), table[i, j + 1] + 1, table[i + 1, j] + 1
            )
    return int(table[-1, -1])


@given(pairs=st.lists(st.tuples(ROWS, ROWS), min_size=4, max_size=4), seed=st.integers(0, 99))
def test_edit_distances_match_the_table(pairs, seed):
    heard = np.zeros((4, 12), int)  # symbols anywhere, as in a path
    for row, (_, symbols) in zip(heard, pairs, strict=True):
        places = np.random.default_rng(seed).choice(12, len(symbols), replace=False)
        row[np.sort(places)] = symbols
    found = jax.jit(edit_distances, static_argnums=2)(pad([a for a, _ in pairs], 6), heard, 0)
    assert found.tolist() == [naive_distance(*pair) for pair in pairs]


@given(pairs=st.lists(st.tuples(ROWS.filter(len), ROWS), min_size=1, max_size=5))
def test_scores_match_jiwer(pairs):
    said, heard = (list(side) for side in zip(*pairs, strict=True))
    digits = pad(said, 6) - 1
    heard = [[digit - 1 for digit in row] for row in heard]
    score = score_strings(digits, heard)
    texts = [[" ".join(str(d) for d in row if d >= 0) for row in side] for side in (digits, heard)]
    assert score.error_rate == pytest.approx(jiwer.wer(*texts))
    right = [one == other for one, other in zip(*texts, strict=True)]
    assert score.strings_right == pytest.approx(np.mean(right))
    assert sum(score.confusions.values()) == score.errors.sum()
    assert not score.errors[~score.valid].any()


def test_each_error_counts_at_its_digit():
    digits = np.array([[1, 2, 3, 4], [5, 6, -1, -1], [7, -1, -1, -1]])
    score = score_strings(digits, [[1, 9, 4], [8, 5, 6], [7, 7, 7]])
    assert score.errors.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [2, 0, 0, 0]]
    assert score.confusions[NOTHING, "7"] == 2
    assert score.confusions[NOTHING, "8"] == 1
    rates = error_rates_by_length(score, np.arange(12).reshape(3, 4))
    assert {length: rate for length, (rate, _, _) in rates.items()} == {1: 2.0, 2: 0.5, 4: 0.5}
    assert rates[1] == (2.0, 2.0, 2.0)  # one utterance: nothing is known about others
    assert rates[4][1] < 0.5 < rates[4][2]


def test_the_interval_accounts_for_shared_utterances():
    """One of 100 utterances is never recognized, however many strings contain it."""
    rng = np.random.default_rng(0)
    widths = []
    for count in (300, 3000):
        utterances = rng.integers(0, 100, (count, 5))
        digits = np.ones((count, 5), int)
        heard = [[1 if i else 2 for i in row] for row in utterances]
        score = score_strings(digits, heard)
        low, high = error_rate_interval(score, utterances)
        assert low <= score.error_rate <= high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.3)  # more strings add no information
    assert 0.02 < widths[1] < 0.05  # the binomial interval: 0 to 0.03


def test_empty_rows_have_no_edits():
    assert edit_distances(jnp.zeros((2, 0), int), jnp.zeros((2, 0), int), 0).tolist() == [0, 0]
