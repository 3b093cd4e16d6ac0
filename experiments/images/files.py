"""Images of one's own, made to look as those of MNIST: white ink, 20 pixels long, in the middle.

MNIST scaled each digit so that its longer side takes 20 pixels, with grey values between, and put
its centre of mass into the middle of 28 by 28 pixels (http://yann.lecun.com/exdb/mnist). A file may
be of any size, dark on light or light on dark, in grey or in colours.
"""

from pathlib import Path

import jax
import numpy as np
from matplotlib import image as matplotlib_image

from experiments.common.command import InputError
from experiments.vision.digits import SIDE

LONGER_SIDE = 20  # pixels of a digit in MNIST
LEAST_CONTRAST = 0.05  # of ink against paper; black against white is 1
INK = 0.3  # of the darkest ink; what has less is paper, or its shadow
WIDEST = 2.0  # a digit's width, as a multiple of its height
_SHADES = " .:*#"
_LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue are (ITU-R BT.601)


def read_image(path: Path) -> np.ndarray:
    """Reads a PNG, or a .npy file with grey values [H, W] or colours [H, W, 1 to 4].

    Returns: grey values [H, W] from 0, black, to 1; what is transparent is white.

    Raises:
      InputError: the file is none of them; the message says what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.suffix.lower() not in (".png", ".npy"):
        raise InputError(f"{path} must be a .png or a .npy file.")
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = matplotlib_image.imread(path, format="png")
    except Exception as error:  # every way in which a file can be broken
        raise InputError(f"{path} cannot be read as an image ({error}).") from None
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise InputError(f"{path} must hold finite numbers.")
    return _as_grey(_from_0_to_1(values, path))


def like_mnist(grey: np.ndarray) -> np.ndarray:
    """Makes an image [H, W] of one digit look as those of MNIST.

    The paper is what most of the image's edge is.

    Returns: float32 [28, 28], from 0, the paper, to 1, the ink.

    Raises:
      InputError: there is no digit in it; the message says why.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    contrast = grey - np.median(edge)
    ink = contrast * (1 if contrast.max() > -contrast.min() else -1)
    if ink.max() < LEAST_CONTRAST:
        raise InputError("The image shows nothing: all of it is equally bright.")
    ink = np.clip(ink / ink.max(), 0, 1)
    rows, columns = (np.flatnonzero((ink > INK).any(axis)) for axis in (1, 0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = digit.shape
    if width > WIDEST * height:
        raise InputError(
            f"What the image shows is {width} pixels wide and {height} high; one digit is expected."
        )
    scale = LONGER_SIDE / max(height, width)
    shape = (max(round(scale * height), 1), max(round(scale * width), 1))
    small = np.asarray(jax.image.resize(digit, shape, "linear", antialias=True))
    return _centred(small / small.max())


def sketch(image: np.ndarray) -> str:
    """An image [28, 28] from 0 to 1 in letters; without its margin, and half as many rows."""
    margin = (SIDE - LONGER_SIDE) // 2
    rows = image[margin:-margin].reshape(-1, 2, SIDE).mean(1)
    return "\n".join("".join(_SHADES[int(4 * x)] for x in row).rstrip() for row in rows)


def _from_0_to_1(values: np.ndarray, path: Path) -> np.ndarray:
    if values.ndim not in (2, 3) or (values.ndim == 3 and not 1 <= values.shape[2] <= 4):
        raise InputError(
            f"{path} has the shape {list(values.shape)}; [H, W] or [H, W, 1 to 4] is expected."
        )
    if min(values.shape) == 0:
        raise InputError(f"{path} has no pixels.")
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if low < 0 or high > 255:
        raise InputError(
            f"{path} has values from {low:g} to {high:g}; 0 to 1 or 0 to 255 is expected."
        )
    return values / 255 if high > 1 else values


def _as_grey(values: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, C], the last of two or four being how opaque: [H, W]."""
    if values.ndim == 2:
        return values
    opaque = values[..., -1] if values.shape[2] in (2, 4) else 1.0
    colours = values[..., :3] @ np.array(_LUMA) if values.shape[2] > 2 else values[..., 0]
    return colours * opaque + 1 - opaque


def _centred(digit: np.ndarray) -> np.ndarray:
    """Puts a digit's centre of mass where MNIST has it, into pixel 14 of 0 to 27, or near to it."""
    image = np.zeros((SIDE, SIDE), np.float32)
    corner = []
    for axis, size in enumerate(digit.shape):
        mass = digit.sum(1 - axis)
        centre = mass @ np.arange(size) / mass.sum()
        corner.append(int(np.clip(round(SIDE / 2 - centre), 0, SIDE - size)))
    top, left = corner
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image
