"""Motion estimated by cross-correlation, and extrapolated."""

from functools import partial

import jax
import numpy as np
import pytest

from experiments.video import baselines
from experiments.video.data import draw_clips
from tests.fixtures.archives.handwritten import make_images


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_motions_are_estimated_and_extrapolated(noise):
    clips = draw_clips(jax.random.key(3), *make_images(each=3), num_frames=9, noise=0.0)
    frames = clips.clean + noise * jax.random.normal(jax.random.key(1), clips.clean.shape)
    direction, speed = jax.jit(jax.vmap(baselines.estimate_motion))(frames[:, :6])
    np.testing.assert_array_equal(direction, clips.labels["direction"])
    np.testing.assert_array_equal(speed, clips.labels["speed"])
    for extrapolate, averaged in (
        (baselines.extrapolate_last, 1),
        (baselines.extrapolate_mean, 6),
    ):
        run = jax.jit(jax.vmap(partial(extrapolate, count=3)))
        predicted = run(frames[:, :6])
        error = float(((predicted - clips.clean[:, 6:]) ** 2).mean())
        assert error == pytest.approx(noise**2 / averaged, rel=0.1, abs=1e-6)


def test_cross_correlation_is_the_product_for_each_shift():
    frames = np.random.default_rng(0).normal(size=(3, 5, 5)).astype(np.float32)
    found = baselines.cross_correlate(frames)
    for row in range(5):
        for column in range(5):
            shifted = np.roll(frames[:-1], (row, column), (1, 2))
            assert found[row, column] == pytest.approx((shifted * frames[1:]).sum(), abs=1e-4)
