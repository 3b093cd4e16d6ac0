"""The user's image files as small squares of gray."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from experiments.common.command import InputError
from experiments.common.data.user_files import check_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def find_pictures(folder: Path) -> list[Path]:
    """The image files in a folder, in no order."""
    return [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]


def read_picture(path: Path, side: int) -> np.ndarray:
    """Reads an image, turned upright, as gray values from 0, black, to 1: float [side, side].

    It is cut to the square in its middle, and squares of pixels are averaged. Transparent pixels
    are white.

    Raises:
      InputError: it is no image.
    """
    check_file(path)
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGBA")
            paper = Image.new("RGBA", image.size, "white")
            gray = Image.alpha_composite(paper, image).convert("L")
            small = ImageOps.fit(gray, (side, side), Image.Resampling.BOX)
    except Exception as error:  # a broken file can raise anything
        raise InputError(f"{path} cannot be read as an image ({error}).") from None
    return np.asarray(small) / 255.0


def as_ink(gray: np.ndarray) -> np.ndarray:
    """Gray values [..., H, W] with dark paper: inverted if the upper and lower edges are light."""
    edges = np.concatenate([gray[..., 0, :].ravel(), gray[..., -1, :].ravel()])
    return gray if np.median(edges) < 0.5 else 1 - gray
