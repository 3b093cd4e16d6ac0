"""The classifier: from texts to class logits."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.sentiment import vader
from experiments.sentiment.modules import AttentionPooling, WordEmbedding
from experiments.sentiment.settings import Settings
from grujax.linen import StackedGRU

READOUT = "Dense_0"  # the last layer's name in the parameters


def encode(texts: Iterable[str], vocabulary: list[str], lexicon: bool, settings: Settings):
    """Converts texts to the classifier's inputs, see `vader.encode`."""
    return vader.encode(texts, vocabulary, lexicon, settings.max_tokens, settings.subword_buckets)


class Classifier(nn.Module):
    """Embedding, stacked bidirectional GRU, attention pooling, softmax."""

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
        options = {"bidirectional": True, "dropout": rate if s.num_layers > 1 else 0.0}
        gru = StackedGRU(s.hidden_size, num_layers=s.num_layers, **options)
        _, hs = gru(xs, lengths=inputs["lengths"], deterministic=not train)  # [B, T, 2H]
        hs = nn.Dropout(rate)(hs, not train)
        pooled, attention = AttentionPooling(s.hidden_size)(hs, inputs["lengths"])
        pooled = nn.Dropout(rate)(pooled, not train)
        pooled = jnp.concatenate([pooled, inputs["sentence_features"]], -1)
        logits = nn.Dense(self.num_classes, name=READOUT)(pooled)
        return logits, nn.Dense(1, name="Dense_1")(pooled)[:, 0], attention


def classify(model: Classifier, params: Any, inputs: dict[str, Any]) -> Array:
    """Class logits [N, C] of N encoded sentences."""
    apply = partial(model.apply, params, train=False)
    return training.map_batches(apply, inputs, batch_size=128)[0]


def divide_logits(params: Any, temperature: float) -> Any:
    """The parameters with which the logits are divided by `temperature`."""
    params = params["params"]
    readout = jax.tree.map(lambda weights: weights / temperature, params[READOUT])
    return {"params": params | {READOUT: readout}}
