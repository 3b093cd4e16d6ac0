"""Trains an encoder-decoder on a corpus of text pairs; saves and loads it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.durable import read_json, write_json
from experiments.common.report import plots
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.common.training.processes import is_writer
from experiments.seq2seq import buckets, subwords
from experiments.seq2seq.model import EncoderDecoder
from experiments.seq2seq.parallel_corpus import Corpus

PyTree = Any
MODEL, TOKENIZER, LEAST_RANK = "model.msgpack", "tokenizer.json", "least_rank.json"


class Settings(training.TrainingSettings, Protocol):
    """The settings that translation and summarization share."""

    @property
    def num_pairs(self) -> int | None: ...
    @property
    def vocabulary_size(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def widths(self) -> Sequence[buckets.Width]: ...


AnySettings = TypeVar("AnySettings", bound=Settings)
# (parameters, source [S, B], target [T, B], train, rngs) -> the loss of each target token [T, B], 0
# in the padding, and whether the token is the most likely one [T, B]
TokenLosses = Callable[[PyTree, Array, Array, bool, dict[str, Array] | None], tuple[Array, Array]]


def prepare(
    corpus: Corpus, tokenizer: Tokenizer, settings: Settings, tail: int | None = None
) -> buckets.Data:
    """Converts a corpus to batches of ids.

    With `tail`, sources longer than the last width lose their middle, see `subwords.drop_middle`;
    without it such pairs are left out.
    """

    def batches(indices: np.ndarray) -> buckets.Batches:
        sources, targets = (subwords.to_ids(tokenizer, side) for side in corpus.select(indices))
        if tail is not None:
            width, _ = buckets.as_pair(settings.widths[-1])
            sources = [subwords.drop_middle(row, width, tail) for row in sources]
        return buckets.make_batches(sources, targets, settings.widths, settings.batch_size, seed=0)

    return buckets.Data(batches(corpus.split.train), batches(corpus.split.validation))


def encoder_decoder_training(
    settings: Settings,
    data: buckets.Data,
    learning_rate: float | Array,
    model: EncoderDecoder,
    token_losses: TokenLosses,
) -> training.Training:
    """Builds the training of one model; the learning rate may be traced."""

    def totals(params, source, target, key):
        rngs = None if key is None else {"dropout": key}
        losses, correct = token_losses(params, source, target, key is not None, rngs)
        valid = target != subwords.PADDING
        return losses.sum(), (correct & valid).sum(), valid.sum()

    return buckets.bucketed_training(
        init_params=lambda key: model.init(key, *[jnp.ones((2, 1), int)] * 2, False),
        totals=totals,
        data=data,
        widths=settings.widths,
        optimizer=training.adamw_warmup_cosine(
            learning_rate,
            settings.weight_decay,
            settings.max_gradient_norm,
            len(data.train["bucket"]),
            settings.epochs,
        ),
        epochs=settings.epochs,
    )


def train_and_save(
    settings: AnySettings,
    corpus: Corpus,
    out: Path,
    make_batches: Callable[[Corpus, Tokenizer, AnySettings], buckets.Data],
    make_training: Callable[[AnySettings, buckets.Data, float], training.Training],
    **record: Any,
) -> None:
    """Learns the subwords of a corpus, trains on it, and saves the model and its learning curve.

    Args:
      settings: of the model and its training.
      corpus: the text pairs.
      out: the run directory; a finished training in it is not repeated.
      make_batches: (corpus, tokenizer, settings) -> batches.
      make_training: (settings, batches, learning rate) -> the training.
      record: what else belongs in settings.json.
    """
    sources, targets = corpus.select(corpus.split.train)
    tokenizer = subwords.learn_or_load_subwords(
        out / TOKENIZER, [*sources, *targets], settings.vocabulary_size
    )
    settings = replace(settings, vocabulary_size=tokenizer.get_vocab_size())
    batches = make_batches(corpus, tokenizer, settings)
    _report_left_out(settings, corpus, batches)
    plan = make_training(settings, batches, settings.learning_rate)
    record = {"settings": asdict(settings)} | record
    state = loop.run(plan, jax.random.key(settings.seed), out, record, out.name)
    save_model(out / MODEL, state.best_params, record, [])
    records = {out.name: read_records(out / loop.METRICS)}
    metric = plots.Curve("validation_accuracy", "validation accuracy, per token")
    loss = "cross-entropy, nats per token"
    plots.plot_learning_curves(out / "learning_curves.png", records, loss, metric)


def _report_left_out(settings: Settings, corpus: Corpus, batches: buckets.Data) -> None:
    """Prints how many pairs are too long; raises InputError if all are."""
    pairs = len(corpus.split.train) + len(corpus.split.validation)
    used = [int((part["target"][:, 0] != subwords.PADDING).sum()) for part in batches]
    if min(used) == 0:
        raise InputError(f"All pairs are longer than `--widths`, {settings.widths[-1]} subwords.")
    if left_out := pairs - sum(used):
        print(
            f"Left out: {left_out:,} of {pairs:,} pairs, longer than `--widths`, "
            f"{settings.widths[-1]} subwords."
        )


def save_least_rank(out: Path, rank: float) -> None:
    """Saves `Translator.usual_rank` beside the model."""
    if is_writer():
        write_json(out / LEAST_RANK, {"least_rank": rank})


def load_least_rank(out: Path) -> float:
    """Loads it; a model that was trained without it doubts nothing."""
    path = out / LEAST_RANK
    return read_json(path)["least_rank"] if path.exists() else -math.inf


def load(out: Path, command: str) -> tuple[PyTree, dict[str, Any], Tokenizer]:
    """Loads parameters, settings as a dict, and tokenizer. `command` is for the error message.

    Raises:
      FileNotFoundError: there is no trained model in `out`.
      DamagedFileError: a file has a wrong checksum.
    """
    params, record, _ = load_model(out / MODEL, command)
    settings = record["settings"]
    widths = (tuple(width) if isinstance(width, list) else width for width in settings["widths"])
    return (
        params,
        settings | {"widths": tuple(widths)},
        subwords.load_subwords(out / TOKENIZER),
    )
