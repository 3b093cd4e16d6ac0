"""Baselines and scores of summaries."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.summarization import scores


def test_leads_and_the_best_window():
    text = "Frotz 2.5 is an old reader of games. It provides one two three four five six seven."
    assert scores.first_sentence(text) == "Frotz 2.5 is an old reader of games."
    assert scores.words_after_definition(text) == "old reader of games."
    assert scores.words_after_definition("a b") == "a b"
    long = "This provides the one 2 3 4 5 6 7 8 9"
    assert scores.words_after_definition(long) == "one 2 3 4 5 6 7 8"
    reference = "one four games provides"
    best = scores.best_window(text, reference)
    assert len(best.split()) == scores.WORDS
    all_rouge = [
        scores.score_summaries([" ".join(text.split()[i : i + 8])], [reference])["ROUGE-1"]
        for i in range(len(text.split()) - 7)
    ]
    found = scores.score_summaries([best], [reference])["ROUGE-1"]
    assert found == max(all_rouge)
    assert found > all_rouge[0]
    assert scores.best_window("a b", "b") == "a b"


def longest_common(a, b) -> int:
    """The length of the longest common subsequence, by trying all."""
    return max(
        n
        for n in range(len(a) + 1)
        for chosen in itertools.combinations(a, n)
        if any(chosen == other for other in itertools.combinations(b, n))
    )


@given(*[st.lists(st.sampled_from("abc"), min_size=1, max_size=6)] * 2)
def test_rouge_is_what_its_definition_says(output, reference):
    rouge = scores.score_summaries([" ".join(output).upper()], [" ".join(reference)])
    for n, name in ((1, "ROUGE-1"), (2, "ROUGE-2")):
        grams = [list(zip(*[x[i:] for i in range(n)], strict=False)) for x in (output, reference)]
        common = sum(min(grams[0].count(g), grams[1].count(g)) for g in set(grams[0]))
        total = len(grams[0]) + len(grams[1])
        assert rouge[name] == pytest.approx(200 * common / total if common else 0)
    common = longest_common(output, reference)
    assert rouge["ROUGE-L"] == pytest.approx(200 * common / (len(output) + len(reference)))


def test_the_new_word_rate():
    assert scores.new_word_rate(["a B, c"], ["b d (c)"]) == pytest.approx(1 / 3)
    assert scores.new_word_rate(["a"], [""]) == 0
