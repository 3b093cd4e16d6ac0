"""Beam search, compared with a search over all sentences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seq2seq import beam_search, subwords

# A language of four words: transition log-probabilities.
TABLE = jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(5), (7, 7)))


LONG_WINDED = TABLE.at[:, subwords.END].add(-9)  # sentences rarely end


def next_words(carry, tokens):
    return carry, TABLE[tokens]


def every_sentence(length: int, table=TABLE):
    """(sentence, rank) of all sentences of at most `length` tokens, ended or cut off."""
    for n in range(1, length + 1):
        for words in itertools.product(range(4, 7), repeat=n - 1 if n < length else n):
            ends = [(*words, subwords.END)] if n < length else [words, (*words[:-1], subwords.END)]
            for sentence in ends:
                steps = zip((subwords.START, *sentence), sentence, strict=False)
                score = sum(float(table[a, b]) for a, b in steps)
                yield sentence, score / ((5 + len(sentence)) / 6)


def test_with_enough_beams_the_search_finds_the_best_of_all_sentences():
    tokens, rank = beam_search.beam_search(
        next_words, jnp.zeros((2, 1)), num_beams=60, max_length=4
    )
    best, expected = max(every_sentence(4), key=lambda pair: pair[1])
    for row in tokens.tolist():
        assert tuple(row) == best + (0,) * (4 - len(best))
    np.testing.assert_allclose(rank, expected, rtol=1e-5)


def test_forbidden_repetitions_do_not_occur():
    def search_best(**options):
        return beam_search.beam_search(
            lambda carry, tokens: (carry, LONG_WINDED[tokens]),
            jnp.zeros((1, 1)),
            num_beams=120,
            max_length=5,
            **options,
        )

    def is_new(sentence) -> bool:
        pairs = list(itertools.pairwise(sentence))
        return len(set(pairs)) == len(pairs)

    tokens, rank = search_best(no_repeat=2)
    allowed = [pair for pair in every_sentence(5, np.asarray(LONG_WINDED)) if is_new(pair[0])]
    best, expected = max(allowed, key=lambda pair: pair[1])
    assert tuple(tokens[0].tolist()) == best + (0,) * (5 - len(best))
    np.testing.assert_allclose(rank, expected, rtol=1e-5)
    assert not is_new(search_best()[0][0].tolist())  # otherwise the test would be trivial


def test_one_beam_is_greedy():
    tokens, _ = beam_search.beam_search(next_words, jnp.zeros((1, 1)), num_beams=1, max_length=6)
    word, greedy = subwords.START, []
    while len(greedy) < 6 and word != subwords.END:
        word = 3 + int(TABLE[word, 3:].argmax())
        greedy.append(word)
    assert tokens[0].tolist() == greedy + [0] * (6 - len(greedy))
