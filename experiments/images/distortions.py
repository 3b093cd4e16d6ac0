"""Images moved, turned, stretched and slanted at random, as another hand might have drawn them.

A place p of the distorted image, from the middle, shows what the image has at A·p + s:

    A = R(angle) · [[1, slant], [0, 1]] · diag(1 / height, 1 / width)

Reference: Simard et al., 2003, "Best practices for convolutional neural networks applied to visual
document analysis", https://doi.org/10.1109/ICDAR.2003.1227801
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates


class Distortion(NamedTuple):
    """How much at most, in either direction; all zero leaves an image as it is."""

    shift: float = 0.0  # pixels, down and to the right
    angle: float = 0.0  # degrees
    stretch: float = 0.0  # of each side, as a share of it
    slant: float = 0.0  # pixels to the side for each pixel down


SLIGHT = Distortion(shift=1.0, angle=10.0, stretch=0.1, slant=0.1)
STRONG = Distortion(shift=2.0, angle=15.0, stretch=0.15, slant=0.2)


def distort(key: Array, images: Array, most: Distortion) -> Array:
    """Distorts each image in its own way, every amount even between minus and plus the most.

    Args:
      key: a JAX random key.
      images: floating [B, H, W]; all around them is zero.
      most: how much.

    Returns: [B, H, W].
    """
    drawn = jax.random.uniform(key, (6, len(images)), minval=-1.0, maxval=1.0)
    angle = jnp.deg2rad(most.angle) * drawn[0]
    slant = most.slant * drawn[1]
    height, width = 1 + most.stretch * drawn[2:4]
    matrices = _matrices(angle, slant, height, width)
    return jax.vmap(transform)(images, matrices, most.shift * drawn[4:6].T)


def transform(image: Array, matrix: Array, shift: Array) -> Array:
    """What the image [H, W] has at `matrix` [2, 2] · p + `shift` [2], for every place p from the
    middle: [H, W], between pixels by bilinear interpolation."""
    middle = (jnp.array(image.shape) - 1) / 2
    places = jnp.indices(image.shape).reshape(2, -1) - middle[:, None]
    sources = matrix @ places + (middle + shift)[:, None]
    return map_coordinates(image, list(sources), order=1).reshape(image.shape)


def _matrices(angle: Array, slant: Array, height: Array, width: Array) -> Array:
    """A of each image, [B, 2, 2]; all arguments are [B]. The axes are down and to the right."""
    cosine, sine, none = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    turn = jnp.array([[cosine, -sine], [sine, cosine]])
    lean = jnp.array([[none + 1, none], [slant, none + 1]])
    scale = jnp.array([[1 / height, none], [none, 1 / width]])
    return jnp.einsum("ijb,jkb,klb->bil", turn, lean, scale)
