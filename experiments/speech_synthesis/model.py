"""Text to speech: letters to log mel frames, with additive attention.

    letters [S, B]                           the last frame before each step [T, B, M]
      → embedding [S, B, embedding_size]       → prenet: two layers [T, B, prenet_size]
      → bidirectional GRU [S, B, E]            → lower GRU: queries [T, B, H]
      → keys [S, B, A]                    →    → additive attention: contexts [T, B, E]
                                               → upper GRU [T, B, H]
                                               → frames [T, B, reduction, M], stop [T, B]

A bidirectional GRU reads the letters. The decoder makes `reduction` frames per step and has two
GRUs: the lower one reads the frames made so far, and its states are the queries of additive
attention over the letters; the upper one reads those states and the attention's contexts. With
teacher forcing, where the frames are given, each of the three stages therefore runs over all steps
at once. The previous frame passes through a small network with strong dropout (the prenet), so that
the decoder learns not to rely on it. Another cell can take the place of each GRU, with as many
parameters.

References: Wang et al. 2017, "Tacotron", https://arxiv.org/abs/1703.10135 (prenet, several frames
per step); Tachibana et al. 2017, https://arxiv.org/abs/1710.08969 (guided attention).
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from experiments.common.rivals.layers import first_size, make_layer, output_size, start_steps
from grujax.attention import (
    AdditiveAttentionParams,
    additive_attention,
    init_additive_attention,
    project_keys,
)

PyTree = Any
PADDING = 0  # the id of no letter


class Memory(NamedTuple):
    """An encoded batch of B texts of S letters."""

    keys: Array  # [S, B, A], projected
    values: Array  # [S, B, E]
    valid: Array  # bool [S, B]


class Carry(NamedTuple):
    """The state of the decoder: of each GRU [B, H], of other cells a tree of arrays."""

    lower: PyTree
    upper: PyTree


class Step(NamedTuple):
    """The decoder's output in T steps."""

    frames: Array  # [T, B, reduction, M]
    stop: Array  # [T, B]: logit that this is the last step
    weights: Array  # [T, B, S]: attention


