"""Motion on a torus without a network: estimates it by cross-correlation, and extrapolates it."""

import jax
import jax.numpy as jnp
from jax import Array

from experiments.video.data import DIRECTIONS, SPEEDS, velocity


def cross_correlate(frames: Array) -> Array:
    """Sums circular cross-correlations of consecutive frames: [T, S, S] -> [S, S].

    Entry (r, c) says how well each frame matches the next when shifted by r rows and c columns.
    """
    spectra = jnp.fft.rfft2(frames)
    return jnp.fft.irfft2((spectra[:-1].conj() * spectra[1:]).sum(0), s=frames.shape[1:])


def estimate_motion(frames: Array) -> tuple[Array, Array]:
    """Finds the direction and the speed that match frames [T, S, S] best.

    Returns: their indices in DIRECTIONS and SPEEDS, [] each.
    """
    directions, speeds = jnp.indices((len(DIRECTIONS), len(SPEEDS)))
    steps = velocity(directions, speeds)  # [directions, speeds, 2]
    match = cross_correlate(frames)[steps[..., 0], steps[..., 1]]
    best = match.argmax()
    return best // len(SPEEDS), best % len(SPEEDS)


def extrapolate_last(frames: Array, count: int) -> Array:
    """Predicts [count, S, S] by moving the last of frames [T, S, S] on."""
    return _move(frames[-1], velocity(*estimate_motion(frames)), count)


def extrapolate_mean(frames: Array, count: int) -> Array:
    """Like `extrapolate_last`, with the mean of all frames aligned to the last: less noise."""
    step = velocity(*estimate_motion(frames))
    shifts = jnp.arange(len(frames))[::-1, None] * step
    aligned = jax.vmap(lambda frame, shift: jnp.roll(frame, shift, (0, 1)))(frames, shifts)
    return _move(aligned.mean(0), step, count)


def _move(frame: Array, step: Array, count: int) -> Array:
    shifts = (1 + jnp.arange(count))[:, None] * step
    return jax.vmap(lambda shift: jnp.roll(frame, shift, (0, 1)))(shifts)
