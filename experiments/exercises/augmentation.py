"""Windows of a motion sensor's recordings, changed as another wearer would change them.

A sensor that sits on the wrist at another angle, R, measures R·a and R·ω. On the other arm, moved
as a mirror image M, it measures M·a, but det(M)·M·ω: angular velocity is an axial vector. A
movement s times as fast has s·ω. Its acceleration changes with s², but for gravity, which is most
of it: the acceleration is left as it is.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Augmentation(NamedTuple):
    """How windows are changed for training."""

    angle: float = 0.0  # deviation of the sensor's turn about each of its axes, radians
    speed: float = 0.0  # up to so much faster or slower: 0.2 is exp(±0.2)
    gain: float = 0.0  # deviation of the logarithm of what each signal is multiplied by
    noise: float = 0.0  # deviation of what is added to every value, in each channel's unit
    mirrored: float = 0.0  # the share of windows that become those of the other arm


UNCHANGED = Augmentation()


def mirror(signals: Array) -> Array:
    """The signals [..., 6] of the other arm: the sensor's x axis lies across the mirror."""
    return signals * jnp.array([-1.0, 1, 1, 1, -1, -1])


@partial(jax.jit, static_argnames="size")
def draw_windows(
    key: Array,
    signals: Array,
    lengths: Array,
    starts: Array,
    size: int,
    jitter: float = 0,
    augmentation: Augmentation = UNCHANGED,
) -> Array:
    """Cuts one window from each of B recordings, changed at random.

    Args:
      key: equal keys give equal windows.
      signals: [B, L, 6], three accelerations and three angular velocities.
      lengths: [B], how many samples exist.
      starts: [B], where the windows begin.
      size: T, the samples of a window.
      jitter: begins up to so many samples earlier or later.
      augmentation: how they are changed.

    Returns: [B, T, 6].
    """
    a = augmentation
    keys = jax.random.split(key, 5)
    batch_size = len(starts)
    shift, warp, mirrored = jax.random.uniform(keys[0], (3, batch_size))
    speed = jnp.exp(a.speed * (2 * warp - 1))
    begins = starts + jitter * (2 * shift - 1)
    # A faster window covers more: it is moved so that it ends inside, where the recording allows.
    begins = jnp.clip(begins, 0, jnp.maximum(lengths - 1 - speed * (size - 1), 0))
    places = begins[:, None] + speed[:, None] * jnp.arange(size)
    windows = jax.vmap(_interpolate)(signals, lengths, places)
    windows = windows.at[..., 3:].multiply(speed[:, None, None])
    windows = jnp.where((mirrored < a.mirrored)[:, None, None], mirror(windows), windows)
    rotations = rotation_matrices(a.angle * jax.random.normal(keys[1], (batch_size, 3)))
    halves = windows.reshape(batch_size, size, 2, 3)
    windows = jnp.einsum("bij,btsj->btsi", rotations, halves).reshape(windows.shape)
    gains = jnp.exp(a.gain * jax.random.normal(keys[2], (batch_size, 1, 2)))
    noise = a.noise * jax.random.normal(keys[3], windows.shape)
    return windows * jnp.repeat(gains, 3, -1) + noise


def rotation_matrices(vectors: Array) -> Array:
    """Rotations by |v| radians about the axes v: [B, 3] -> [B, 3, 3].

    Rodrigues' formula, I + sin|v|/|v|·K + (1 − cos|v|)/|v|²·K², with K·x = v × x.
    """
    x, y, z = vectors.T
    zero = jnp.zeros_like(x)
    cross = jnp.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    angle = jnp.maximum(jnp.linalg.norm(vectors, axis=-1), 1e-6)[:, None, None]
    first, second = jnp.sin(angle) / angle, (1 - jnp.cos(angle)) / angle**2
    return jnp.eye(3) + first * cross + second * cross @ cross


def _interpolate(signal: Array, length: Array, places: Array) -> Array:
    """A signal [L, 6], of which `length` samples exist, at places [T] between them."""
    places = jnp.clip(places, 0, length - 1)
    before = jnp.floor(places).astype(int)
    share = (places - before)[:, None]
    return (1 - share) * signal[before] + share * signal[jnp.minimum(before + 1, length - 1)]
