"""The distribution of random distortions."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from experiments.images import distortions
from experiments.images.distortions import Distortion

distort = jax.jit(distortions.distort)  # traced amounts: one program per shape
KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).uniform(size=(40, 11, 8)).astype(np.float32)


def test_no_distortion_changes_nothing():
    np.testing.assert_allclose(distort(KEY, IMAGES, Distortion()), IMAGES, atol=1e-5)


def blobs(row: float = 14.0, column: float = 14.0) -> np.ndarray:
    """Makes 500 images of 29 × 29 with one soft blob at a position."""
    rows, columns = np.indices((29, 29))
    blob = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4)
    return np.repeat(blob[None].astype(np.float32), 500, 0)


def centers(images) -> np.ndarray:
    return np.array([ndimage.center_of_mass(np.asarray(image)) for image in images])


def test_shifts_are_uniform_and_independent():
    moved = centers(distort(KEY, blobs(), Distortion(shift=3.0))) - 14
    assert np.abs(moved).max() < 3.02
    assert np.abs(moved.mean(0)).max() < 0.3
    np.testing.assert_allclose(moved.std(0), 3 / 3**0.5, rtol=0.1)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.15
    assert not np.array_equal(moved, centers(distort(jax.random.key(1), blobs(), Distortion(3.0))))


def test_rotation_keeps_the_distance_and_reaches_the_angle():
    moved = centers(distort(KEY, blobs(row=6.0), Distortion(angle=30.0))) - 14
    np.testing.assert_allclose(np.hypot(*moved.T), 8, atol=0.1)
    angles = np.degrees(np.arctan2(moved[:, 1], -moved[:, 0]))
    assert 28 < angles.max() < 30.1
    assert -30.1 < angles.min() < -28


def test_stretching_scales_both_axes_independently():
    moved = centers(distort(KEY, blobs(6.0, 6.0), Distortion(stretch=0.2))) - 14
    for positions in moved.T:
        assert -9.7 < positions.min() < -9.5
        assert -6.5 < positions.max() < -6.3
    assert np.abs(np.diff(moved)).max() > 2


def test_slanting_moves_sideways_in_proportion_to_the_height():
    moved = centers(distort(KEY, blobs(row=6.0), Distortion(slant=0.5))) - 14
    np.testing.assert_allclose(moved[:, 0], -8, atol=0.05)
    assert 3.8 < np.abs(moved[:, 1]).max() < 4.05


@pytest.mark.parametrize("amount", Distortion._fields)
def test_every_field_has_an_effect(amount):
    changed = distort(KEY, IMAGES, Distortion(**{amount: 0.3}))
    assert np.abs(changed - IMAGES).max() > 0.01 * (amount != "angle")
