"""A network that watches videos: convolutions of a frame, a GRU over frames, and what is expected.

From the GRU's state a frame is drawn in two parts: what is there, a glyph, and where, two
distributions over the rows and the columns of its corner. The frame is their convolution on the
torus, R·glyph·Cᵀ, with the circulant matrices R and C of the two distributions.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.video.moving_digits import SIDE, SIZES
from grujax.linen import GRU

PyTree = Any
INK_SCALE = 4.0  # of frames that are mostly paper: their deviation becomes about 1
GLYPH_ROOM = 16  # rows and columns of the glyph that is drawn, GLYPH or more


class TorusConv(nn.Module):
    """A convolution over the edges, then max(0, ·).

    One matrix product with all patches: XLA's own convolutions are many times slower on CPUs where
    they are in a loop, as every step of a training is.
    """

    features: int
    size: int  # of the kernel, odd

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        """[N, S, S, C] -> [N, S / 2, S / 2, features]: every second place."""
        side, margin = maps.shape[1], self.size // 2
        padded = jnp.pad(maps, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="wrap")
        shifts = range(self.size)
        rows = jnp.concatenate([padded[:, i : i + side : 2] for i in shifts], -1)
        patches = jnp.concatenate([rows[:, :, j : j + side : 2] for j in shifts], -1)
        return nn.relu(nn.Dense(self.features)(patches))


class Encoder(nn.Module):
    """Three convolutions of one frame: what is somewhere in it, and where.

    The last one's maximum over all places says what is there, wherever it is; the means of the
    first one's maps over the rows, and over the columns, say where.
    """

    features: int  # of each of the two

    @nn.compact
    def __call__(self, frames: Array) -> Array:
        """[N, S, S] -> [N, 2 · features]."""
        fine = TorusConv(16, 5)(INK_SCALE * frames[..., None])
        profiles = jnp.concatenate([fine.mean(1), fine.mean(2)], -1).reshape(len(frames), -1)
        where = nn.relu(nn.Dense(self.features)(profiles))
        what = TorusConv(self.features, 5)(TorusConv(32, 3)(fine)).max((1, 2))
        return jnp.concatenate([what, where], -1)


class Watcher(nn.Module):
    """Names what moves, whither and how fast; the one with a GRU also expects the next frames.

    Attributes:
      hidden_size: H.
      features: of the encoder.
      dropout: the rate, of what the answers are given from.
      reader: what becomes of the frames: "gru" is its last state, "mean" their mean, which does not
        know their order, "last" the last one alone.
    """

    hidden_size: int
    features: int
    dropout: float = 0.0
    reader: str = "gru"

    def setup(self) -> None:
        self.encoder = Encoder(self.features)
        self.gru = GRU(self.hidden_size)
        self.dense = nn.Dense(self.hidden_size)
        self.drop = nn.Dropout(self.dropout)
        self.questions = {name: nn.Dense(size) for name, size in SIZES.items()}
        self.glyph = nn.Dense(GLYPH_ROOM**2)
        self.corner = nn.Dense(2 * SIDE)

    def __call__(self, frames: Array, train: bool = False) -> tuple[dict[str, Array], Array]:
        """Watches frames [B, T, S, S].

        Returns: the logits of each question after each frame, [B, T, its size], and the states
        [B, T, H]. Without a GRU there is one answer alone, T = 1.
        """
        if self.reader == "gru":
            hs = self.watch(frames)[1]
        else:
            chosen = frames[:, -1:] if self.reader == "last" else frames
            hs = nn.relu(self.dense(self._encode(chosen).mean(1)))[:, None]
        return self.answer(hs, train), hs

    def watch(self, frames: Array, h0: Array | None = None) -> tuple[Array, Array]:
        """Frames [B, T, S, S], from a state [B, H] on. Returns: the last state and all states."""
        return self.gru(self._encode(frames), h0)

    def answer(self, h: Array, train: bool = False) -> dict[str, Array]:
        """The logits of each question at states [..., H]."""
        h = self.drop(h, deterministic=not train)
        return {name: dense(h) for name, dense in self.questions.items()}

    def expect(self, h: Array) -> Array:
        """The next frame at states [..., H]: [..., S, S], from 0 to 1."""
        glyph = nn.sigmoid(self.glyph(h) - 2).reshape(*h.shape[:-1], GLYPH_ROOM, GLYPH_ROOM)
        places = nn.softmax(self.corner(h).reshape(*h.shape[:-1], 2, SIDE))
        shifted = [jnp.roll(places, shift, -1) for shift in range(GLYPH_ROOM)]
        circulant = jnp.stack(shifted, -1)  # [..., 2, S, room]
        rows, columns = circulant[..., 0, :, :], circulant[..., 1, :, :]
        return rows @ glyph @ jnp.swapaxes(columns, -1, -2)

    def _encode(self, frames: Array) -> Array:
        """Time is folded into the batch."""
        flat = self.encoder(frames.reshape(-1, SIDE, SIDE))
        return flat.reshape(*frames.shape[:2], -1)


def init_watcher(model: Watcher, key: Array) -> PyTree:
    """Parameters of all that the reader needs."""

    def everything(model: Watcher) -> None:
        _, hs = model(jnp.zeros((1, 2, SIDE, SIDE)))
        if model.reader == "gru":
            model.expect(hs)

    return model.init(key, method=everything)


def imagine(model: Watcher, params: PyTree, h: Array, count: int) -> Array:
    """The next `count` frames at states [B, H], each seen as if it had come: [B, count, S, S]."""

    def step(h: Array, _: None) -> tuple[Array, Array]:
        frame = model.apply(params, h, method="expect")
        h, _ = model.apply(params, frame[:, None], h, method="watch")
        return h, frame

    _, frames = jax.lax.scan(step, h, length=count)
    return jnp.swapaxes(frames, 0, 1)
