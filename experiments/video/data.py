"""Videos of handwritten digits that move over a torus, drawn as a pure function of a random key.

The digits are real, see `experiments.vision.digits`, at half their size. Their motion is generated:
one of eight directions at one of three constant speeds; a digit that leaves on one side returns on
the other. The training, validation and test videos share no digit.
"""

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.command import InputError
from experiments.common.data.arrays import load_array
from experiments.common.report.counts import count
from experiments.vision.affine import rotation, transform_image
from experiments.vision.digits import CLASSES, Splits, read_digits, split_three_ways
from experiments.vision.pictures import (
    ANIMATED,
    SUFFIXES,
    as_ink,
    find_pictures,
    read_animation,
    read_picture,
)

SIDE = 32  # S, of a frame, in pixels
GLYPH = 14  # G, of a digit, in pixels
DIRECTIONS = {
    "right": (0, 1),
    "down right": (1, 1),
    "down": (1, 0),
    "down left": (1, -1),
    "left": (0, -1),
    "up left": (-1, -1),
    "up": (-1, 0),
    "up right": (-1, 1),
}  # (rows, columns); rows are counted from the top
FRAME_SUFFIXES = (*ANIMATED, ".npy")  # of files; a folder of images is a clip, too
MOST_FRAMES = 1000
LEAST_CHANGE = 0.2  # of a pixel over the frames of a video that is read; ink is 1
_NUMBER = re.compile(r"(\D*)(\d*)")
SPEEDS = (1, 2, 3)  # pixels per frame, along each axis of the motion
NUM_CLASSES = {"digit": CLASSES, "direction": len(DIRECTIONS), "speed": len(SPEEDS)}


class Clips(NamedTuple):
    """B videos of T frames."""

    frames: Array  # [B, T, S, S], with noise
    clean: Array  # [B, T, S, S], from 0, paper, to 1, ink
    labels: dict[str, Array]  # int [B] for each of NUM_CLASSES


def read_splits() -> Splits:
    """Reads the digits: 3,600 to train on, 400 to validate on, 1,000 to test."""
    return split_three_ways(read_digits(), validation_seed=0)


def velocity(direction: Array, speed: Array) -> Array:
    """Rows and columns per frame, int [..., 2], from indices [...] of a direction and a speed."""
    return jnp.array(SPEEDS)[speed][..., None] * jnp.array(list(DIRECTIONS.values()))[direction]


@partial(jax.jit, static_argnames=("num_frames", "distorted"))
def draw_clips(
    key: Array,
    images: Array,
    labels: Array,
    num_frames: int,
    noise: float,
    distorted: bool = False,
) -> Clips:
    """Draws videos of moving digits.

    Args:
      key: equal keys give equal clips.
      images: uint8 [B, 28, 28].
      labels: int [B], the digits.
      num_frames: T.
      noise: the standard deviation of the noise added to each pixel.
      distorted: whether to rotate, shear, scale and shift the digits a little, for training.
    """
    keys = jax.random.split(key, 5)
    batch_size = len(images)
    glyphs = images / 255.0
    if distorted:
        amounts = jax.random.uniform(keys[0], (batch_size, 6), minval=-1)
        glyphs = jax.vmap(_distort)(glyphs, amounts)
    glyphs = glyphs.reshape(batch_size, GLYPH, 2, GLYPH, 2).mean((2, 4))
    direction = jax.random.randint(keys[1], (batch_size,), 0, len(DIRECTIONS))
    speed = jax.random.randint(keys[2], (batch_size,), 0, len(SPEEDS))
    start = jax.random.randint(keys[3], (batch_size, 1, 2), 0, SIDE)
    corners = start + jnp.arange(num_frames)[:, None] * velocity(direction, speed)[:, None]
    clean = place(glyphs[:, None], corners)
    frames = clean + noise * jax.random.normal(keys[4], clean.shape)
    return Clips(frames, clean, {"digit": labels, "direction": direction, "speed": speed})


