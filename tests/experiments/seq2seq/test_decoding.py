"""The translator: compilation, batches, long texts."""

import math

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.seq2seq import subwords
from experiments.seq2seq.decoding import Translator, search
from experiments.seq2seq.model import EncoderDecoder
from tests.fixtures.random_params import random_params

MODEL = EncoderDecoder(
    num_tokens=11, embedding_size=6, hidden_size=5, attention_size=4, dropout=0.3
)


@pytest.fixture(scope="module")
def params():
    return random_params(MODEL)


def test_no_program_is_compiled_for_another_length_or_a_part_of_a_batch(params):
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    translator = Translator(MODEL, params, tokenizer, (4, 8), 2)
    before = search._cache_size()
    assert len(translator(["ab", "a", "abc abc"], 2)) == 3
    assert search._cache_size() == before + 2  # a program a width
    assert len(translator(["b", "a b", "ca", "", "abab", "a b c a b c a b c"], 2)) == 6
    assert search._cache_size() == before + 2


def test_a_sentence_translated_alone_and_among_others_is_the_same(params):
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    translator = Translator(MODEL, params, tokenizer, (8,), 3)
    texts = ["abcd", "a", "dcb a", "bb"]
    together = translator(texts, 4)
    assert [translator([text], 1)[0] for text in texts] == together


@pytest.mark.parametrize("tail", [0, 2])
def test_an_answer_is_doubted_or_refused_for_a_reason(params, tail):
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    translator = Translator(MODEL, params, tokenizer, (8,), 2, tail=tail)
    alone = translator(["ab cd"], 1)[0]
    assert translator.answer("  ab\n cd ", -math.inf) == (alone, [])
    _, [unsure] = translator.answer("ab cd", math.inf)
    assert unsure.startswith("Unsure: the model finds its answer less likely than 99%")
    _, [unknown] = translator.answer("ab éx", -math.inf)
    assert unknown == "The model does not know x, é."
    _, [cut] = translator.answer("a b c a b", -math.inf)
    assert cut.endswith("the middle is left out." if tail else "the end is left out.")
    assert "at most 7" in cut
    _, ranks = translator.translate(["ab", "dcb a", "bb"], 2)
    assert ranks.min() <= translator.usual_rank(["ab", "dcb a", "bb"], 2) < np.median(ranks)
    with pytest.raises(InputError, match="The text is empty"):
        translator.answer(" \n ", -math.inf)
    with pytest.raises(InputError, match="The model knows no character of 'xyz é'"):
        translator.answer("xyz é", -math.inf)