class Synthesizer(nn.Module):
    """Letters to frames, see the module's docstring. Time-major.

    Attributes:
      num_letters: V, including `PADDING`.
      num_mels: M.
      reduction: frames per step.
      embedding_size: the size of a letter's embedding.
      encoder_size: the size of each direction of the encoder; E is twice that.
      hidden_size: H, the size of both GRUs of the decoder.
      attention_size: A.
      prenet_size: the size of its two layers.
      dropout: the rate in the prenet.
      cell: what stands in the place of each GRU, with as many parameters, see `make_layer`. H and E
        are then the sizes of its outputs.
    """

    num_letters: int
    num_mels: int
    reduction: int
    embedding_size: int
    encoder_size: int
    hidden_size: int
    attention_size: int
    prenet_size: int
    dropout: float = 0.5
    cell: str = "gru"

    def setup(self):
        layer = partial(make_layer, self.cell, time_major=True)
        query_size, key_size = self._sizes()
        self.embedding = nn.Embed(self.num_letters, self.embedding_size)
        self.encoder = layer(self.encoder_size, bidirectional=True)
        self.attention = self.param("attention", self._init_attention, query_size, key_size)
        self.prenet = [nn.Dense(self.prenet_size), nn.Dense(self.prenet_size)]
        self.lower = layer(self.hidden_size)
        self.upper = layer(self.hidden_size, gru_input=self.hidden_size + 2 * self.encoder_size)
        self.to_frames = nn.Dense(self.reduction * self.num_mels)
        self.to_stop = nn.Dense(1)
        self.drop = nn.Dropout(self.dropout)

    def _init_attention(self, key: Array, query_size: int, key_size: int) -> dict[str, Array]:
        return vars(init_additive_attention(key, query_size, key_size, self.attention_size))

    @nn.nowrap
    def _sizes(self) -> tuple[int, int]:
        """H and E."""
        return (
            output_size(self.cell, self.hidden_size, self.prenet_size),
            output_size(self.cell, self.encoder_size, self.embedding_size, bidirectional=True),
        )

    def encode(self, letters: Array) -> Memory:
        """Reads letters, int [S, B], padded."""
        valid = letters != PADDING
        xs = self.embedding(letters)  # [S, B, embedding_size]
        _, hs = self.encoder(xs, lengths=valid.sum(0))  # [S, B, E]
        attention = AdditiveAttentionParams(**self.attention)
        keys = project_keys(attention, hs, mask=valid)  # [S, B, A]
        return Memory(keys, hs, valid)

    def first(self, batch_size: int) -> Carry:
        """From what the decoder starts: its state before all steps at once."""
        inputs = self.prenet_size, sum(self._sizes())
        sizes = (first_size(self.cell, self.hidden_size, size) for size in inputs)
        return Carry(*(jnp.zeros((batch_size, size)) for size in sizes))

    def start(self, batch_size: int, steps: int) -> Carry:
        """The state from which `steps` steps are run one by one."""
        layers = zip((self.lower, self.upper), self.first(batch_size), strict=True)
        return Carry(*(start_steps(self.cell, *layer, steps) for layer in layers))

    def decode(
        self, memory: Memory, carry: Carry, previous: Array, allowed: Array, train: bool = False
    ) -> tuple[Carry, Step]:
        """Runs T steps after a teacher's frames, or one step after its own last frame.

        Args:
          memory: the encoded texts.
          carry: the state before these steps.
          previous: [T, B, M], the last frame before each step.
          allowed: bool [S, B], the letters that attention may read.
          train: whether the prenet applies dropout; needs an rng named "dropout".
        """
        xs = previous
        for layer in self.prenet:
            xs = self.drop(nn.relu(layer(xs)), deterministic=not train)  # [T, B, prenet_size]
        lower, queries = self.lower(xs, carry.lower)
        attention = AdditiveAttentionParams(**self.attention)
        context, weights = additive_attention(  # [T, B, E] and [T, B, S]
            attention, queries, memory.keys, memory.values, mask=allowed
        )
        attended = jnp.concatenate([queries, context], -1)  # [T, B, H + E]
        upper, hs = self.upper(attended, carry.upper)
        outputs = jnp.concatenate([hs, context], -1)  # [T, B, H + E]
        frames = self.to_frames(outputs).reshape(*hs.shape[:2], self.reduction, self.num_mels)
        return Carry(lower, upper), Step(frames, self.to_stop(outputs)[..., 0], weights)

    def __call__(self, letters: Array, frames: Array, train: bool) -> Step:
        """Teacher forcing: letters [S, B], frames [T, B, reduction, M]."""
        memory = self.encode(letters)
        carry = self.first(letters.shape[1])
        previous = jnp.concatenate([jnp.zeros_like(frames[:1, :, -1]), frames[:-1, :, -1]])
        return self.decode(memory, carry, previous, memory.valid, train)[1]


def guided_attention(weights: Array, letters: Array, steps: Array, width: float) -> Array:
    """The guided attention loss of Tachibana et al. 2017: mean off-diagonal attention, 0 to 1, [B].

    The weights are multiplied by W_ts = 1 - exp(-(s/S - t/T)² / (2·width²)).

    Args:
      weights: [T, B, S], attention.
      letters: int [B], S of each text.
      steps: int [B], T of each text.
      width: the width of the diagonal, as a share of the text.
    """
    times = jnp.arange(weights.shape[0])[:, None, None] / steps[:, None]
    positions = jnp.arange(weights.shape[2]) / letters[:, None]
    penalty = 1 - jnp.exp(-((positions - times) ** 2) / (2 * width**2))
    valid = jnp.arange(weights.shape[0])[:, None] < steps
    return jnp.where(valid, (weights * penalty).sum(-1), 0).sum(0) / steps
