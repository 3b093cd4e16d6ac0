"""Groups and splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.command import InputError
from experiments.common.data.splits import (
    hold_out,
    merge_groups,
    note_equal,
    split_own,
    stratified_group_splits,
)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_merged_groups_are_the_connected_components(pairs):
    first, second = zip(*pairs, strict=True)
    groups = merge_groups(first, second)
    for i, a in enumerate(pairs):  # neighbors share a group
        for j, b in enumerate(pairs):
            if a[0] == b[0] or a[1] == b[1]:
                assert groups[i] == groups[j]
    reached = {0}  # and group 0 is no larger than what neighbors reach
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


@pytest.mark.parametrize("number", [3, 4, 9])
def test_each_part_of_the_users_examples_has_every_label(number):
    groups = np.repeat(np.arange(number), 6)
    labels = np.tile(np.arange(3), 2 * number)
    split = split_own(labels, groups, ["a", "b", "c"], "person")
    parts = [set(groups[part]) for part in split]
    assert sum(map(len, parts)) == len(set.union(*parts)) == number
    assert all(set(labels[part]) == {0, 1, 2} for part in split)


def test_users_examples_that_cannot_be_split():
    with pytest.raises(InputError, match="'b' has 2 different clips; at least 3 are needed"):
        split_own(np.array([0, 0, 0, 1, 1]), np.arange(5), ["a", "b"], "clip")


@given(st.lists(st.integers(0, 30), min_size=3, max_size=60), st.floats(0.05, 0.3))
def test_a_share_of_the_groups_is_held_out(groups, share):
    number = len(set(groups))
    if number < 3:
        return
    split = hold_out(np.array(groups), share)
    assert sorted(np.concatenate(split)) == list(range(len(groups)))
    parts = [{groups[i] for i in part} for part in split]
    assert sum(map(len, parts)) == len(set.union(*parts)) == number
    assert len(parts[1]) == len(parts[2]) == max(round(share * number), 1)


def test_equal_examples_are_counted():
    assert note_equal(np.arange(3), "text") == []
    one = "1 text repeats another one; equal ones are in one part of the split."
    assert note_equal(np.array([0, 1, 1]), "text") == [one]
    assert note_equal(np.array([0, 1, 1, 0]), "clip")[0].startswith("2 clips repeat another one;")
