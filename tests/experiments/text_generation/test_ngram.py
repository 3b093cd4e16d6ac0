"""n-grams with modified Kneser–Ney smoothing, beside a transcription of the paper in loops."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.text_generation import ngram

sequences = st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(8, 120), st.integers(0, 99))


def draw(num_symbols: int, length: int, seed: int) -> np.ndarray:
    """Symbols of which each makes its successor more likely."""
    generator = np.random.default_rng(seed)
    steps = generator.choice(
        num_symbols, size=length, p=np.arange(num_symbols, 0, -1) / sum(range(1, num_symbols + 1))
    )
    return (np.cumsum(steps) % num_symbols).astype(np.uint8)


def oracle(symbols: np.ndarray, num_symbols: int, order: int, context: tuple, last: int) -> float:
    """p(last | context) by the recursion, counting with loops."""
    sequence = tuple(symbols.tolist())

    def counts(length: int) -> Counter:
        if length == order:
            return Counter(sequence[i : i + order] for i in range(len(sequence) - order + 1))
        return Counter(gram[1:] for gram in counts(length + 1))  # how many kinds came before it

    def probability(history: tuple, length: int) -> float:
        if length == 0:
            return 1 / num_symbols
        counted = counts(length)
        n = [max(sum(c == k for c in counted.values()), 1) for k in range(1, 5)]
        y = n[0] / (n[0] + 2 * n[1])
        bounds = [0.9, 1.8, 2.7]
        d = [
            min(
                max(k + 1 - (k + 2) * y * n[k + 1] / n[k] if k else 1 - 2 * y * n[1] / n[0], 0.1),
                bounds[k],
            )
            for k in range(3)
        ]
        followers = {gram[-1]: c for gram, c in counted.items() if gram[:-1] == history}
        shorter = probability(history[1:], length - 1)
        if not followers:
            return shorter
        total = sum(followers.values())
        taken = sum(d[min(c, 3) - 1] for c in followers.values())
        own = followers.get(last, 0)
        return (own - d[min(own, 3) - 1] if own else 0) / total + taken / total * shorter

    length = min(order, len(context) + 1)
    return probability(context[len(context) - length + 1 :], length)


@given(sequences)
def test_probabilities_sum_to_one(case):
    num_symbols, order, length, seed = case
    model = ngram.fit(draw(num_symbols, length, seed), num_symbols, order)
    generator = np.random.default_rng(seed)
    for size in range(order + 2):  # seen or not, shorter and longer than what is counted
        context = generator.integers(num_symbols, size=size).tolist()
        distribution = ngram.distribution(model, context)
        assert (distribution > 0).all()
        np.testing.assert_allclose(distribution.sum(), 1, rtol=1e-12)


@given(sequences)
def test_it_is_the_recursion_of_the_paper(case):
    num_symbols, order, length, seed = case
    known, text = draw(num_symbols, length, seed), draw(num_symbols, 12, seed + 1)
    probabilities = ngram.probabilities(ngram.fit(known, num_symbols, order), text)
    assert probabilities.shape == (11,)
    for place in range(1, 12):
        context = tuple(text[:place].tolist())
        want = oracle(known, num_symbols, order, context, int(text[place]))
        np.testing.assert_allclose(probabilities[place - 1], want, rtol=1e-10)


@given(sequences)
def test_a_text_at_once_and_symbol_by_symbol(case):
    num_symbols, order, length, seed = case
    model = ngram.fit(draw(num_symbols, length, seed), num_symbols, order)
    text = draw(num_symbols, 20, seed + 1)
    alone = [ngram.distribution(model, text[:t].tolist())[text[t]] for t in range(1, 20)]
    np.testing.assert_allclose(ngram.bits(model, text), -np.log2(alone), rtol=1e-10)


@given(sequences, st.integers(1, 5))
def test_pruned_probabilities_sum_to_one(case, least):
    num_symbols, order, length, seed = case
    whole = ngram.fit(draw(num_symbols, length, seed), num_symbols, order)
    model = ngram.prune(whole, least)
    for grams in model.orders:
        assert grams.discounted.min() >= least
    for size in range(order + 1):
        context = np.random.default_rng(seed).integers(num_symbols, size=size).tolist()
        np.testing.assert_allclose(ngram.distribution(model, context).sum(), 1, rtol=1e-12)
    unchanged = ngram.prune(whole, 0)
    text = draw(num_symbols, 20, seed + 1)
    np.testing.assert_allclose(ngram.bits(unchanged, text), ngram.bits(whole, text), rtol=1e-10)


@given(sequences, st.integers(0, 4000))
def test_pruned_to_a_size_and_no_further(case, max_bytes):
    num_symbols, order, length, seed = case
    whole = ngram.fit(draw(num_symbols, length, seed), num_symbols, order)
    assert whole.num_bytes() == sum(
        8 * (grams.grams.size + grams.contexts.size)
        + 4 * (grams.discounted.size + grams.totals.size + grams.backoffs.size)
        for grams in whole.orders
    )
    model = ngram.prune_to_size(whole, max_bytes)
    assert model.num_bytes() <= max_bytes
    if whole.num_bytes() <= max_bytes:
        assert model.num_bytes() == whole.num_bytes()
    else:
        least = next(x for x in range(999) if ngram.prune(whole, x).num_bytes() <= max_bytes)
        assert model.num_bytes() == ngram.prune(whole, least).num_bytes()


def test_counting_on_is_a_new_model_for_each_block(monkeypatch):
    monkeypatch.setattr(ngram, "BLOCK", 8)
    known, text = draw(4, 60, 0), draw(4, 30, 1)
    found = ngram.probabilities_counting_on(known, text, 4, 3)
    for place in range(1, 30):
        read = text[: 1 + (place - 1) // 8 * 8]
        model = ngram.fit(np.concatenate([known, read]), 4, 3)
        want = ngram.distribution(model, text[:place].tolist())[text[place]]
        np.testing.assert_allclose(found[place - 1], want, rtol=1e-12)
    changed = np.append(text[:20], 3 - text[20:])
    changed = ngram.probabilities_counting_on(known, changed, 4, 3)
    np.testing.assert_array_equal(changed[:19], found[:19])


def test_a_deterministic_sequence_is_foreseen():
    model = ngram.fit(np.tile(np.arange(5), 200), 5, 3)
    assert ngram.bits(model, np.tile(np.arange(5), 10))[2:].max() < 0.05


def test_n_grams_that_do_not_fit():
    with pytest.raises(ValueError, match="10 of 84 symbols do not fit into 63 bits"):
        ngram.fit(np.zeros(20, np.uint8), 84, 10)
