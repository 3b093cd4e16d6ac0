"""Videos of handwritten digits that move over a torus, drawn as a pure function of a random key.

The digits are real, see `experiments.vision.digits`, made smaller; their motion is generated: one
of eight directions at one of three speeds, constant, and what leaves on one side comes back on the
other. A moving digit of one part of the split is in no other part.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.command import InputError
from experiments.common.data.arrays import load_array
from experiments.vision.digits import CLASSES, Digits, read_digits, split_digits

SIDE = 32  # S, of a frame, in pixels
GLYPH = 14  # G, of a digit
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
SPEEDS = (1, 2, 3)  # pixels a frame, along each axis that the digit moves on
SIZES = {"digit": CLASSES, "direction": len(DIRECTIONS), "speed": len(SPEEDS)}  # of the questions


class Parts(NamedTuple):
    """The digits in three parts without a common one."""

    train: Digits
    validation: Digits
    test: Digits


class Clips(NamedTuple):
    """B videos of T frames."""

    frames: Array  # [B, T, S, S], what is seen: with noise
    clean: Array  # [B, T, S, S], from 0, paper, to 1, ink
    answers: dict[str, Array]  # int [B] of each of SIZES


def read_parts() -> Parts:
    """Reads the digits: 3,600 to train on, 400 to validate on, 1,000 to test."""
    rest, test = split_digits(read_digits())
    train, validation = split_digits(rest, test_share=0.1)
    return Parts(train, validation, test)


@partial(jax.jit, static_argnames=("num_frames", "distorted"))
def draw_clips(
    key: Array,
    images: Array,
    labels: Array,
    num_frames: int,
    noise: float,
    distorted: bool = False,
) -> Clips:
    """Lets digits move.

    Args:
      key: equal keys give equal clips.
      images: uint8 [B, 28, 28].
      labels: int [B], the digits.
      num_frames: T.
      noise: the deviation of what is added to each pixel of what is seen.
      distorted: whether the digits are turned, sheared and scaled a little, for training.
    """
    keys = jax.random.split(key, 5)
    batch_size = len(images)
    glyphs = images / 255.0
    if distorted:
        glyphs = jax.vmap(_distort)(glyphs, jax.random.uniform(keys[0], (batch_size, 6), minval=-1))
    glyphs = glyphs.reshape(batch_size, GLYPH, 2, GLYPH, 2).mean((2, 4))
    direction = jax.random.randint(keys[1], (batch_size,), 0, len(DIRECTIONS))
    speed = jax.random.randint(keys[2], (batch_size,), 0, len(SPEEDS))
    velocity = jnp.array(SPEEDS)[speed, None] * jnp.array(list(DIRECTIONS.values()))[direction]
    start = jax.random.randint(keys[3], (batch_size, 1, 2), 0, SIDE)
    places = start + jnp.arange(num_frames)[:, None] * velocity[:, None]  # [B, T, 2]
    clean = place(glyphs[:, None], places)
    frames = clean + noise * jax.random.normal(keys[4], clean.shape)
    return Clips(frames, clean, {"digit": labels, "direction": direction, "speed": speed})


def place(glyphs: Array, corners: Array) -> Array:
    """Puts glyphs [..., G, G] on empty frames [..., S, S], the corners [..., 2] at (row, column).

    What lies over an edge comes back on the other side. As two products with 0 and 1: gathering is
    slow on CPUs.
    """
    pixels = (corners[..., None] + jnp.arange(GLYPH)) % SIDE  # [..., 2, G]
    where = (pixels[..., None, :] == jnp.arange(SIDE)[:, None]).astype(glyphs.dtype)
    return where[..., 0, :, :] @ glyphs @ jnp.swapaxes(where[..., 1, :, :], -1, -2)


def _distort(image: Array, chances: Array) -> Array:
    """Turns, shears, scales and shifts an image [28, 28]; six chances from -1 to 1 say how far."""
    turn, shear, *scales = 0.2 * chances[0], 0.2 * chances[1], *(1 + 0.12 * chances[2:4])
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    matrix = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array([[1.0, shear], [0.0, 1.0]])
    matrix = matrix * jnp.array(scales)
    centre = (image.shape[0] - 1) / 2
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, image.shape), indexing="ij")) - centre
    places = jnp.einsum("ij,jhw->ihw", matrix, grid) + centre + chances[4:, None, None]
    return jax.scipy.ndimage.map_coordinates(image, list(places), order=1)


def read_frames(path: Path) -> np.ndarray:
    """Reads a video that a user gives: a .npy file of frames [T, 32, 32].

    Bytes are taken from 0 to 255, other numbers from 0 to 1: paper and ink.

    Returns: float32 [T, 32, 32].

    Raises:
      FileNotFoundError: there is no such file.
      InputError: it holds something else.
    """
    array = load_array(path)
    if array.ndim != 3 or array.shape[1:] != (SIDE, SIDE):
        raise InputError(
            f"{path} holds an array of shape {array.shape}; [T, {SIDE}, {SIDE}] is expected: "
            f"T frames of {SIDE} rows and columns."
        )
    if len(array) < 2:
        raise InputError(f"{path} holds {len(array)} frames; 2 or more are needed to see a motion.")
    frames = array / 255.0 if array.dtype.kind in "iu" else array
    wrong = np.argwhere(~(np.abs(frames) < 10))  # NaN included
    if len(wrong):
        frame, row, column = wrong[0]
        raise InputError(
            f"{path} has {array[frame, row, column]} in frame {frame}, row {row}, column {column}; "
            "0 is expected for paper and 1 for ink, or bytes up to 255."
        )
    return frames.astype(np.float32)
