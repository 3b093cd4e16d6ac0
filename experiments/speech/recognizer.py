"""A network that recognizes spoken digits, in whole strings or frame by frame in a stream."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.layers import equal_size, make_layers
from experiments.common.training import map_batches
from experiments.speech import ctc
from experiments.speech.digit_strings import DigitStrings
from experiments.speech.spoken_digits import CLASSES

PyTree = Any
BATCH = 100  # strings per evaluation batch


class Recognizer(nn.Module):
    """GRU layers over steps of a few frames each, with a linear layer for CTC.

        frames [B, T, C] → steps [B, T // stride, stride · C] → GRU layers [B, T // stride, H]
          → linear, softmax: log-probabilities [B, T // stride, num_labels + 1]

    H is twice the hidden size if the layers are bidirectional.
    Label 0 is `ctc.BLANK`; label d + 1 is the digit d, or the word or letter d.

    Attributes:
      hidden_size: the size of each layer and direction.
      num_layers: the number of layers.
      bidirectional: whether each layer has two directions; if not, it can recognize a stream.
      stride: frames per step.
      dropout: the rate between layers and after the last.
      num_labels: the number of labels without the blank.
      cell: what stands in the place of the GRU, with as many parameters, see `make_layers`.
    """

    hidden_size: int
    num_layers: int
    bidirectional: bool
    stride: int
    dropout: float = 0.0
    num_labels: int = CLASSES
    cell: str = "gru"

    @nn.compact
    def __call__(
        self, frames: Array, lengths: Array | None = None, carry: PyTree = None, train: bool = False
    ) -> tuple[PyTree, Array]:
        """Log-probabilities of the labels at each step. Training needs an rng named "dropout".

        Args:
          frames: [B, T, C]. Frames at the end that do not fill a step are ignored.
          lengths: [B], the number of valid frames; None: all of them.
          carry: the state that an earlier call returned.
          train: whether to apply dropout.

        Returns: the state, and log-probabilities [B, T // stride, num_labels + 1].
        """
        batch_size, num_frames, size = frames.shape
        steps = num_frames // self.stride
        xs = frames[:, : steps * self.stride].reshape(batch_size, steps, self.stride * size)
        lengths = None if lengths is None else lengths // self.stride
        layers = make_layers(
            self.cell,
            self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
        )
        carry, hs = layers(xs, carry, lengths=lengths, deterministic=not train)  # [B, steps, H]
        hs = nn.Dropout(self.dropout, deterministic=not train)(hs)
        return carry, nn.log_softmax(nn.Dense(self.num_labels + 1)(hs))

    @nn.nowrap
    def state_size(self, size: int) -> int:
        """The size of a layer's state, for frames of this size: that of a GRU is `hidden_size`."""
        shape = (self.num_layers, self.bidirectional, self.stride * size)
        return equal_size(self.cell, self.hidden_size, *shape)


@partial(jax.jit, static_argnums=0)
def label_log_probs(model: Recognizer, params: PyTree, frames: Array, lengths: Array) -> Array:
    """Log-probabilities [B, T // stride, 11] of frames [B, T, C] with `lengths` [B]."""

    def run(inputs: tuple[Array, Array]) -> Array:
        return model.apply(params, *inputs)[1]

    return map_batches(run, (frames, lengths), min(BATCH, len(frames)))


def stream_digits(
    model: Recognizer, params: PyTree, frames: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Recognizes frames [T, C] one step at a time, by best path.

    Yields: each digit as soon as it is recognized, with the number of frames read until then.

    Raises:
      ValueError: the network is bidirectional.
    """
    if model.bidirectional:
        raise ValueError("A bidirectional network cannot recognize a stream: it needs the end.")
    shape = (1, model.state_size(frames.shape[-1]))
    start = RIVALS[model.cell].initial_state(shape, jnp.float32)
    state = ([start] * model.num_layers, jnp.int32(ctc.BLANK))
    for num_read in range(model.stride, len(frames) + 1, model.stride):
        step_frames = frames[num_read - model.stride : num_read]
        state, label = _stream_step(model, params, state, step_frames)
        if label != ctc.BLANK:
            yield int(label) - 1, num_read


@partial(jax.jit, static_argnums=0)
def _stream_step(
    model: Recognizer, params: PyTree, state: PyTree, frames: Array
) -> tuple[PyTree, Array]:
    """One step. The state holds the layers' states and the most likely label of the last step."""
    carry, before = state
    carry, log_probs = model.apply(params, frames[None], carry=carry)
    best = log_probs[0, 0].argmax().astype(before.dtype)
    return (carry, best), jnp.where(best != before, best, ctc.BLANK)


def milliseconds_per_frame(model: Recognizer, params: PyTree, frames: np.ndarray) -> float:
    """The time of `stream_digits` per frame of frames [T, C], without compilation."""
    list(stream_digits(model, params, frames[: model.stride]))
    start = time.perf_counter()
    list(stream_digits(model, params, frames))
    return 1000 * (time.perf_counter() - start) / len(frames)


def recognition_delays(decoded: ctc.Decoded, strings: DigitStrings, stride: int) -> np.ndarray:
    """How many frames after its end each digit was recognized, int [digits].

    Counts the digits of correctly recognized strings. Negative: recognized before the digit ended.
    """
    delays = []
    for labels, digits, ends in zip(decoded.labels, strings.digits, strings.ends, strict=True):
        steps = np.flatnonzero(labels)
        said = digits[digits >= 0]
        if np.array_equal(np.asarray(labels)[steps] - 1, said):
            delays.append(stride * (steps + 1) - ends[: len(said)])
    return np.concatenate([np.zeros(0, int), *delays])
