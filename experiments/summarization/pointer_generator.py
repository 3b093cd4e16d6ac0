"""The encoder-decoder that can also copy: a mixture of writing a token and pointing at one.

    p(y) = p_gen · p_vocabulary(y) + (1 − p_gen) · Σ_s α_s [x_s = y]

α is the attention over the source x. Source and target are subwords of one vocabulary, so rare
names can be copied one subword after the other. A token that is written and copied gets the sum.

Reference: See et al. 2017, https://arxiv.org/abs/1704.04368. Their coverage loss against
repetitions is left out: for lines of seven words it is enough to forbid repeated n-grams in the
search (`no_repeat` in `experiments.seq2seq.beam_search`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.seq2seq.model import Carry, EncoderDecoder, Memory, shift_right
from experiments.seq2seq.subwords import PADDING


class PointerGenerator(EncoderDecoder):
    """See the file's docstring. p_gen is a linear function of the inputs of the output layer, which
    are themselves linear in the decoder's states and the context, as in See et al.
    """

    def setup(self):
        super().setup()
        self.to_gate = nn.Dense(1)

    def step(self, memory: Memory, carry: Carry, tokens: Array) -> tuple[Carry, Array]:
        """One step of decoding. Returns: the state, and log-probabilities [..., B, V]."""
        carry, outputs, weights = self.decode(memory, carry, tokens[None])
        return carry, self._mixture(memory, outputs[0], weights[0])

    def __call__(self, source: Array, previous: Array, train: bool) -> tuple[Array, Array]:
        """Teacher forcing: source [S, B], previous [T, B].

        Returns: log-probabilities [T, B, V], and the attention weights [T, B, S].
        """
        memory, carry = self.encode(source, train)
        _, outputs, weights = self.decode(memory, carry, previous, train)
        return self._mixture(memory, outputs, weights), weights

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
        is_most_likely = self._mixture(memory, outputs, weights).argmax(-1) == targets
        return jnp.where(targets != PADDING, scores, 0), is_most_likely

    def generation_probability(self, source: Array, targets: Array) -> Array:
        """p_gen [T, B] of each target [T, B]."""
        _, outputs, _ = self.decode(*self.encode(source), shift_right(targets))
        return nn.sigmoid(self.to_gate(outputs)[..., 0])

    def _mixture(self, memory: Memory, outputs: Array, weights: Array) -> Array:
        """Log-probabilities [..., B, V] from outputs [..., B, E] and weights [..., B, S]."""
        written = nn.log_softmax(self.logits(outputs))
        batch = jnp.arange(weights.shape[-2])[:, None]
        copied = jnp.zeros_like(written).at[..., batch, memory.tokens.T].add(weights)
        return mix(self.to_gate(outputs), written, copied)


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
