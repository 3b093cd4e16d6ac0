"""A small archive of handwritten digits, made up, in the layout of the real one."""

import gzip
import zipfile
from pathlib import Path

import numpy as np

from experiments.common import digits


def make_images(each: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 28, 28], no two equal, of which each class has its own blots; labels [N]."""
    rng = np.random.default_rng(seed)
    blots = rng.random((10, 7, 7)) < 0.4
    labels = np.repeat(np.arange(10), each)
    images = np.kron(blots[labels], np.ones((4, 4))) * rng.integers(128, 256, (len(labels), 28, 28))
    return images.astype(np.uint8), labels


def make_archive(path: Path) -> None:
    """Writes the archive."""
    images, labels = make_images()
    rows = np.column_stack([images.reshape(len(images), -1), labels])
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(digits.MEMBER, gzip.compress(text.encode()))