def place(glyphs: Array, corners: Array) -> Array:
    """Puts glyphs [..., G, G] on empty frames [..., S, S] with corners [..., 2] at (row, column).

    Pixels beyond an edge wrap around. Computed as products with 0-1 matrices, since gathering is
    slow on CPUs.
    """
    pixels = (corners[..., None] + jnp.arange(GLYPH)) % SIDE  # [..., 2, G]
    one_hot = (pixels[..., None, :] == jnp.arange(SIDE)[:, None]).astype(glyphs.dtype)
    return one_hot[..., 0, :, :] @ glyphs @ jnp.swapaxes(one_hot[..., 1, :, :], -1, -2)


def _distort(image: Array, amounts: Array) -> Array:
    """Rotates, shears, scales and shifts an image [28, 28] by amounts [6] from -1 to 1."""
    angle, shear = 0.2 * amounts[0], 0.2 * amounts[1]
    matrix = rotation(angle) @ jnp.array([[1.0, shear], [0.0, 1.0]])
    matrix = matrix * (1 + 0.12 * amounts[2:4])  # scales the columns of the matrix
    return transform_image(image, matrix, amounts[4:])


def read_frames(path: Path) -> np.ndarray:
    """Reads the user's video: an animation, a folder of images, or a .npy file [T, 32, 32].

    In an array, integers range from 0, paper, to 255, ink; floating-point numbers from 0 to 1. The
    images of a folder are the frames in the order of their names, see `read_picture`.

    Returns: float32 [T, 32, 32].

    Raises:
      InputError: there is no such file, or it holds something else.
    """
    array = load_array(path) if is_array_file(path) else as_ink(read_images(path))
    if array.ndim != 3 or array.shape[1:] != (SIDE, SIDE):
        raise InputError(
            f"{path} holds an array of shape {array.shape}; [T, {SIDE}, {SIDE}] is expected: "
            f"T frames of {SIDE} rows and columns."
        )
    if len(array) < 2:
        raise InputError(
            f"{path} holds {count(len(array), 'frame')}; at least 2 are needed to see a motion."
        )
    frames = array / 255.0 if array.dtype.kind in "iu" else array
    wrong = np.argwhere(~(np.abs(frames) < 10))  # NaN included
    if len(wrong):
        frame, row, column = wrong[0]
        raise InputError(
            f"{path} has {array[frame, row, column]} in frame {frame}, row {row}, column {column}; "
            "0 is expected for paper and 1 for ink, or integers up to 255."
        )
    if (ink := frames.max(0) - frames.min(0)).max() < LEAST_CHANGE:
        raise InputError(
            f"{path} shows no motion: no pixel changes by more than {ink.max():.2g}; ink is 1."
        )
    return frames.astype(np.float32)


def is_array_file(path: Path) -> bool:
    """Whether a path of frames is a .npy file. Raises InputError unless it may hold frames."""
    if not path.is_dir() and path.suffix.lower() not in FRAME_SUFFIXES:
        raise InputError(
            f"{path} must be a folder of images, or a file {', '.join(FRAME_SUFFIXES)}."
        )
    return not path.is_dir() and path.suffix.lower() == ".npy"


def read_images(path: Path) -> np.ndarray:
    """Reads an animation, or the images of a folder: gray values, float [T, 32, 32], black is 0.

    Raises:
      InputError: it is neither, or there are too many images, or fewer than two in the folder.
    """
    if not path.is_dir():
        return read_animation(path, SIDE, MOST_FRAMES)
    files = find_pictures(path)
    if len(files) < 2:
        raise InputError(
            f"{path} holds {count(len(files), 'image')} ({', '.join(SUFFIXES)}); at least 2 "
            "frames are needed to see a motion."
        )
    if len(files) > MOST_FRAMES:
        raise InputError(f"{path} holds {len(files)} images; at most {MOST_FRAMES} are read.")

    def in_order(path: Path) -> list[tuple[int, str]]:  # frame 10 comes after frame 9
        return [(int(part or -1), text) for text, part in _NUMBER.findall(path.name)]

    return np.stack([read_picture(path, SIDE) for path in sorted(files, key=in_order)])
