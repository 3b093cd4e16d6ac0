"""The user's image files as small squares of gray."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from experiments.common.command import InputError
from experiments.common.data.user_files import check_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
ANIMATED = (".gif", ".webp", ".png", ".apng")


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
    return _read_images(path, side, most=1)[0]


def read_animation(path: Path, side: int, most: int) -> np.ndarray:
    """Reads the images of a GIF, WebP or APNG, each as `read_picture`: float [T, side, side].

    Raises:
      InputError: it is no such file, or has more than `most` images.
    """
    return np.stack(_read_images(path, side, most))


def _read_images(path: Path, side: int, most: int) -> list[np.ndarray]:
    """All images of a file, or, with `most` = 1, the first."""
    check_file(path)
    try:
        with Image.open(path) as opened:
            count = getattr(opened, "n_frames", 1)
            if most > 1 and count > most:
                raise InputError(f"{path} has {count} frames; at most {most} are read.")
            if most == 1:
                return [_shrink(opened, side)]
            # The first image of some APNGs is for programs that show no animations.
            is_apart = bool(opened.info.get("default_image")) and count > 1
            return [_shrink(image, side) for image in ImageSequence.Iterator(opened)][is_apart:]
    except InputError:
        raise
    except Exception as error:  # a broken file can raise anything
        raise InputError(f"{path} cannot be read as an image ({error}).") from None


def _shrink(opened: Image.Image, side: int) -> np.ndarray:
    image = ImageOps.exif_transpose(opened).convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    gray = Image.alpha_composite(paper, image).convert("L")
    return np.asarray(ImageOps.fit(gray, (side, side), Image.Resampling.BOX)) / 255.0


def as_ink(gray: np.ndarray) -> np.ndarray:
    """Gray values [..., H, W] with dark paper: inverted if the upper and lower edges are light."""
    edges = np.concatenate([gray[..., 0, :].ravel(), gray[..., -1, :].ravel()])
    return gray if np.median(edges) < 0.5 else 1 - gray
