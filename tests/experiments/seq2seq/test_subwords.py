"""Subwords: texts survive the round trip, long ones lose their middle."""

import pytest

from experiments.common.durable import DamagedFileError
from experiments.seq2seq import subwords


def test_texts_come_back_from_subwords_as_they_were():
    texts = ["Go library (v1.12) -- dev files", "l'età è 3,5 anni", "C++/CLI: a  b"]
    tokenizer = subwords.learn_subwords(texts * 3, 80)
    rows = subwords.to_ids(tokenizer, texts)
    assert [row[-1] for row in rows] == [subwords.END] * 3
    assert [subwords.to_text(tokenizer, [*row, 0, 0]) for row in rows] == texts
    assert tokenizer.encode("12").tokens[-2:] == ["1", "2"]  # numbers are spelled


def test_long_rows_lose_their_middle():
    assert subwords.drop_middle([1, 2, 3], 3, 1) == [1, 2, 3]
    assert subwords.drop_middle([1, 2, 3, 4, 5, 6], 4, 1) == [1, 2, 3, 6]
    assert subwords.drop_middle([1, 2, 3, 4, 5, 6], 4, 0) == [1, 2, 3, 4]


def test_a_saved_vocabulary_is_loaded_and_a_damaged_one_named(tmp_path):
    path, texts = tmp_path / "tokenizer.json", ["a text", "ab abc"] * 3
    learned = subwords.learn_or_load_subwords(path, texts, 20)
    assert subwords.learn_or_load_subwords(path, [], 20).to_str() == learned.to_str()
    content = path.read_text()
    for damaged in (content.replace("abc", "abd"), content[:-10], "", "[]"):
        path.write_text(damaged)
        with pytest.raises(DamagedFileError, match=f"{path} is damaged"):
            subwords.load_subwords(path)
    path.write_text(learned.to_str())  # as version 0.1 wrote it
    assert subwords.load_subwords(path).to_str() == learned.to_str()
