"""The parts of the classifier: word embedding and attention pooling."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.data.text import PADDING, UNKNOWN


class WordEmbedding(nn.Module):
    """The sum of a word's vector and twice the mean vector of its prefixes and suffixes.

    In training some words are replaced by the unknown word, so that the model learns to rely on
    prefixes, suffixes and context. This draws from the rng collection "dropout".

    Attributes:
      num_words: the size of the vocabulary.
      num_subwords: the number of buckets, see `experiments.common.data.text.subword_ids`.
      features: the size of the vectors.
      unknown_rate: the fraction of words replaced by the unknown word.
    """

    num_words: int
    num_subwords: int
    features: int
    unknown_rate: float

    @nn.compact
    def __call__(self, words: Array, subwords: Array, train: bool) -> Array:
        """words [B, T], subwords [B, T, S]. Returns: [B, T, features]."""
        if train:
            key = self.make_rng("dropout")
            unknown = jax.random.bernoulli(key, self.unknown_rate, words.shape)
            words = jnp.where(unknown, UNKNOWN, words)
        init = nn.initializers.normal(0.1)
        word = nn.Embed(self.num_words + 2, self.features, embedding_init=init)(words)
        parts = nn.Embed(self.num_subwords + 1, self.features, embedding_init=init)(subwords)
        valid = (subwords != PADDING)[..., None]
        return word + 2 * jnp.sum(parts * valid, -2) / jnp.maximum(valid.sum(-2), 1)


class AttentionPooling(nn.Module):
    """The mean of a sequence, weighted by a small network's score of each step.

    Reference: Yang et al. 2016, "Hierarchical attention networks for document classification".
    """

    features: int  # of the small network

    @nn.compact
    def __call__(self, hs: Array, lengths: Array) -> tuple[Array, Array]:
        """hs [B, T, H], lengths [B]. Returns: [B, H], and the weights [B, T] (they sum to 1)."""
        energy = nn.Dense(1)(nn.tanh(nn.Dense(self.features)(hs)))[..., 0]
        valid = jnp.arange(hs.shape[1]) < lengths[:, None]
        weights = nn.softmax(jnp.where(valid, energy, -1e9))
        return jnp.einsum("bt,bth->bh", weights, hs), weights
