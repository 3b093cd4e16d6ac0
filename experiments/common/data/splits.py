"""Splits without leakage: all examples of a group are on the same side."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from experiments.common.command import InputError
from experiments.common.report.counts import count


class Split(NamedTuple):
    """Indices of examples, each an increasing int array; the parts share no group."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def merge_groups(*keys: Sequence[Hashable]) -> np.ndarray:
    """Groups N examples: two that share the value of any key are in the same group.

    Two reviews that contain the same sentence become one group, so no split separates them.

    Args:
      *keys: sequences [N], such as each sentence's document and its normalized text.

    Returns: int [N], the group number of each example.
    """
    # SciPy's `connected_components` finds the same groups, but numbers them differently, and the
    # numbers determine the random splits, hence every published result.
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


def note_equal(groups: np.ndarray, kind: str) -> list[str]:
    """A sentence if some of N examples are equal, by their groups [N]; see `merge_groups`.

    Args:
      groups: int [N].
      kind: what an example is.
    """
    number = len(groups) - len(np.unique(groups))
    if not number:
        return []
    repeats = f"{count(number, kind)} {'repeats' if number == 1 else 'repeat'}"
    return [f"{repeats} another one; equal ones are in one part of the split."]


def hold_out(groups: np.ndarray, share: float) -> Split:
    """Draws a share of the groups, at least one, for validation, and as many for testing.

    Args:
      groups: int [N], of each example, see `merge_groups`; there are at least three.
      share: of the groups.
    """
    order = np.random.default_rng(0).permutation(np.unique(groups))
    held = max(round(share * len(order)), 1)
    chosen = order[2 * held :], order[:held], order[held : 2 * held]
    return Split(*(np.flatnonzero(np.isin(groups, part)) for part in chosen))


def stratified_group_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    num_folds: int,
    validation_parts: int,
    seed: int,
) -> list[Split]:
    """Splits N examples into folds of whole groups with about equal class frequencies.

    Every example is in the test set of exactly one fold. The rest of a fold is split the same way
    into `validation_parts` parts, one of which is the validation set.

    Args:
      labels: int [N], the classes.
      groups: int [N], see `merge_groups`.
      num_folds: how many folds.
      validation_parts: the validation set is 1/validation_parts of the examples outside the test
        set.
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


def split_own(labels: np.ndarray, groups: np.ndarray, names: Sequence[str], kind: str) -> Split:
    """Splits the user's examples by groups; a fifth is for testing, a fifth for validation.

    With fewer than five groups of a label, the parts are larger. Each part has every label.

    Args:
      labels: int [N], 0 to C - 1.
      groups: int [N], see `merge_groups`.
      names: of the C labels.
      kind: what a group is, for messages.

    Raises:
      InputError: a label has fewer than three groups, or no split has every label in every part.
    """
    counts = [len(np.unique(groups[labels == label])) for label in range(len(names))]
    if (fewest := min(counts)) < 3:
        name = names[counts.index(fewest)]
        raise InputError(
            f"{name!r} has {count(fewest, kind, f'different {kind}s')}; at least 3 are needed, to "
            "train, validate and test on different ones."
        )
    folds = min(fewest, 5)
    for seed in range(10):
        for split in stratified_group_splits(labels, groups, folds, folds - 1, seed):
            if all(len(np.unique(labels[part])) == len(names) for part in split):
                return split
    raise InputError(
        f"The {kind}s cannot be split so that every label is in the training, the validation and "
        f"the test part: more {kind}s with all labels are needed."
    )
