"""Connected digits, joined from recordings of single ones as a pure function of a random key.

A string is a row of utterances with pauses. Each is cross-faded with what is beside it, the next
utterance or the pause, so that no step in the cepstra gives a boundary away. All pauses of a
string are the quietest frame of some utterance of the same pool, with a little noise. The cepstrum
of a sound that fades into another is not the mixture of both cepstra: it is the logarithm of the
power that is mixed here, not the power.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.speech.spoken_digits import COEFFICIENTS, Utterances

FADE = 3  # frames from one sound to the next
LONGEST_PAUSE = 8  # frames; from 0 up, all equally likely
PAUSE_NOISE = 0.15  # standard deviation of the noise in a pause


class Distortion(NamedTuple):
    """How utterances are changed for training. Deviations are in units of each coefficient's."""

    speed: float = 0.0  # up to so much faster or slower: 0.15 is exp(±0.15)
    loudness: float = 0.0  # deviation of what is added to the first coefficient of an utterance
    colour: float = 0.0  # deviation of what is added to the others
    noise: float = 0.0  # of every value of a string; its deviation is drawn between 0 and this
    masked: float = 0.0  # two stretches of a string, each up to so many frames, become zero


UNCHANGED = Distortion()


class Pool(NamedTuple):
    """What strings are joined from."""

    frames: Array  # [N, L, 13], scaled
    lengths: Array  # [N]
    digits: Array  # [N]
    quiet: Array  # [M, 13], frames for the pauses


class Strings(NamedTuple):
    """B strings of at most D digits."""

    frames: Array  # [B, T, 13], zero past the end
    lengths: Array  # [B]
    digits: Array  # [B, D], -1 past the last
    utterances: Array  # [B, D], their numbers in the pool; -1 past the last
    ends: Array  # [B, D]: each utterance ends before this frame


def make_pool(utterances: Utterances) -> Pool:
    """Takes scaled utterances, and for the pauses the quieter half of their quietest frames."""
    exists = np.arange(utterances.frames.shape[1]) < utterances.lengths[:, None]
    loudness = np.where(exists, utterances.frames[..., 0], np.inf)  # the log energy, but for scale
    quietest = utterances.frames[np.arange(len(loudness)), loudness.argmin(1)]
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
) -> Strings:
    """Draws strings.

    Args:
      key: equal keys give equal strings.
      pool: what they are joined from.
      count: B.
      num_digits: the least and the largest number of digits, all numbers equally likely.
      width: T; digits that would end after it are left out.
      distortion: how the utterances are changed.
    """
    keys = jax.random.split(key)
    most = num_digits[1]
    # All chances in two draws: each draw takes its time to compile.
    sizes = np.array([most, 1, most, most + 1, 1, 1, 2, 2])
    uniform = jax.random.uniform(keys[0], (count, sizes.sum()))
    chances = _Chances(*jnp.split(uniform, np.cumsum(sizes)[:-1], axis=1))
    normal = jax.random.normal(keys[1], (count, most + 2 * width, COEFFICIENTS))
    join = partial(_join, pool, num_digits, distortion)
    return jax.vmap(join)(chances, *jnp.split(normal, [most, most + width], axis=1))


class _Chances(NamedTuple):
    """Random numbers between 0 and 1 that decide on one string."""

    utterances: Array  # [D]
    number: Array  # [1]
    speeds: Array  # [D]
    pauses: Array  # [D + 1]
    hush: Array  # [1]
    noise: Array  # [1]
    begins: Array  # [2], of the masks
    masks: Array  # [2]


def _join(
    pool: Pool,
    num_digits: tuple[int, int],
    distortion: Distortion,
    chances: _Chances,
    voices: Array,
    hush: Array,
    noise: Array,
) -> Strings:
    """One string. voices [D, 13], hush [T, 13] and noise [T, 13] are normally distributed."""
    (least, most), width = num_digits, len(hush)
    chosen = _index(chances.utterances, len(pool.digits))
    speed = jnp.exp(distortion.speed * (2 * chances.speeds - 1))
    original = pool.lengths[chosen]
    lengths = jnp.maximum(jnp.rint(original / speed), FADE).astype(int)
    pauses = _index(chances.pauses, LONGEST_PAUSE + 1)
    ends = jnp.cumsum(pauses[:-1] + lengths)
    number = least + _index(chances.number, most + 1 - least)
    exists = (jnp.arange(most) < number) & (ends <= width)
    length = jnp.minimum(jnp.max(jnp.where(exists, ends, 0)) + pauses[-1], width)

    inside = jnp.arange(width) + 0.5 - (ends - lengths)[:, None]  # [D, T]: since each began
    places = inside * (original / lengths)[:, None] - 0.5
    spoken = jax.vmap(_interpolate)(pool.frames[chosen], original, places)
    added = jnp.array([distortion.loudness] + [distortion.colour] * (COEFFICIENTS - 1)) * voices
    rise = jnp.clip(inside / FADE + 0.5, 0, 1)
    fall = jnp.clip((lengths[:, None] - inside) / FADE + 0.5, 0, 1)
    weights = jnp.where(exists[:, None], rise + fall - 1, 0)  # of all and the pause: 1 together

    frames = jnp.einsum("dt,dtc->tc", weights, spoken + added[:, None])
    quiet = pool.quiet[_index(chances.hush, len(pool.quiet))] + PAUSE_NOISE * hush
    frames += (1 - weights.sum(0))[:, None] * quiet + distortion.noise * chances.noise * noise
    since = jnp.arange(width) - width * chances.begins[:, None]
    masked = jnp.any((since >= 0) & (since < distortion.masked * chances.masks[:, None]), 0)
    heard = (jnp.arange(width) < length) & ~masked
    return Strings(
        frames=jnp.where(heard[:, None], frames, 0),
        lengths=length,
        digits=jnp.where(exists, pool.digits[chosen], -1),
        utterances=jnp.where(exists, chosen, -1),
        ends=jnp.where(exists, ends, 0),
    )


def _index(chance: Array, count: int) -> Array:
    """Numbers from 0 to `count` - 1, all equally likely."""
    return jnp.minimum((chance * count).astype(int), count - 1)


def _interpolate(frames: Array, length: Array, places: Array) -> Array:
    """Frames [L, 13], of which `length` exist, at places [T] between them; the ends go on."""
    places = jnp.clip(places, 0, length - 1)
    before = jnp.floor(places).astype(int)
    share = (places - before)[:, None]
    return (1 - share) * frames[before] + share * frames[jnp.minimum(before + 1, length - 1)]
