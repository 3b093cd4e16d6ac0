"""Whether an image can be a digit at all: its ink, its shades of gray, and its strokes.

A photograph has more gray than a drawing, a blot has wider strokes, and noise has both. Strokes of
a very thin pen are also mostly gray once they are scaled, so this is a doubt and no proof. Another
sign with strokes like a digit's, such as a letter, cannot be told apart in this way.
"""

import numpy as np

NAMES = ("ink", "gray", "stroke width")
MARGIN = 0.1  # by which the range of the training digits is widened
GRAY = (0.1, 0.9)  # pixels between these are gray; 0 is paper, 1 is ink


def measure_strokes(images: np.ndarray) -> np.ndarray:
    """The share of ink, gray pixels per ink, and the area per edge of images [N, 28, 28]: [N, 3].

    Args:
      images: from 0, paper, to 1, ink; no image is empty.
    """
    padded = np.pad(np.asarray(images, float), ((0, 0), (1, 1), (1, 1)))
    edges = sum(np.abs(np.diff(padded, axis=axis)).sum((1, 2)) for axis in (1, 2))
    ink = padded.sum((1, 2))
    gray = ((padded > GRAY[0]) & (padded < GRAY[1])).sum((1, 2))
    return np.stack([ink / images[0].size, gray / ink, ink / edges], 1)


def fit_ranges(images: np.ndarray) -> list[list[float]]:
    """The least and the greatest of each measure of training images, a tenth wider."""
    measures = measure_strokes(images)
    least, most = measures.min(0) * (1 - MARGIN), measures.max(0) * (1 + MARGIN)
    return [least.tolist(), most.tolist()]


def find_doubt(image: np.ndarray, ranges: list[list[float]]) -> str | None:
    """Why an image [28, 28] is no digit, as in "more gray than any digit"; None: it may be one."""
    measures = measure_strokes(image[None])[0]
    for name, value, least, most in zip(NAMES, measures, *ranges, strict=True):
        if value > most:
            return f"more {name} than any digit that the networks were trained on"
        if value < least:
            return f"less {name} than any digit that the networks were trained on"
    return None
