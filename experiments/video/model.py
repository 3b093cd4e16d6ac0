"""A network that watches videos: a convolutional encoder of frames, and a GRU over time.

    frames [B, T, S, S]
      → encoder: three convolutions of each frame [B, T, 2 · features]
      → GRU: states [B, T, H]
      → linear: logits of digit, direction and speed, [B, T, C] each
      → linear: glyph and corner → the next frame [B, T, S, S]

From the GRU's state the next frame is predicted in two parts: a glyph, and where it is, as two
distributions over the rows and the columns of its corner. The predicted frame is their convolution
on the torus, R·glyph·Cᵀ, with the circulant matrices R and C of the two distributions.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.cells import CELLS, closest_size, parameter_shapes
from experiments.common.rivals.layers import last_output, make_layer
from experiments.video.data import NUM_CLASSES, SIDE
from grujax.baselines import count_parameters

PyTree = Any
IN_ORDER = ("gru", "cnn")  # the readers that read frame by frame, and predict the next ones
INK_SCALE = 4.0  # frames are mostly paper; scaled, their standard deviation is about 1
AT_ONCE = 3  # frames that the first convolution sees where no GRU joins them
GLYPH_SIZE = 16  # rows and columns of the predicted glyph, at least GLYPH


class TorusConv(nn.Module):
    """A convolution with wrap-around padding and stride 2, then ReLU.

    One matrix product with all patches: XLA's own convolutions are many times slower on CPUs inside
    a loop, where all training steps are.
    """

    features: int
    size: int  # of the kernel, odd

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        """[N, S, S, C] -> [N, S / 2, S / 2, features]."""
        side, margin = maps.shape[1], self.size // 2
        padded = jnp.pad(maps, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="wrap")
        shifts = range(self.size)
        rows = jnp.concatenate([padded[:, i : i + side : 2] for i in shifts], -1)
        patches = jnp.concatenate([rows[:, :, j : j + side : 2] for j in shifts], -1)
        return nn.relu(nn.Dense(self.features)(patches))


class Encoder(nn.Module):
    """Three convolutions of a frame, summarized as the content of a frame and its position.

    The content is the maximum of the last maps over all positions, hence independent of position.
    The position is computed from the means of the first maps over rows and over columns.
    """

    features: int  # of content and of position, each

    @nn.compact
    def __call__(self, frames: Array) -> Array:
        """[N, S, S, C] -> [N, 2 · features]; C is the number of frames that are seen at once."""
        maps = TorusConv(16, 5)(INK_SCALE * frames)
        profiles = jnp.concatenate([maps.mean(1), maps.mean(2)], -1).reshape(len(frames), -1)
        position = nn.relu(nn.Dense(self.features)(profiles))
        content = TorusConv(self.features, 5)(TorusConv(32, 3)(maps)).max((1, 2))
        return jnp.concatenate([content, position], -1)


class Seen(NamedTuple):
    """What `CausalConvolutions` keep between two calls."""

    windows: list[Array]  # [B, width - 1, C] of each layer: its last inputs
    output: Array  # [B, H], the last one


class CausalConvolutions(nn.Module):
    """Causal convolutions over time with ReLU, with as many parameters as a GRU.

    Each output depends on the last `1 + num_layers · (width − 1)` inputs: ten by default.

    Attributes:
      gru_size: the hidden size of the GRU in whose place they stand.
      num_layers: of convolutions.
      width: of their kernels, in steps.

    Reference: Bai et al. 2018, https://arxiv.org/abs/1803.01271, here without dilation.
    """

    gru_size: int
    num_layers: int = 3
    width: int = 4

    @nn.compact
    def __call__(self, xs: Array, seen: Seen | None = None) -> tuple[Seen, Array]:
        """Reads xs [B, T, I], after what an earlier call has seen; before the first are zeros.

        Returns: what the next call needs, and outputs [B, T, H].
        """
        steps, windows = xs.shape[1], []
        channels = self.channels(xs.shape[-1])
        for number in range(self.num_layers):
            start = (len(xs), self.width - 1, xs.shape[-1])
            window = jnp.zeros(start, xs.dtype) if seen is None else seen.windows[number]
            extended = jnp.concatenate([window, xs], 1)
            patches = [extended[:, i : i + steps] for i in range(self.width)]
            dense = nn.Dense(channels, kernel_init=nn.initializers.he_normal())
            xs = nn.relu(dense(jnp.concatenate(patches, -1)))
            windows.append(extended[:, steps:])
        return Seen(windows, xs[:, -1]), xs

    def channels(self, input_size: int) -> int:
        """The size of the outputs, for this size of the inputs."""

        def count(channels: int) -> int:
            inputs = input_size + (self.num_layers - 1) * channels
            return channels * (self.width * inputs + self.num_layers)

        gru = partial(CELLS["gru"].init, input_size=input_size, hidden_size=self.gru_size)
        return closest_size(count, count_parameters(parameter_shapes(gru)))


class VideoNetwork(nn.Module):
    """Classifies digit, direction and speed; reading in order, it also predicts the next frames.

    Attributes:
      hidden_size: H.
      features: of the encoder.
      dropout: the rate, before the classifiers.
      reader: how frames are combined: "gru" takes the GRU's states, "cnn" convolutions over time
        with as many parameters, whose encoder sees `AT_ONCE` frames at a time, "mean" the mean over
        frames, which ignores their order, "last" the last frame alone.
      cell: what stands in the place of the GRU, with as many parameters, see `make_layer`. A
        Transformer that has seen T frames attends to the last T, also of those that it predicts.
    """

    hidden_size: int
    features: int
    dropout: float = 0.0
    reader: str = "gru"
    cell: str = "gru"

    def setup(self) -> None:
        self.encoder = Encoder(self.features)
        self.gru = make_layer(self.cell, self.hidden_size)
        self.convolutions = CausalConvolutions(self.hidden_size)
        self.dense = nn.Dense(self.hidden_size)  # for the readers without order
        self.drop = nn.Dropout(self.dropout)
        self.questions = {name: nn.Dense(size) for name, size in NUM_CLASSES.items()}
        self.glyph = nn.Dense(GLYPH_SIZE**2)
        self.corner = nn.Dense(2 * SIDE)

    def __call__(
        self, frames: Array, train: bool = False
    ) -> tuple[dict[str, Array], Array, PyTree]:
        """Classifies videos [B, T, S, S] after each frame.

        Returns: logits [B, T, C] for each of NUM_CLASSES, outputs [B, T, H], and the state after
        the last frame. Without order there is only one answer, T = 1, and None for the state.
        """
        if self.reader in IN_ORDER:
            carry, hs = self.read(frames)
        else:
            chosen = frames[:, -1:] if self.reader == "last" else frames
            codes = self._encode(chosen[..., None])
            carry, hs = None, nn.relu(self.dense(codes.mean(1)))[:, None]
        return self.classify(hs, train), hs, carry

    def read(self, frames: Array, carry: PyTree = None) -> tuple[PyTree, Array]:
        """Reads frames [B, T, S, S] from a state. Returns: the last one, and outputs [B, T, H]."""
        if self.reader == "gru":
            return self.gru(self._encode(frames[..., None]), carry)
        before = jnp.zeros_like(frames[:, :1]).repeat(AT_ONCE - 1, 1)
        before, seen = (before, None) if carry is None else carry
        extended = jnp.concatenate([before, frames], 1)
        windows = [extended[:, i : i + frames.shape[1]] for i in range(AT_ONCE)]
        seen, hs = self.convolutions(self._encode(jnp.stack(windows, -1)), seen)
        return (extended[:, frames.shape[1] :], seen), hs

    def last_output(self, carry: PyTree) -> Array:
        """The output [B, H] after the last frame, from the state that `read` returned."""
        return last_output(self.cell, carry) if self.reader == "gru" else carry[1].output

    def classify(self, h: Array, train: bool = False) -> dict[str, Array]:
        """Computes logits [..., C] for each of NUM_CLASSES from states [..., H]."""
        h = self.drop(h, deterministic=not train)
        return {name: dense(h) for name, dense in self.questions.items()}

    def predict_frame(self, h: Array) -> Array:
        """Predicts the next frame, [..., S, S] from 0 to 1, at states [..., H]."""
        glyph = nn.sigmoid(self.glyph(h) - 2).reshape(*h.shape[:-1], GLYPH_SIZE, GLYPH_SIZE)
        corner = nn.softmax(self.corner(h).reshape(*h.shape[:-1], 2, SIDE))
        shifted = [jnp.roll(corner, shift, -1) for shift in range(GLYPH_SIZE)]
        circulant = jnp.stack(shifted, -1)  # [..., 2, S, GLYPH_SIZE]
        rows, columns = circulant[..., 0, :, :], circulant[..., 1, :, :]
        return rows @ glyph @ jnp.swapaxes(columns, -1, -2)

    def _encode(self, frames: Array) -> Array:
        """[B, T, S, S, C] -> [B, T, 2 · features]; time is folded into the batch."""
        flat = self.encoder(frames.reshape(-1, *frames.shape[2:]))
        return flat.reshape(*frames.shape[:2], -1)


class ClipClassifier(nn.Module):
    """The encoder of `VideoNetwork` and a GRU, with one answer after each frame.

    Attributes:
      hidden_size: H.
      features: of the encoder.
      dropout: the rate, before the answer.
      num_classes: K.
      cell: what stands in the place of the GRU, with as many parameters, see `make_layer`.
    """

    hidden_size: int
    features: int
    dropout: float
    num_classes: int
    cell: str = "gru"

    @nn.compact
    def __call__(self, frames: Array, lengths: Array, train: bool = False) -> Array:
        """Classifies clips [B, T, S, S] of `lengths` [B]: logits [B, T, K]."""
        encoder = Encoder(self.features)
        codes = encoder(frames.reshape(-1, SIDE, SIDE, 1) / INK_SCALE)
        codes = codes.reshape(*frames.shape[:2], -1)
        _, hs = make_layer(self.cell, self.hidden_size)(codes, lengths=lengths)
        return nn.Dense(self.num_classes)(nn.Dropout(self.dropout)(hs, deterministic=not train))


def init_network(network: VideoNetwork, key: Array) -> PyTree:
    """Draws the parameters of every part that the reader uses."""

    def call_all(network: VideoNetwork) -> None:
        _, hs, _ = network(jnp.zeros((1, 2, SIDE, SIDE)))
        if network.reader in IN_ORDER:
            network.predict_frame(hs)

    return network.init(key, method=call_all)


def predict_frames(network: VideoNetwork, params: PyTree, carry: PyTree, count: int) -> Array:
    """Predicts frames [B, count, S, S] from a state, feeding each back as the next input."""

    def step(carry: PyTree, _: None) -> tuple[PyTree, Array]:
        h = network.last_output(carry)
        frame = network.apply(params, h, method="predict_frame")
        carry, _ = network.apply(params, frame[:, None], carry, method="read")
        return carry, frame

    _, frames = jax.lax.scan(step, carry, length=count)
    return jnp.swapaxes(frames, 0, 1)
