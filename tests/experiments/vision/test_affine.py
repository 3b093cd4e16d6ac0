"""Affine maps of images, compared with SciPy's."""

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from experiments.vision.affine import rotation, transform_image


def test_transform_agrees_with_scipy():
    rng = np.random.default_rng(1)
    for image in rng.uniform(size=(5, 11, 8)).astype(np.float32):
        matrix, shift = np.eye(2) + rng.normal(size=(2, 2)) / 4, rng.normal(size=2)
        center = (np.array(image.shape) - 1) / 2
        offset = center + shift - matrix @ center
        expected = ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-constant")
        found = transform_image(image, jnp.asarray(matrix), jnp.asarray(shift))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rotation_turns_the_first_axis_to_the_second():
    np.testing.assert_allclose(rotation(jnp.float32(np.pi / 2))[:, 0], [0, 1], atol=1e-6)
    angles = jnp.array([0.1, 0.2])
    assert rotation(angles).shape == (2, 2, 2)
    np.testing.assert_allclose(jnp.linalg.det(jnp.moveaxis(rotation(angles), -1, 0)), 1, rtol=1e-6)
