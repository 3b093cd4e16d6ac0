"""Text, splits, metrics and reports of the experiments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from experiments.common.data import text
from experiments.common.data.splits import merge_groups, stratified_group_splits
from experiments.common.report import Answers, comparison_table
from experiments.common.training.metrics import (
    append_record,
    read_records,
    score_classifier,
    truncate_records,
)


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


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_merged_groups_are_the_connected_components(pairs):
    first, second = zip(*pairs, strict=True)
    groups = merge_groups(first, second)
    for i, a in enumerate(pairs):  # neighbours share a group
        for j, b in enumerate(pairs):
            if a[0] == b[0] or a[1] == b[1]:
                assert groups[i] == groups[j]
    reached = {0}  # and group 0 is no larger than what neighbours reach
    while grown := {
        j
        for i in reached
        for j in range(len(pairs))
        if j not in reached and (pairs[i][0] == pairs[j][0] or pairs[i][1] == pairs[j][1])
    }:
        reached |= grown
    assert reached == set(np.flatnonzero(groups == groups[0]))


@given(st.integers(0, 1000))
def test_no_group_straddles_a_split(seed):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 60, 200)
    labels = generator.integers(0, 3, 200)
    splits = stratified_group_splits(labels, groups, num_folds=5, validation_parts=4, seed=seed)
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested) == list(range(200))
    for split in splits:
        assert sorted(np.concatenate(split)) == list(range(200))
        parts = [set(groups[part]) for part in split]
        assert parts[0].isdisjoint(parts[1] | parts[2])
        assert parts[1].isdisjoint(parts[2])
    again = stratified_group_splits(labels, groups, num_folds=5, validation_parts=4, seed=seed)
    for one, other in zip(splits, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_score_classifier_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 3, (2, 100))
    score = score_classifier(labels, predictions, 3)
    assert float(score.accuracy) == pytest.approx(accuracy_score(labels, predictions))
    assert float(score.macro_f1) == pytest.approx(f1_score(labels, predictions, average="macro"))
    np.testing.assert_array_equal(score.confusion, confusion_matrix(labels, predictions))


def test_comparison_table(tmp_path):
    labels, parts = np.array([0, 1, 1, 0]), np.array(["x", "x", "y", "y"])
    right, half = Answers(labels, labels, parts), Answers(labels, np.zeros(4, int), parts)
    rows = {"one": [right], "two": [right, half]}
    table = comparison_table(rows, ["x", "y"], 2, tmp_path / "r.json").splitlines()
    assert table[1].split() == ["one", "100.0", "100.0", "100.0", "100.0"]
    assert table[2].split()[:3] == ["two", "75.0", "±35.4"]


def test_records_are_cut_and_survive_an_unfinished_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for epoch in (1, 2, 3):
        append_record(path, {"epoch": epoch, "loss": 1 / 3 / epoch})
    with path.open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [record["epoch"] for record in read_records(path)] == [1, 2, 3]
    whole = path.read_text()
    truncate_records(path, 2)
    assert path.read_text() == "".join(whole.splitlines(keepends=True)[:2])
