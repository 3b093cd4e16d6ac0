"""Translation: a bidirectional GRU encoder, a GRU decoder with additive attention, beam search.

Debian's volunteers translate the descriptions of its packages: 72,000 English sentences of at most
14 words with their Italian translations (`--target fr|de`: French, German), from the package index
of the Debian system it runs on. No family of packages, and no sentence, lies on both sides of a
split. Or dates as 22 languages write them, into ISO 8601, which runs anywhere.

    python -m experiments.translation                     English to Italian: 20 minutes
    python -m experiments.translation --data dates        dates: 2 minutes
    python -m experiments.translation --quick             a small slice: 1 minute
    python -m experiments.translation --translate "small library for reading images"
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from tokenizers import Tokenizer

from experiments.common import buckets, dates, ddtp, loop, plots, subwords, training
from experiments.common.command import run_command
from experiments.common.decoding import attention_map, make_translate
from experiments.common.metrics import read_records
from experiments.common.models import load_model, save_model
from experiments.common.report import format_table
from experiments.common.seq2seq import EncoderDecoder, shift_right, smoothed_cross_entropy
from experiments.common.splits import Split
from experiments.common.translation_scores import (
    score_translations,
    translation_memory,
    word_dictionary,
)

COMMAND = "python -m experiments.translation"
MODEL, TOKENIZER = "model.msgpack", "tokenizer.json"
ALONE = 50  # how many test sentences are also translated one by one, for the time it takes


@dataclass(frozen=True)
class Settings:
    """What determines a trained translator."""

    num_pairs: int | None = None  # train on so many, drawn at random; None: on all
    vocabulary_size: int = 4000  # subwords, of both languages together
    embedding_size: int = 192
    hidden_size: int = 256
    attention_size: int = 96
    dropout: float = 0.2
    label_smoothing: float = 0.1
    widths: tuple[int, ...] = (12, 16, 24, 40)  # subwords that a batch is padded to
    batch_size: int = 32
    epochs: int = 8
    learning_rate: float = 2e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    num_beams: int = 5


DATES = Settings(
    vocabulary_size=500,
    embedding_size=64,
    hidden_size=96,
    attention_size=48,
    dropout=0.1,
    label_smoothing=0.05,
    widths=(16, 24, 32),
    epochs=8,
    learning_rate=4e-3,
)
SETTINGS = {"ddtp": Settings(), "dates": DATES}
QUICK = {
    "ddtp": replace(Settings(), num_pairs=6000, vocabulary_size=1000, hidden_size=96, epochs=4),
    "dates": replace(DATES, num_pairs=12000, epochs=4),
}


class Corpus(NamedTuple):
    """N pairs of texts."""

    sources: list[str]
    targets: list[str]
    parts: np.ndarray  # str [N]: the kind of text
    split: Split

    def select(self, indices: np.ndarray) -> tuple[list[str], list[str]]:
        """The sources and the targets of these pairs."""
        return [self.sources[i] for i in indices], [self.targets[i] for i in indices]


def read_corpus(data: str, target: str, num_pairs: int | None = None) -> Corpus:
    """Reads, or generates, the pairs of a data set; the test set is the same for all sizes."""
    if data == "dates":
        days = dates.draw_days(9000, seed=0)
        sources, targets, parts = dates.write_dates(days, per_day=4, seed=1)
        ends = np.cumsum([4 * 7500, 4 * 500, 4 * 1000])
        split = Split(*np.split(np.arange(ends[-1]), ends[:-1]))  # each day on one side alone
    else:
        pairs = ddtp.read_pairs(ddtp.fetch(("en", target)), target)
        sources, targets, parts = pairs.sources, pairs.targets, pairs.kinds
        split = ddtp.split_pairs(pairs.groups, num_validation=1000, num_test=2000, seed=0)
    train = np.random.default_rng(0).permutation(split.train)[:num_pairs]
    return Corpus(list(sources), list(targets), np.array(parts), split._replace(train=train))


class Data(NamedTuple):
    """What one training needs."""

    train: buckets.Bundles
    validation: buckets.Bundles


def prepare(corpus: Corpus, tokenizer: Tokenizer, settings: Settings) -> Data:
    """Turns pairs into bundles of ids."""

    def bundles(indices: np.ndarray) -> buckets.Bundles:
        ids = [subwords.to_ids(tokenizer, side) for side in corpus.select(indices)]
        return buckets.make_bundles(*ids, settings.widths, settings.batch_size, seed=0)

    return Data(bundles(corpus.split.train), bundles(corpus.split.validation))


def make_model(settings: Settings) -> EncoderDecoder:
    """The model of these settings."""
    return EncoderDecoder(
        settings.vocabulary_size,
        settings.embedding_size,
        settings.hidden_size,
        settings.attention_size,
        settings.dropout,
    )


def translation_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one translator; the learning rate may be traced."""
    model = make_model(settings)

    def totals(params, source, target, key):
        rngs = None if key is None else {"dropout": key}
        logits, _ = model.apply(params, source, shift_right(target), key is not None, rngs=rngs)
        exists = target != subwords.PADDING
        losses = smoothed_cross_entropy(logits, target, settings.label_smoothing)
        right = (logits.argmax(-1) == target) & exists
        return losses.sum(), right.sum(), exists.sum()

    def loss(params, source, target, key):
        total, _, count = totals(params, source, target, key)
        return total / count

    def evaluate(params):
        total, right, count = buckets.sum_over_bundles(
            totals, settings.widths, params, data.validation
        )
        return {"validation_loss": total / count, "validation_accuracy": right / count}

    num_batches = len(data.train["bucket"])
    return training.make_training(
        init_params=lambda key: model.init(key, *[jnp.ones((2, 1), int)] * 2, False),
        loss=buckets.bucketed_loss(loss, settings.widths),
        evaluate=evaluate,
        score="validation_accuracy",
        optimizer=training.adamw_warmup_cosine(
            learning_rate,
            settings.weight_decay,
            settings.max_gradient_norm,
            num_batches,
            settings.epochs,
        ),
        examples=jax.tree.map(jnp.asarray, data.train),
        batch_size=1,  # a bundle
        epochs=settings.epochs,
        patience=settings.epochs,
    )


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""

    def train(key, learning_rate=settings.learning_rate):
        return training.train(translation_training(settings, data, learning_rate), key)[1]

    return train


def learn_or_load_subwords(directory: Path, corpus: Corpus, size: int) -> Tokenizer:
    """Learns the vocabulary from the training pairs, once for a run directory."""
    path = directory / TOKENIZER
    if not path.exists():
        sources, targets = corpus.select(corpus.split.train)
        loop.write_atomically(path, subwords.learn_subwords(sources + targets, size).to_str().encode())
    return Tokenizer.from_file(str(path))
