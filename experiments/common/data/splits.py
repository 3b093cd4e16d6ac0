"""Splits that do not leak: examples of one group never lie on both sides."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold


class Split(NamedTuple):
    """Indices of examples, each an increasing int array; no group lies in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def merge_groups(*keys: Sequence[Hashable]) -> np.ndarray:
    """Numbers the connected groups of N examples: sharing the value of any one key connects two.

    Two reviews that contain the same sentence become one group, so that it cannot lie on both
    sides of a split.

    Args:
      *keys: sequences [N], such as the document each sentence is from, and its normalised text.

    Returns: int [N], the number of each example's group.
    """
    parent = list(range(len(keys[0])))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for key in keys:
        first_with: dict[Hashable, int] = {}
        for i, value in enumerate(key):
            parent[root(i)] = root(first_with.setdefault(value, i))
    return np.unique([root(i) for i in range(len(parent))], return_inverse=True)[1]


def stratified_group_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    num_folds: int,
    validation_parts: int,
    seed: int,
) -> list[Split]:
    """Cuts N examples into folds of whole groups with about equal class shares.

    Every example is in the test set of exactly one fold. One of `validation_parts` like parts of
    the rest is that fold's validation set.

    Args:
      labels: int [N], the classes.
      groups: int [N], see `merge_groups`.
      num_folds: how many folds.
      validation_parts: the validation set is 1/validation_parts of what is not the test set.
      seed: of the shuffling; equal seeds give equal splits.
    """

    def folds(parts: int) -> StratifiedGroupKFold:
        return StratifiedGroupKFold(parts, shuffle=True, random_state=seed)

    splits = []
    for rest, test in folds(num_folds).split(labels, labels, groups):
        train, validation = next(
            folds(validation_parts).split(rest, labels[rest], groups[rest])  # type: ignore[arg-type]
        )
        splits.append(Split(rest[train], rest[validation], test))
    return splits
