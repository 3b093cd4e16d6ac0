"""Random windows of a motion sensor's recordings, changed as if another person wore the sensor.

A sensor that sits on the wrist at another angle, rotated by R, measures R·a and R·ω. On the other
arm, whose movement is the mirror image M, it measures M·a, but det(M)·M·ω: angular velocity is an
axial vector. A movement at s times the speed has angular velocity s·ω. Its acceleration changes
with s², except for gravity, which dominates: the acceleration is therefore left unchanged.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.spatial.transform import Rotation

from experiments.common.data.interpolation import interpolate
from experiments.exercises.settings import Augmentation

UNCHANGED = Augmentation()


def mirror(signals: Array) -> Array:
    """The signals [..., 6] of the other arm: the sensor's x axis is normal to the mirror."""
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
    """Cuts one window from each of B recordings, and changes it at random.

    Equal keys give equal windows.

    Args:
      key: the random key.
      signals: [B, L, 6], three accelerations and three angular velocities.
      lengths: [B], the number of valid samples.
      starts: [B], where the windows start.
      size: T, the samples per window.
      jitter: the largest shift of a start, in samples.
      augmentation: how the windows are changed.

    Returns: [B, T, 6].
    """
    a = augmentation
    keys = jax.random.split(key, 5)
    batch_size = len(starts)
    windows, speed, mirrored = _cut(keys[0], signals, lengths, starts, size, jitter, a.speed)
    windows = windows.at[..., 3:].multiply(speed[:, None, None])
    windows = jnp.where((mirrored < a.mirrored)[:, None, None], mirror(windows), windows)
    rotation = Rotation.from_rotvec(a.angle * jax.random.normal(keys[1], (batch_size, 3)))
    vectors = windows.reshape(batch_size, size, 2, 3)
    windows = jnp.einsum("bij,btsj->btsi", rotation.as_matrix(), vectors).reshape(windows.shape)
    gains = jnp.exp(a.gain * jax.random.normal(keys[2], (batch_size, 1, 2)))
    noise = a.noise * jax.random.normal(keys[3], windows.shape)
    return windows * jnp.repeat(gains, 3, -1) + noise


@partial(jax.jit, static_argnames="size")
def draw_windows_of_any(
    key: Array,
    signals: Array,
    lengths: Array,
    starts: Array,
    size: int,
    jitter: float,
    augmentation: Augmentation,
) -> Array:
    """`draw_windows` of any channels, [B, L, C] to [B, T, C]: what they measure is not known.

    Only speed, gain and noise change them.
    """
    keys = jax.random.split(key, 3)
    windows, _, _ = _cut(keys[0], signals, lengths, starts, size, jitter, augmentation.speed)
    shape = (len(starts), 1, windows.shape[-1])
    gains = jnp.exp(augmentation.gain * jax.random.normal(keys[1], shape))
    return windows * gains + augmentation.noise * jax.random.normal(keys[2], windows.shape)


def _cut(
    key: Array,
    signals: Array,
    lengths: Array,
    starts: Array,
    size: int,
    jitter: float,
    speed_range: float,
) -> tuple[Array, Array, Array]:
    """Windows [B, T, C] at random speeds, these speeds [B], and other random numbers [B]."""
    shift, warp, other = jax.random.uniform(key, (3, len(starts)))
    speed = jnp.exp(speed_range * (2 * warp - 1))
    starts = starts + jitter * (2 * shift - 1)
    # A faster window is longer. It is moved to end inside the recording, where that is possible.
    starts = jnp.clip(starts, 0, jnp.maximum(lengths - 1 - speed * (size - 1), 0))
    positions = starts[:, None] + speed[:, None] * jnp.arange(size)
    return jax.vmap(interpolate)(signals, lengths, positions), speed, other
