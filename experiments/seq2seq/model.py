"""The networks of translation and summarization: encoder, additive attention, decoder, losses.

    source [S, B]                            previous targets [T, B]
      → embedding [S, B, E]                    → the same embedding [T, B, E]
      → bidirectional GRU [S, B, 2H]           → lower GRU: queries [T, B, H]
      → keys [S, B, A], values [S, B, E]  →    → additive attention: contexts [T, B, E]
      → first states of the decoder [B, H]     → upper GRU [T, B, H]
                                               → readout [T, B, E] → logits [T, B, V]

S and T are the lengths of source and target, B is the batch, V the vocabulary, and E, H and A are
sizes. The lower GRU's states are the queries of the attention; the upper one reads these states and
the attention's contexts, so it knows where the decoder has attended before. With teacher forcing
each of the three stages still runs over all steps at once: only the two recurrences are sequential.
One matrix embeds source and target tokens and is the output layer. The attention values contain
the source embeddings, so attending to a token is enough to copy it. Another cell can take the place
of each GRU, with as many parameters: what would be the first state of a decoder's layer is then an
input before its first step.

`PointerGenerator` can also copy. It is a mixture of writing a token and pointing at one:

    p(y) = p_gen · p_vocabulary(y) + (1 − p_gen) · Σ_s α_s [x_s = y]

α is the attention over the source x. Source and target are subwords of one vocabulary, so rare
names can be copied one subword after the other. A token that is written and copied gets the sum.

References: Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473 (additive attention); Wu et al.
2016, https://arxiv.org/abs/1609.08144 (attention only from the decoder's bottom layer, for speed);
Press and Wolf 2017, https://arxiv.org/abs/1608.05859 (tied embeddings); See et al. 2017,
https://arxiv.org/abs/1704.04368 (the pointer). The coverage loss of See et al. against repetitions
is left out: for lines of seven words it is enough to forbid repeated n-grams in the search
(`no_repeat` in `experiments.seq2seq.beam_search`).
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.rivals.layers import (
    first_size,
    last_outputs,
    make_layer,
    output_size,
    start_steps,
)
from experiments.seq2seq.subwords import PADDING, START
from grujax.attention import (
    AdditiveAttentionParams,
    additive_attention,
    init_additive_attention,
    project_keys,
)

PyTree = Any


class Memory(NamedTuple):
    """An encoded source."""

    keys: Array  # [S, B, A], projected
    values: Array  # [S, B, E]
    tokens: Array  # int [S, B], padded

    @property
    def mask(self) -> Array:
        """Which tokens are not padding, bool [S, B]."""
        return self.tokens != PADDING


class Carry(NamedTuple):
    """The state of the decoder: of each GRU [..., B, H], of other cells a tree of arrays."""

    lower: PyTree
    upper: PyTree


class EncoderDecoder(nn.Module):
    """See the file's docstring. Time-major; batch axes before B are beams, which share a memory.

    Attributes:
      num_tokens: V, the size of the vocabulary of both sides.
      embedding_size: E.
      hidden_size: H of the decoder's GRUs and of each direction of the encoder.
      attention_size: A.
      dropout: the dropout rate of embeddings, states and inputs of the output layer.
      cell: what stands in the place of each GRU, with as many parameters, see `make_layer`. H is
        then the size of its outputs, and 2H that of the encoder's.
    """

    num_tokens: int
    embedding_size: int
    hidden_size: int
    attention_size: int
    dropout: float
    cell: str = "gru"

    def setup(self):
        layer = partial(make_layer, self.cell, self.hidden_size, time_major=True)
        sizes = self.cell, self.hidden_size
        query_size = output_size(*sizes, self.embedding_size)
        key_size = output_size(*sizes, self.embedding_size, bidirectional=True)
        # The vocabulary: input and output of both sides.
        init = nn.initializers.normal(self.embedding_size**-0.5)
        self.embedding = nn.Embed(self.num_tokens, self.embedding_size, embedding_init=init)
        self.output_bias = self.param("output_bias", nn.initializers.zeros, (self.num_tokens,))
        # The encoder, and what the decoder gets of it.
        self.encoder = layer(bidirectional=True)
        self.to_value = nn.Dense(self.embedding_size)
        self.to_lower = nn.Dense(first_size(*sizes, self.embedding_size))
        self.to_upper = nn.Dense(first_size(*sizes, query_size + self.embedding_size))
        # The decoder.
        self.lower = layer()
        self.attention = self.param("attention", self._init_attention, query_size, key_size)
        self.upper = layer(gru_input=self.hidden_size + self.embedding_size)
        self.readout = nn.Dense(self.embedding_size)
        self.drop = nn.Dropout(self.dropout)

    def _init_attention(self, key: Array, query_size: int, key_size: int) -> dict[str, Array]:
        return vars(init_additive_attention(key, query_size, key_size, self.attention_size))

    def encode(self, source: Array, train: bool = False) -> tuple[Memory, Carry]:
        """Encodes the padded source [S, B].

        Returns: its memory, and from what the decoder starts: its state before all steps at once.
        """
        mask = source != PADDING
        xs = self._embed(source, train)  # [S, B, E]
        last, hs = self.encoder(xs, lengths=mask.sum(0))  # [S, B, 2H]
        hs = self.drop(hs, deterministic=not train)
        keys = project_keys(AdditiveAttentionParams(**self.attention), hs, mask=mask)  # [S, B, A]
        values = self.to_value(hs) + xs  # [S, B, E]
        summary = last_outputs(self.cell, last)  # [B, 2H], of both directions
        first = Carry(nn.tanh(self.to_lower(summary)), nn.tanh(self.to_upper(summary)))
        return Memory(keys, values, source), first

    def start(self, first: Carry, steps: int) -> Carry:
        """The state from which `steps` steps are decoded one by one, for `first` of `encode`."""
        layers = zip((self.lower, self.upper), first, strict=True)
        return Carry(*(start_steps(self.cell, *layer, steps) for layer in layers))

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
        xs = self._embed(tokens, train)  # [T, ..., B, E]
        lower, queries = self.lower(xs, carry.lower)
        context, weights = additive_attention(  # [T, ..., B, E] and [T, ..., B, S]
            AdditiveAttentionParams(**self.attention),
            queries,  # [T, ..., B, H]
            memory.keys,
            memory.values,
            mask=memory.mask,
        )
        inputs = jnp.concatenate([queries, context], -1)  # [T, ..., B, H + E]
        inputs = self.drop(inputs, deterministic=not train)
        upper, hs = self.upper(inputs, carry.upper)
        hs = self.drop(hs, deterministic=not train)  # [T, ..., B, H]
        outputs = self.readout(jnp.concatenate([hs, queries], -1)) + context
        return Carry(lower, upper), self.drop(outputs, deterministic=not train), weights

    def logits(self, outputs: Array) -> Array:
        """[..., E] -> [..., V]."""
        return self.embedding.attend(outputs) + self.output_bias

    def log_probs(self, memory: Memory, outputs: Array, weights: Array) -> Array:
        """[..., B, V], from outputs [..., B, E] and attention weights [..., B, S]."""
        return nn.log_softmax(self.logits(outputs))

    def step(self, memory: Memory, carry: Carry, tokens: Array) -> tuple[Carry, Array]:
        """One step of decoding. Returns: the state, and log-probabilities [..., B, V]."""
        carry, outputs, weights = self.decode(memory, carry, tokens[None])
        return carry, self.log_probs(memory, outputs[0], weights[0])

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


class PointerGenerator(EncoderDecoder):
    """An `EncoderDecoder` that can also copy, see the file's docstring.

    p_gen is a linear function of the inputs of the output layer, which are themselves linear in the
    decoder's states and the context, as in See et al.
    """

    def setup(self):
        super().setup()
        self.to_gate = nn.Dense(1)  # the logit of p_gen

    def log_probs(self, memory: Memory, outputs: Array, weights: Array) -> Array:
        """[..., B, V], from outputs [..., B, E] and attention weights [..., B, S]."""
        written = nn.log_softmax(self.logits(outputs))
        batch = jnp.arange(weights.shape[-2])[:, None]
        copied = jnp.zeros_like(written).at[..., batch, memory.tokens.T].add(weights)
        return mix(self.to_gate(outputs), written, copied)

    def __call__(self, source: Array, previous: Array, train: bool) -> tuple[Array, Array]:
        """Teacher forcing: source [S, B], previous [T, B].

        Returns: log-probabilities [T, B, V], and the attention weights [T, B, S].
        """
        memory, carry = self.encode(source, train)
        _, outputs, weights = self.decode(memory, carry, previous, train)
        return self.log_probs(memory, outputs, weights), weights

    def score_targets(self, source: Array, targets: Array, train: bool) -> tuple[Array, Array]:
        """The log-probability of each target [T, B], 0 in the padding, and whether it is the
        most likely token.

        The log-probability needs no mixture over the vocabulary: the probability of copying one
        token is a sum over the source.
        """
        memory, carry = self.encode(source, train)
        _, outputs, weights = self.decode(memory, carry, shift_right(targets), train)
        logits = self.logits(outputs)
        written = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        is_same = targets[..., None] == source.T  # [T, B, S]
        copied = jnp.where(is_same, weights, 0).sum(-1)
        gate = self.to_gate(outputs)[..., 0]
        scores = mix(gate, written - jax.nn.logsumexp(logits, -1), copied)
        is_most_likely = self.log_probs(memory, outputs, weights).argmax(-1) == targets
        return jnp.where(targets != PADDING, scores, 0), is_most_likely

    def generation_probability(self, source: Array, targets: Array) -> Array:
        """p_gen [T, B] of each target [T, B]."""
        _, outputs, _ = self.decode(*self.encode(source), shift_right(targets))
        return nn.sigmoid(self.to_gate(outputs)[..., 0])


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


def mix(gate: Array, written: Array, copied: Array) -> Array:
    """log(σ(gate)·exp(written) + (1 − σ(gate))·copied), computed in log space.

    Args:
      gate: the logit of p_gen.
      written: log-probabilities of writing a token.
      copied: probabilities of copying it; where it is 0, no value or gradient goes through a log.
    """
    possible = copied >= jnp.finfo(copied.dtype).tiny
    log_copied = jnp.log(jnp.where(possible, copied, 1))
    writing = jax.nn.log_sigmoid(gate) + written
    both = jnp.logaddexp(writing, jax.nn.log_sigmoid(-gate) + log_copied)
    return jnp.where(possible, both, writing)
