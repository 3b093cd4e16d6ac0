"""Strings of digits, joined from recordings of single digits as a pure function of a random key.

A string is a sequence of utterances with pauses between them. Neighboring sounds are cross-faded,
so that no jump in the cepstra reveals a boundary. All pauses of a string are the quietest frame of
some utterance of the same pool, with a little noise. The cross-fade mixes cepstra, hence log power:
the cepstrum of a real mixture, where powers add, would differ.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.data.interpolation import interpolate
from experiments.speech.distortion import Distortion
from experiments.speech.spoken_digits import COEFFICIENTS, Utterances, frame_mask

FADE = 3  # frames of a cross-fade
LONGEST_PAUSE = 8  # frames; uniform from 0
PAUSE_NOISE = 0.15  # standard deviation of the noise in a pause


UNCHANGED = Distortion()


class Pool(NamedTuple):
    """The N utterances that strings are joined from."""

    frames: Array  # [N, L, 13], standardized
    lengths: Array  # [N]
    digits: Array  # [N]
    quiet: Array  # [M, 13], frames for the pauses


class DigitStrings(NamedTuple):
    """B strings of at most D digits."""

    frames: Array  # [B, T, 13], zero past the end
    lengths: Array  # [B]
    digits: Array  # [B, D], -1 past the last
    utterances: Array  # [B, D], each utterance's index in the pool; -1 past the last
    ends: Array  # [B, D]: the frame before which each utterance ends


def make_pool(utterances: Utterances) -> Pool:
    """Makes a pool of standardized utterances.

    The frames for the pauses are the quieter half of the utterances' quietest frames.
    """
    # The first coefficient is the log energy, up to scale.
    energy = np.where(frame_mask(utterances), utterances.frames[..., 0], np.inf)
    quietest = utterances.frames[np.arange(len(energy)), energy.argmin(1)]
    quiet = quietest[np.argsort(quietest[:, 0])[: (len(quietest) + 1) // 2]]
    return Pool(*map(jnp.asarray, (*utterances, quiet)))


@partial(jax.jit, static_argnames=("count", "num_digits", "width"))
def draw_strings(
    key: Array,
    pool: Pool,
    count: int,
    num_digits: tuple[int, int],
    width: int,
    distortion: Distortion = UNCHANGED,
) -> DigitStrings:
    """Draws strings. Equal keys give equal strings.

    Args:
      key: the random key.
      pool: the utterances to join.
      count: B.
      num_digits: the smallest and the largest number of digits, drawn uniformly.
      width: T; digits that would end after frame T are left out.
      distortion: how the utterances are changed.
    """
    keys = jax.random.split(key)
    most = num_digits[1]
    # Two draws in all: each one takes time to compile.
    sizes = np.array([most, 1, most, most + 1, 1, 1, 2, 2])
    uniform = jax.random.uniform(keys[0], (count, sizes.sum()))
    uniforms = _Uniforms(*jnp.split(uniform, np.cumsum(sizes)[:-1], axis=1))
    normal = jax.random.normal(keys[1], (count, most + 2 * width, COEFFICIENTS))
    join = partial(_join, pool, num_digits, distortion)
    return jax.vmap(join)(uniforms, *jnp.split(normal, [most, most + width], axis=1))


class _Uniforms(NamedTuple):
    """The uniform random numbers that determine one string."""

    utterances: Array  # [D]
    number: Array  # [1]
    speeds: Array  # [D]
    pauses: Array  # [D + 1]
    quiet: Array  # [1]
    noise: Array  # [1]
    mask_starts: Array  # [2]
    mask_widths: Array  # [2]


def _join(
    pool: Pool,
    num_digits: tuple[int, int],
    distortion: Distortion,
    uniforms: _Uniforms,
    offsets: Array,
    pause_noise: Array,
    noise: Array,
) -> DigitStrings:
    """One string. offsets [D, 13], pause_noise [T, 13] and noise [T, 13] are standard normal."""
    (least, most), width = num_digits, len(noise)
    chosen = _index(uniforms.utterances, len(pool.digits))
    speed = jnp.exp(distortion.speed * (2 * uniforms.speeds - 1))
    original = pool.lengths[chosen]
    lengths = jnp.maximum(jnp.rint(original / speed), FADE).astype(int)
    pauses = _index(uniforms.pauses, LONGEST_PAUSE + 1)
    ends = jnp.cumsum(pauses[:-1] + lengths)
    number = least + _index(uniforms.number, most + 1 - least)
    valid = (jnp.arange(most) < number) & (ends <= width)
    length = jnp.minimum(jnp.max(jnp.where(valid, ends, 0)) + pauses[-1], width)

    elapsed = jnp.arange(width) + 0.5 - (ends - lengths)[:, None]  # [D, T], since each start
    positions = elapsed * (original / lengths)[:, None] - 0.5
    spoken = jax.vmap(interpolate)(pool.frames[chosen], original, positions)
    scales = jnp.array([distortion.loudness] + [distortion.color] * (COEFFICIENTS - 1))
    fade_in = jnp.clip(elapsed / FADE + 0.5, 0, 1)
    fade_out = jnp.clip((lengths[:, None] - elapsed) / FADE + 0.5, 0, 1)
    weights = jnp.where(valid[:, None], fade_in + fade_out - 1, 0)  # the pause has the rest to 1

    frames = jnp.einsum("dt,dtc->tc", weights, spoken + (scales * offsets)[:, None])
    quiet = pool.quiet[_index(uniforms.quiet, len(pool.quiet))] + PAUSE_NOISE * pause_noise
    frames += (1 - weights.sum(0))[:, None] * quiet + distortion.noise * uniforms.noise * noise
    since = jnp.arange(width) - width * uniforms.mask_starts[:, None]
    masked = jnp.any((since >= 0) & (since < distortion.masked * uniforms.mask_widths[:, None]), 0)
    audible = (jnp.arange(width) < length) & ~masked
    return DigitStrings(
        frames=jnp.where(audible[:, None], frames, 0),
        lengths=length,
        digits=jnp.where(valid, pool.digits[chosen], -1),
        utterances=jnp.where(valid, chosen, -1),
        ends=jnp.where(valid, ends, 0),
    )


def _index(uniform: Array, count: int) -> Array:
    """Maps numbers from [0, 1) to indices from 0 to `count` - 1, all equally likely."""
    return jnp.minimum((uniform * count).astype(int), count - 1)
