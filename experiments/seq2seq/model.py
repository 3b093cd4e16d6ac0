"""An encoder and a decoder with additive attention: the model of translation and summarization.

A bidirectional GRU encodes the source. The decoder has two GRUs. The lower one reads the tokens
written so far; its states are the queries of additive attention over the source. The upper one
reads these states and the attention's context, so it knows where the decoder has attended before.
With teacher forcing each of the three stages still runs over all steps at once: only the two
recurrences are sequential.

One matrix embeds source and target tokens and is the output layer. The attention values contain
the source embeddings, so attending to a token is enough to copy it.

References: Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473 (additive attention); Wu et al.
2016, https://arxiv.org/abs/1609.08144 (attention only from the decoder's bottom layer, for speed);
Press and Wolf 2017, https://arxiv.org/abs/1608.05859 (tied embeddings).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

import grujax
from experiments.seq2seq.subwords import PADDING, START
from grujax.attention import (
    AdditiveAttentionParams,
    additive_attention,
    init_additive_attention,
    project_keys,
)
from grujax.linen import GRU, BidirectionalGRU


class Memory(NamedTuple):
    """An encoded source: S tokens, batch B."""

    keys: Array  # [S, B, A], projected
    values: Array  # [S, B, E]
    tokens: Array  # int [S, B], padded

    @property
    def mask(self) -> Array:
        """Which tokens are not padding, bool [S, B]."""
        return self.tokens != PADDING


class Carry(NamedTuple):
    """The state of the decoder."""

    lower: Array  # [..., B, H]
    upper: Array  # [..., B, H]


class EncoderDecoder(nn.Module):
    """See the file's docstring. Time-major; batch axes before B are beams, which share a memory.

    Attributes:
      num_tokens: V, the size of the vocabulary of both sides.
      embedding_size: E.
      hidden_size: H of the decoder's GRUs and of each direction of the encoder.
      attention_size: A.
      dropout: the dropout rate of embeddings, states and inputs of the output layer.
    """

    num_tokens: int
    embedding_size: int
    hidden_size: int
    attention_size: int
    dropout: float

    def setup(self):
        init = nn.initializers.normal(self.embedding_size**-0.5)
        self.embedding = nn.Embed(self.num_tokens, self.embedding_size, embedding_init=init)
        self.output_bias = self.param("output_bias", nn.initializers.zeros, (self.num_tokens,))
        self.encoder = BidirectionalGRU(self.hidden_size)
        self.to_value = nn.Dense(self.embedding_size)
        self.to_lower = nn.Dense(self.hidden_size)
        self.to_upper = nn.Dense(self.hidden_size)
        self.attention = self.param("attention", self._init_attention)
        self.lower = GRU(self.hidden_size)
        self.upper = GRU(self.hidden_size)
        self.readout = nn.Dense(self.embedding_size)
        self.drop = nn.Dropout(self.dropout)

    def _init_attention(self, key: Array) -> dict[str, Array]:
        sizes = (self.hidden_size, 2 * self.hidden_size, self.attention_size)
        return vars(init_additive_attention(key, *sizes))

    def encode(self, source: Array, train: bool = False) -> tuple[Memory, Carry]:
        """Encodes the padded source [S, B]. Returns: its memory, the decoder's initial state."""
        mask = source != PADDING
        xs = self._embed(source, train)
        params = self.encoder.gru_params(self.embedding_size)
        last, hs = grujax.bidirectional_gru(params, xs, lengths=mask.sum(0))  # [S, B, 2H]
        hs = self.drop(hs, deterministic=not train)
        keys = project_keys(AdditiveAttentionParams(**self.attention), hs, mask=mask)
        values = self.to_value(hs) + xs
        summary = jnp.concatenate(last, -1)
        carry = Carry(nn.tanh(self.to_lower(summary)), nn.tanh(self.to_upper(summary)))
        return Memory(keys, values, source), carry

    def decode(
        self, memory: Memory, carry: Carry, tokens: Array, train: bool = False
    ) -> tuple[Carry, Array, Array]:
        """Decodes T steps: with teacher forcing, or one step (T = 1) after the previous output.

        Args:
          memory: the encoded source.
          carry: the state before these steps.
          tokens: int [T, ..., B], at each step the token before the predicted one.
          train: applies dropout, drawn from the rng collection "dropout".

        Returns: the state after these steps, the inputs of the output layer [T, ..., B, E], and the
          attention weights [T, ..., B, S].
        """
        xs = self._embed(tokens, train)
        lower, queries = grujax.gru(self.lower.gru_params(xs.shape[-1]), xs, carry.lower)
        context, weights = additive_attention(
            AdditiveAttentionParams(**self.attention),
            queries,
            memory.keys,
            memory.values,
            mask=memory.mask,
        )
        inputs = jnp.concatenate([queries, context], -1)
        inputs = self.drop(inputs, deterministic=not train)
        upper, hs = grujax.gru(self.upper.gru_params(inputs.shape[-1]), inputs, carry.upper)
        hs = self.drop(hs, deterministic=not train)
        outputs = self.readout(jnp.concatenate([hs, queries], -1)) + context
        return Carry(lower, upper), self.drop(outputs, deterministic=not train), weights

    def logits(self, outputs: Array) -> Array:
        """[..., E] -> [..., V]."""
        return self.embedding.attend(outputs) + self.output_bias

    def step(self, memory: Memory, carry: Carry, tokens: Array) -> tuple[Carry, Array]:
        """One step of decoding. Returns: the state, and log-probabilities [..., B, V]."""
        carry, outputs, _ = self.decode(memory, carry, tokens[None])
        return carry, nn.log_softmax(self.logits(outputs[0]))

    def __call__(self, source: Array, previous: Array, train: bool) -> tuple[Array, Array]:
        """Teacher forcing: source [S, B], previous [T, B]. Returns: logits [T, B, V], weights."""
        memory, carry = self.encode(source, train)
        _, outputs, weights = self.decode(memory, carry, previous, train)
        return self.logits(outputs), weights

    def score_targets(self, source: Array, targets: Array, train: bool) -> tuple[Array, Array]:
        """The log-probability of each target [T, B], 0 in the padding, and whether it is the
        most likely token.
        """
        logits, _ = self(source, shift_right(targets), train)
        return -smoothed_cross_entropy(logits, targets, 0), logits.argmax(-1) == targets

    def _embed(self, tokens: Array, train: bool) -> Array:
        return self.drop(self.embedding(tokens), deterministic=not train)


def shift_right(targets: Array) -> Array:
    """The previous tokens for teacher forcing: `START`, then `targets` [T, B] without the last."""
    return jnp.concatenate([jnp.full_like(targets[:1], START), targets[:-1]])


def smoothed_cross_entropy(logits: Array, targets: Array, label_smoothing: float) -> Array:
    """The loss of each token [T, B], 0 in the padding, from logits [T, B, V], targets [T, B].

    The smoothed target is 1 - `label_smoothing` on the true token and the rest spread evenly over
    the vocabulary (Szegedy et al. 2016).
    """
    true = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    expected = (1 - label_smoothing) * true + label_smoothing * logits.mean(-1)
    return jnp.where(targets != PADDING, jax.nn.logsumexp(logits, -1) - expected, 0)
