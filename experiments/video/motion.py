"""Motion on a torus without a network: what moves by how much, and where it goes on to."""

import jax
import jax.numpy as jnp
from jax import Array

from experiments.video.moving_digits import DIRECTIONS, SPEEDS


def cross_correlation(frames: Array) -> Array:
    """Summed circular cross-correlations of each frame with the next: [T, S, S] -> [S, S].

    Entry (r, c) says how well the frames fit when all move on by r rows and c columns.
    """
    spectra = jnp.fft.rfft2(frames)
    return jnp.fft.irfft2((spectra[:-1].conj() * spectra[1:]).sum(0), s=frames.shape[1:])


def find_motion(frames: Array) -> tuple[Array, Array]:
    """The direction and the speed, of all that there are, whose motion fits frames [T, S, S] best.

    Returns: their numbers, [] each.
    """
    steps = jnp.array(list(DIRECTIONS.values()))[:, None] * jnp.array(SPEEDS)[:, None]  # [D, V, 2]
    fit = cross_correlation(frames)[steps[..., 0], steps[..., 1]]
    best = fit.argmax()
    return best // len(SPEEDS), best % len(SPEEDS)


def velocity_of(direction: Array, speed: Array) -> Array:
    """Rows and columns a frame, [2], of the numbers of a direction and a speed."""
    return jnp.array(SPEEDS)[speed] * jnp.array(list(DIRECTIONS.values()))[direction]


def move_last_on(frames: Array, count: int) -> Array:
    """The next frames [count, S, S], if the last of frames [T, S, S] moves on as found."""
    velocity = velocity_of(*find_motion(frames))
    return _moved(frames[-1], velocity, count)


def move_mean_on(frames: Array, count: int) -> Array:
    """As `move_last_on`, of the mean of all frames, each moved to where the last one is.

    It averages the noise out.
    """
    velocity = velocity_of(*find_motion(frames))
    steps = jnp.arange(len(frames))[::-1, None] * velocity
    aligned = jax.vmap(lambda frame, step: jnp.roll(frame, step, (0, 1)))(frames, steps)
    return _moved(aligned.mean(0), velocity, count)


def _moved(frame: Array, velocity: Array, count: int) -> Array:
    steps = (1 + jnp.arange(count))[:, None] * velocity
    return jax.vmap(lambda step: jnp.roll(frame, step, (0, 1)))(steps)
