"""Text to speech: letters to log mel frames, with additive attention.

A bidirectional GRU reads the letters. The decoder makes `reduction` frames a step and is two GRUs:
the lower one hears the frames made so far, its states are the queries of additive attention over
the letters, and the upper one reads those states and what they looked at. So, when training gives
the frames (teacher forcing), each of the three stages runs over all steps at once. What it hears
of itself goes through a small network with strong dropout (the prenet), so that it learns not to
trust it.

References: Wang et al. 2017, "Tacotron", https://arxiv.org/abs/1703.10135 (prenet, several frames a
step); Tachibana et al. 2017, https://arxiv.org/abs/1710.08969 (guided attention).
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

import grujax
from grujax.attention import (
    AdditiveAttentionParams,
    additive_attention,
    init_additive_attention,
    project_keys,
)
from grujax.linen import GRU, BidirectionalGRU

PADDING = 0  # no letter


class Memory(NamedTuple):
    """A text as the decoder sees it: S letters, batch B."""

    keys: Array  # [S, B, A], projected
    values: Array  # [S, B, E]
    exists: Array  # bool [S, B]


class Carry(NamedTuple):
    """The state of the decoder."""

    lower: Array  # [B, H]
    upper: Array  # [B, H]


class Step(NamedTuple):
    """What the decoder makes in T steps."""

    frames: Array  # [T, B, reduction, M]
    stop: Array  # [T, B]: logit of being the last step
    weights: Array  # [T, B, S]: of the attention


class Synthesiser(nn.Module):
    """See the file's docstring. Time-major.

    Attributes:
      num_letters: V, `PADDING` included.
      num_mels: M.
      reduction: frames that one step makes.
      embedding_size: of a letter.
      encoder_size: of each direction of the encoder; E is twice that.
      hidden_size: H, of both GRUs of the decoder.
      attention_size: A.
      prenet_size: of its two layers.
      dropout: the rate in the prenet.
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

    def setup(self):
        self.embedding = nn.Embed(self.num_letters, self.embedding_size)
        self.encoder = BidirectionalGRU(self.encoder_size)
        self.attention = self.param("attention", self._init_attention)
        self.prenet = [nn.Dense(self.prenet_size), nn.Dense(self.prenet_size)]
        self.lower = GRU(self.hidden_size)
        self.upper = GRU(self.hidden_size)
        self.to_frames = nn.Dense(self.reduction * self.num_mels)
        self.to_stop = nn.Dense(1)
        self.drop = nn.Dropout(self.dropout)

    def _init_attention(self, key: Array) -> dict[str, Array]:
        sizes = (self.hidden_size, 2 * self.encoder_size, self.attention_size)
        return vars(init_additive_attention(key, *sizes))

    def encode(self, letters: Array) -> Memory:
        """Reads letters, int [S, B], padded."""
        exists = letters != PADDING
        params = self.encoder.gru_params(self.embedding_size)
        _, hs = grujax.bidirectional_gru(params, self.embedding(letters), lengths=exists.sum(0))
        keys = project_keys(AdditiveAttentionParams(**self.attention), hs, mask=exists)
        return Memory(keys, hs, exists)

    def start(self, batch_size: int) -> Carry:
        """The state before the first step."""
        nothing = jnp.zeros((batch_size, self.hidden_size))
        return Carry(nothing, nothing)

    def decode(
        self, memory: Memory, carry: Carry, heard: Array, allowed: Array, train: bool = False
    ) -> tuple[Carry, Step]:
        """Goes on for T steps: after a teacher's frames, or with T = 1 after its own.

        Args:
          memory: of the text.
          carry: the state before these steps.
          heard: [T, B, M], at each step the last frame before it.
          allowed: bool [S, B], the letters that may be looked at.
          train: whether the prenet drops; it draws from the rng collection "dropout".
        """
        xs = heard
        for layer in self.prenet:
            xs = self.drop(nn.relu(layer(xs)), deterministic=not train)
        lower, queries = grujax.gru(self.lower.gru_params(xs.shape[-1]), xs, carry.lower)
        attention = AdditiveAttentionParams(**self.attention)
        context, weights = additive_attention(
            attention, queries, memory.keys, memory.values, mask=allowed
        )
        seen = jnp.concatenate([queries, context], -1)
        upper, hs = grujax.gru(self.upper.gru_params(seen.shape[-1]), seen, carry.upper)
        outputs = jnp.concatenate([hs, context], -1)
        frames = self.to_frames(outputs).reshape(*hs.shape[:2], self.reduction, self.num_mels)
        return Carry(lower, upper), Step(frames, self.to_stop(outputs)[..., 0], weights)

    def __call__(self, letters: Array, frames: Array, train: bool) -> Step:
        """Teacher forcing: letters [S, B], frames [T, B, reduction, M]."""
        memory = self.encode(letters)
        carry = self.start(letters.shape[1])
        heard = jnp.concatenate([jnp.zeros_like(frames[:1, :, -1]), frames[:-1, :, -1]])
        return self.decode(memory, carry, heard, memory.exists, train)[1]


def guided_attention(weights: Array, letters: Array, steps: Array, width: float) -> Array:
    """How much attention lies off the diagonal, from 0 to 1: the mean over the steps, [B].

    W_ts = 1 - exp(-(s/S - t/T)²/2·width²), as Tachibana et al. 2017 define it.

    Args:
      weights: [T, B, S].
      letters: int [B], S of each text.
      steps: int [B], T of each.
      width: of the diagonal, as a share of the text.
    """
    times = jnp.arange(weights.shape[0])[:, None, None] / steps[:, None]
    places = jnp.arange(weights.shape[2]) / letters[:, None]
    off = 1 - jnp.exp(-((places - times) ** 2) / (2 * width**2))
    exists = jnp.arange(weights.shape[0])[:, None] < steps
    return jnp.where(exists, (weights * off).sum(-1), 0).sum(0) / steps
