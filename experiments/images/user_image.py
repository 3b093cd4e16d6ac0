"""The user's own image files, converted to look like MNIST: white ink, 20 pixels long, centered.

MNIST scaled each digit so that its longer side takes 20 pixels, with gray values in between, and
put its center of mass into the middle of 28 × 28 pixels (http://yann.lecun.com/exdb/mnist). A file
may have any size, dark on light or light on dark, in gray or in color.
"""

import warnings
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageOps

from experiments.common.command import InputError
from experiments.common.data.arrays import load_array
from experiments.common.data.user_files import check_file
from experiments.vision.digits import SIDE

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")  # of image files; .npy files are read too
LONGER_SIDE = 20  # pixels of a digit in MNIST
MIN_CONTRAST = 0.05  # between ink and paper; black on white is 1
INK_THRESHOLD = 0.3  # relative to the darkest ink; anything fainter is paper, or a shadow on it
MAX_ASPECT = 2.0  # a digit's width divided by its height
MAX_SIDE = 2000  # pixels; of a larger image, squares of pixels are averaged
_SHADES = " .:*#"
_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in brightness (ITU-R BT.601)


def read_image(path: Path) -> np.ndarray:
    """Reads an image file, or a .npy file with gray values [H, W] or colors [H, W, 1 to 4].

    Returns: gray values [H, W] from 0, black, to 1; transparent pixels are white.

    Raises:
      InputError: there is no such file, or it is no such image, or takes too much memory; the
        message says why.
    """
    path = Path(path)
    check_file(path)
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, ".npy"):
        raise InputError(f"{path} must be a .npy file or an image ({', '.join(SUFFIXES)}).")
    if suffix == ".npy":
        values = load_array(path, "biuf")
        _check_pixels(values, path)
        highest = 255 if values.max() > 1 else 1
    else:
        values, highest = _load_pixels(path)
    return _to_gray_image(values, highest)


def to_mnist(gray: np.ndarray) -> np.ndarray:
    """Converts an image [H, W] of one digit to MNIST's size and position.

    The median along the edge of the image is taken as the color of the paper.

    Returns: float32 [28, 28], from 0, paper, to 1, ink.

    Raises:
      InputError: the image shows no digit; the message says why.
    """
    edge = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    contrast = gray - np.median(edge)
    ink = contrast * (1 if contrast.max() > -contrast.min() else -1)
    if ink.max() < MIN_CONTRAST:
        raise InputError("The image shows nothing: all of it is equally bright.")
    ink = np.clip(ink / ink.max(), 0, 1)
    rows, columns = (np.flatnonzero((ink > INK_THRESHOLD).any(axis)) for axis in (1, 0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = digit.shape
    if width > MAX_ASPECT * height:
        raise InputError(
            f"The image shows something {width} pixels wide and {height} high; "
            "one digit is expected."
        )
    scale = LONGER_SIDE / max(height, width)
    shape = (max(round(scale * height), 1), max(round(scale * width), 1))
    small = np.asarray(jax.image.resize(digit, shape, "linear", antialias=True))
    return _center(small / small.max())


def to_text(image: np.ndarray) -> str:
    """Draws an image [28, 28] from 0 to 1 in characters, without margins, two rows per line."""
    margin = (SIDE - LONGER_SIDE) // 2
    rows = image[margin:-margin].reshape(-1, 2, SIDE).mean(1)
    return "\n".join("".join(_SHADES[round(4 * x)] for x in row).rstrip() for row in rows)


def _load_pixels(path: Path) -> tuple[np.ndarray, int]:
    """Loads an image file: gray values [H, W] or colors [H, W, 4], and the value of white."""
    try:
        with warnings.catch_warnings():
            # Pillow refuses 179 million pixels, 716 MB, and warns of half as many.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.mode.startswith("I"):  # 16 bits of gray, which `convert` would clip
                    return np.asarray(image), 65535
                return np.asarray(image.convert("RGBA")), 255
    except Exception as error:  # a broken file can raise anything
        raise InputError(f"{path} cannot be read as an image ({error}).") from None


def _check_pixels(values: np.ndarray, path: Path) -> None:
    """Refuses arrays that are no images."""
    if values.ndim not in (2, 3) or (values.ndim == 3 and not 1 <= values.shape[2] <= 4):
        raise InputError(
            f"{path} has the shape {list(values.shape)}; [H, W] or [H, W, 1 to 4] is expected."
        )
    if min(values.shape) == 0:
        raise InputError(f"{path} has no pixels.")
    if not np.isfinite(values).all():
        raise InputError(f"{path} must hold finite numbers.")
    low, high = values.min(), values.max()
    if low < 0 or high > 255:
        raise InputError(
            f"{path} has values from {low:g} to {high:g}; 0 to 1 or 0 to 255 is expected."
        )


def _to_gray_image(values: np.ndarray, highest: int) -> np.ndarray:
    """Gray values [H, W] from 0 to 1 of an image [H, W] or [H, W, C] from 0 to `highest`.

    An image with a side of more than `MAX_SIDE` is reduced to means over squares of pixels, one row
    of squares at a time, so that it is never held in full as floating-point numbers.
    """
    square = -(-max(values.shape[:2]) // MAX_SIDE)
    if square == 1:
        return _to_gray(values.astype(np.float64) / highest)
    tops, lefts = (np.arange(max(side // square, 1)) * square for side in values.shape[:2])
    widths = np.diff(lefts, append=values.shape[1])  # the last square is the largest
    rows = []
    for part in np.split(values, tops[1:]):
        gray = _to_gray(part.astype(np.float64) / highest)
        rows.append(np.add.reduceat(gray.mean(0), lefts) / widths)
    return np.array(rows)


def _to_gray(values: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, C] to [H, W]; the last of two or four channels is the opacity."""
    if values.ndim == 2:
        return values
    opacity = values[..., -1] if values.shape[2] in (2, 4) else 1.0
    brightness = values[..., :3] @ np.array(_LUMA) if values.shape[2] > 2 else values[..., 0]
    return brightness * opacity + 1 - opacity


def _center(digit: np.ndarray) -> np.ndarray:
    """Puts a digit's center of mass into pixel 14 of 0 to 27, as in MNIST, or as near as fits."""
    image = np.zeros((SIDE, SIDE), np.float32)
    corner = []
    for axis, size in enumerate(digit.shape):
        mass = digit.sum(1 - axis)
        center = mass @ np.arange(size) / mass.sum()
        corner.append(int(np.clip(round(SIDE / 2 - center), 0, SIDE - size)))
    top, left = corner
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image
