"""The classifier: from texts to class logits.

    words [B, T] → embedding of words, prefixes and suffixes, and features [B, T, I]
      → stacked bidirectional GRU [B, T, 2H] → attention pooling [B, 2H], and features
      → linear: class logits [B, C], mean rating [B]
    hashed n-grams [B, M] → linear, added to the logits and the rating

B is the number of texts, T that of words. The features are the case of words and, if wanted, what
a lexicon says of them.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.common.data.text import PADDING, UNKNOWN, tokenize
from experiments.common.rivals.layers import make_layers
from experiments.sentiment import vader
from experiments.sentiment.ngrams import encode_ngrams
from experiments.sentiment.settings import Settings

READOUT, NGRAMS = "Dense_0", "NgramScores_0"  # the names of the logits' layers in the parameters
NGRAM_SCALE = 3.0  # the larger, the faster the n-grams' weights are learned


def encode(texts: Iterable[str], vocabulary: list[str], lexicon: bool, settings: Settings):
    """Converts texts to the classifier's inputs, see `vader.encode` and `encode_ngrams`."""
    length, buckets = settings.max_tokens, settings.ngram_buckets
    inputs = vader.encode(texts, vocabulary, lexicon, length, settings.subword_buckets)
    return inputs | (encode_ngrams(map(tokenize, texts), length, buckets) if buckets else {})


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


class NgramScores(nn.Module):
    """A linear function of hashed n-grams, zero at first.

    Attributes:
      num_ngrams: the largest id.
      features: the number of outputs F.
      dropout: the share of n-grams that are left out in training.
    """

    num_ngrams: int
    features: int
    dropout: float

    @nn.compact
    def __call__(self, ngrams: Array, weights: Array, train: bool) -> Array:
        """ngrams [B, M], weights [B, M]. Returns: [B, F]."""
        weights = nn.Dropout(self.dropout)(weights, not train)
        shape = (self.num_ngrams + 1, self.features)
        table = self.param("table", nn.initializers.zeros, shape)
        return NGRAM_SCALE * jnp.einsum("bm,bmf->bf", weights, jnp.asarray(table)[ngrams])


class Classifier(nn.Module):
    """Embedding, stacked bidirectional GRU or another cell, attention pooling, softmax."""

    settings: Settings
    num_words: int
    num_classes: int = len(vader.CLASSES)  # C

    @nn.compact
    def __call__(self, inputs: dict[str, Array], train: bool) -> tuple[Array, Array, Array]:
        """Returns: class logits [B, C], mean rating [B], attention [B, T] (sums to 1)."""
        s, rate = self.settings, self.settings.dropout
        embed = WordEmbedding(self.num_words, s.subword_buckets, s.embedding_size, s.token_dropout)
        xs = embed(inputs["words"], inputs["subwords"], train)
        xs = nn.Dropout(rate, broadcast_dims=(1,))(xs, not train)
        xs = jnp.concatenate([xs, inputs["token_features"]], -1)  # [B, T, I]
        xs *= nn.Dropout(s.token_dropout / 2)(jnp.ones((*xs.shape[:2], 1)), not train) > 0
        options = {"num_layers": s.num_layers, "bidirectional": True, "dropout": rate}
        layers = make_layers(s.cell, s.hidden_size, **options)
        _, hs = layers(xs, lengths=inputs["lengths"], deterministic=not train)  # [B, T, 2H]
        hs = nn.Dropout(rate)(hs, not train)
        pooled, attention = AttentionPooling(s.hidden_size)(hs, inputs["lengths"])
        pooled = nn.Dropout(rate)(pooled, not train)
        pooled = jnp.concatenate([pooled, inputs["sentence_features"]], -1)
        logits = nn.Dense(self.num_classes, name=READOUT)(pooled)
        rating = nn.Dense(1, name="Dense_1")(pooled)
        if s.ngram_buckets:
            branch = NgramScores(2 * s.ngram_buckets, self.num_classes + 1, rate, name=NGRAMS)
            scores = branch(inputs["ngrams"], inputs["ngram_weights"], train)
            logits, rating = logits + scores[:, :-1], rating + scores[:, -1:]
        return logits, rating[:, 0], attention


def classify(model: Classifier, params: Any, inputs: dict[str, Any]) -> Array:
    """Class logits [N, C] of N encoded sentences."""
    apply = partial(model.apply, params, train=False)
    return training.map_batches(apply, inputs, batch_size=128)[0]


def divide_logits(params: Any, temperature: float) -> Any:
    """The parameters with which the logits are divided by `temperature`."""
    params = params["params"]
    layers = {READOUT: jax.tree.map(lambda weights: weights / temperature, params[READOUT])}
    if NGRAMS in params:
        table = params[NGRAMS]["table"]
        layers[NGRAMS] = {"table": table.at[:, :-1].divide(temperature)}  # all but the rating
    return {"params": params | layers}
