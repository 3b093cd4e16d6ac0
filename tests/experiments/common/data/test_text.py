"""Text: tokens, forms, vocabulary, subwords."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.data import text


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("I don't like it!!! :)", ["I", "don't", "like", "it", "!!!", ":)"]),
        ("@ann see http://a.b/c?d #fail", ["@ann", "see", "http://a.b/c?d", "#fail"]),
        ("R&amp;B... <3", ["R", "&", "B", "...", "<3"]),
        ("", ["."]),
    ],
)
def test_tokenize(sentence, tokens):
    assert text.tokenize(sentence) == tokens


@pytest.mark.parametrize(
    ("token", "form"),
    [
        ("SOOOO", "soo"),
        ("@ann", "<user>"),
        ("http://a.b", "<url>"),
        ("12", "<number>"),
        ("!!!!", "!!"),
    ],
)
def test_word_form(token, form):
    assert text.word_form(token) == form


def test_encode_words():
    vocabulary = text.build_vocabulary([["b", "a", "b"], ["c", "b", "a"]], min_count=2)
    assert vocabulary == ["b", "a"]
    sentences = [["B", "a", "new"], ["a"] * 5]
    arrays = text.encode_words(sentences, vocabulary, length=4, buckets=50)
    assert arrays["words"].tolist() == [[2, 3, text.UNKNOWN, 0], [3, 3, 3, 3]]
    assert arrays["lengths"].tolist() == [3, 4]
    assert arrays["subwords"][0, 0].tolist() == text.subword_ids("b", 50)
    assert not arrays["subwords"][0, 3].any()
    assert arrays["case"][0, 0].tolist() == [0, 1]


@given(st.text(min_size=1, max_size=12))
def test_subword_ids_are_as_many_as_promised_and_in_range(word):
    ids = text.subword_ids(word, 20)
    assert len(ids) == text.NUM_SUBWORDS
    assert 1 <= ids[0] <= 20
    assert all(0 <= number <= 20 for number in ids)
