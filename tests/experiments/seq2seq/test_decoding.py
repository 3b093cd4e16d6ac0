"""The translator: compilation, batches, long texts."""

import pytest

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
