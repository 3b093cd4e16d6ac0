"""A network that hears digits: from frames to digits, all at once or as the frames come."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.training import map_batches
from experiments.speech import ctc
from experiments.speech.digit_strings import Strings
from experiments.speech.spoken_digits import CLASSES
from grujax.linen import StackedGRU

PyTree = Any
BATCH = 100  # strings heard together


class Recogniser(nn.Module):
    """GRU layers over steps of a few frames each. Label 0 is `ctc.BLANK`, label d + 1 the digit d.

    Attributes:
      hidden_size: H, of each layer and direction.
      num_layers: the number of layers.
      bidirectional: whether each layer has two directions; if not, it can listen to a stream.
      stride: frames that make one step.
      dropout: the rate, of what goes into every layer but the first and comes out of the last.
    """

    hidden_size: int
    num_layers: int
    bidirectional: bool
    stride: int
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, frames: Array, lengths: Array | None = None, carry: PyTree = None, train: bool = False
    ) -> tuple[PyTree, Array]:
        """Log-probabilities of the labels at each step. The call takes an rng for "dropout" in
        training.

        Args:
          frames: [B, T, C]. Those at the end that do not fill a step are not heard.
          lengths: [B], how many exist; all if None.
          carry: the state that an earlier call returned.
          train: whether to drop.

        Returns: the state, and [B, T // stride, 11].
        """
        batch_size, num_frames, size = frames.shape
        steps = num_frames // self.stride
        xs = frames[:, : steps * self.stride].reshape(batch_size, steps, self.stride * size)
        lengths = None if lengths is None else lengths // self.stride
        layers = StackedGRU(
            self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
        )
        carry, hs = layers(xs, carry, lengths=lengths, deterministic=not train)
        hs = nn.Dropout(self.dropout, deterministic=not train)(hs)
        return carry, nn.log_softmax(nn.Dense(CLASSES + 1)(hs))


@partial(jax.jit, static_argnums=0)
def hear(model: Recogniser, params: PyTree, frames: Array, lengths: Array) -> Array:
    """Log-probabilities [B, T // stride, 11] in frames [B, T, C], of which `lengths` [B] exist."""

    def some(inputs: tuple[Array, Array]) -> Array:
        return model.apply(params, *inputs)[1]

    return map_batches(some, (frames, lengths), min(BATCH, len(frames)))


def listen(model: Recogniser, params: PyTree, frames: np.ndarray) -> Iterator[tuple[int, int]]:
    """Hears frames [T, C] as they come, by best path.

    Yields: each digit as soon as it is heard, with the number of frames that had come by then.

    Raises:
      ValueError: the network reads in both directions.
    """
    if model.bidirectional:
        raise ValueError("A network that reads in both directions has to know the end.")
    state = ([jnp.zeros((1, model.hidden_size))] * model.num_layers, jnp.int32(ctc.BLANK))
    for come in range(model.stride, len(frames) + 1, model.stride):
        state, label = _listen_on(model, params, state, frames[come - model.stride : come])
        if label != ctc.BLANK:
            yield int(label) - 1, come


@partial(jax.jit, static_argnums=0)
def _listen_on(
    model: Recogniser, params: PyTree, state: PyTree, frames: Array
) -> tuple[PyTree, Array]:
    """One step. The state is that of the layers, and the label that was likeliest before."""
    carry, before = state
    carry, log_probs = model.apply(params, frames[None], carry=carry)
    best = log_probs[0, 0].argmax().astype(before.dtype)
    return (carry, best), jnp.where(best != before, best, ctc.BLANK)


def milliseconds_a_frame(model: Recogniser, params: PyTree, frames: np.ndarray) -> float:
    """What it takes to `listen` to frames [T, C], when the program is compiled."""
    list(listen(model, params, frames[: model.stride]))
    start = time.perf_counter()
    list(listen(model, params, frames))
    return 1000 * (time.perf_counter() - start) / len(frames)


def delays(heard: ctc.Decoded, strings: Strings, stride: int) -> np.ndarray:
    """How many frames after its end each digit was heard, in the strings that were heard right.

    Negative where a digit was clear before its end. Returns: [the number of these digits].
    """
    found = []
    for labels, digits, ends in zip(heard.labels, strings.digits, strings.ends, strict=True):
        steps = np.flatnonzero(labels)
        said = digits[digits >= 0]
        if np.array_equal(np.asarray(labels)[steps] - 1, said):
            found.append(stride * (steps + 1) - ends[: len(said)])
    return np.concatenate([np.zeros(0, int), *found])
