"""Random shifts, rotations, scalings and slants, as data augmentation for handwriting.

Position p of the distorted image, measured from the center as (row, column), shows the original
at A·p + s, where

    A = R(angle) · [[1, 0], [slant, 1]] · diag(1 / height, 1 / width)

Reference: Simard et al., 2003, "Best practices for convolutional neural networks applied to visual
document analysis", https://doi.org/10.1109/ICDAR.2003.1227801
"""

import jax
import jax.numpy as jnp
from jax import Array

from experiments.images.settings import Distortion
from experiments.vision.affine import rotation, transform_image


def distort(key: Array, images: Array, limits: Distortion) -> Array:
    """Distorts each image independently, with amounts uniform between minus and plus the limits.

    Args:
      key: a JAX random key.
      images: floating [B, H, W], zero outside their edges.
      limits: the largest distortion.

    Returns: [B, H, W].
    """
    drawn = jax.random.uniform(key, (6, len(images)), minval=-1.0, maxval=1.0)
    angle = jnp.deg2rad(limits.angle) * drawn[0]
    slant = limits.slant * drawn[1]
    height, width = 1 + limits.stretch * drawn[2:4]
    matrices = _matrices(angle, slant, height, width)
    return jax.vmap(transform_image)(images, matrices, limits.shift * drawn[4:6].T)


def _matrices(angle: Array, slant: Array, height: Array, width: Array) -> Array:
    """The matrix A of each image, [B, 2, 2]; all arguments are [B]."""
    zero, one = jnp.zeros_like(angle), jnp.ones_like(angle)
    shear = jnp.array([[one, zero], [slant, one]])
    scale = jnp.array([[1 / height, zero], [zero, 1 / width]])
    return jnp.einsum("ijb,jkb,klb->bil", rotation(angle), shear, scale)
