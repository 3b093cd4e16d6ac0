"""The settings and flags of `experiments.summarization`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    TRAINING_MODE,
    CellName,
    DropoutRate,
    Flat,
    MonitorFlags,
    Needs,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
)
from experiments.common.parsing import has_no_effect

OUT = Path("runs/summarization")


@dataclass(frozen=True)
class Settings:
    """The settings of a training."""

    # what encodes and decodes; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    copy: Annotated[bool, ALWAYS] = True  # copy words, in addition to writing them
    num_pairs: PositiveInt | None = None  # number of random training pairs; None: all
    vocabulary_size: PositiveInt = 6000  # subwords of descriptions and synopses together
    embedding_size: PositiveInt = 160
    hidden_size: PositiveInt = 192  # of the decoder, and of each direction of the encoder
    attention_size: PositiveInt = 64
    dropout: DropoutRate = 0.2
    # In subwords, to which batches of (descriptions, synopses) are padded. Longer descriptions lose
    # their middle: the last `tail` subwords are kept.
    widths: tuple[tuple[PositiveInt, PositiveInt], ...] = ((48, 16), (64, 12), (64, 16), (64, 24))
    tail: NonNegativeInt = 16
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 4
    learning_rate: PositiveFloat = 3e-3  # the peak: one epoch of warm-up, then a cosine
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


QUICK = Settings(
    num_pairs=16_000,
    vocabulary_size=2000,
    embedding_size=96,
    hidden_size=96,
    dropout=0.1,
    widths=((48, 20),),
    tail=12,
    epochs=3,
    learning_rate=5e-3,
)

# Of the user's texts, whose summaries may be longer.
OWN = Settings(
    vocabulary_size=4000,
    hidden_size=128,
    widths=((64, 24), (128, 48), (192, 64)),
    tail=32,
    epochs=10,
)


@dataclass(frozen=True)
class Command:
    """Trains a summarizer and compares it with baselines, or applies a trained one."""

    settings: Flat[Settings] = Settings()
    # train a small model on a small subset, to try it out
    quick: Annotated[bool, ALWAYS] = False
    # the output directory; each training has a folder in it
    out: Annotated[Path, ALWAYS] = OUT
    # your own texts and summaries to train on: a table (CSV, TSV) or JSON lines
    train: Annotated[Path | None, TRAINING_MODE] = None
    # the names of its columns of texts and summaries
    columns: Annotated[tuple[str, str] | None, Needs("train")] = None
    # a text to summarize with the saved model, or - to read standard input, without training
    summarize: Annotated[str | None, MODE, tyro.conf.arg(aliases=["--summarise"])] = None
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("summarize")] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train:
            return replace(self, settings=OWN)
        return replace(self, settings=QUICK) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches; without the pointer, nothing was measured."""
        if not self.settings.copy:
            return Expectations()
        return Expectations(
            (
                Expected(("first sentence", "all", "ROUGE-1"), 32.5, 1.0),
                Expected(('8 words after "is a", "provides" ...', "all", "ROUGE-1"), 35.7, 1.0),
                Expected(("GRU, 5 beams", "all", "ROUGE-1"), 41.1, 2.0),
            )
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.quick and (self.train or self.model):
            raise has_no_effect("quick", "train", "model")
        if self.model and "copy" in given:
            raise has_no_effect("copy", "model")
