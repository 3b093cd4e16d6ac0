"""Affine maps of images, with bilinear interpolation."""

import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates


def rotation(angle: Array) -> Array:
    """The matrix [2, 2, ...] that rotates (row, column) by an angle [...], in radians."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cosine, -sine], [sine, cosine]])


def transform_image(image: Array, matrix: Array, shift: Array) -> Array:
    """Resamples an image [H, W]; the value at p becomes that at `matrix` · p + `shift`.

    Positions p are measured from the center. The image is zero outside its edges.

    Args:
      image: floating [H, W].
      matrix: [2, 2].
      shift: [2], in pixels.

    Returns: [H, W].
    """
    center = (jnp.array(image.shape) - 1) / 2
    positions = jnp.indices(image.shape).reshape(2, -1) - center[:, None]
    sources = matrix @ positions + (center + shift)[:, None]
    return map_coordinates(image, list(sources), order=1).reshape(image.shape)
