"""The settings and flags of `experiments.translation`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from experiments.common.command import InputError
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


@dataclass(frozen=True)
class Settings:
    """The settings of a training."""

    # what encodes and decodes; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    num_pairs: PositiveInt | None = None  # number of random training pairs; None: all
    vocabulary_size: PositiveInt = 4000  # subwords of both languages together
    embedding_size: PositiveInt = 160
    hidden_size: PositiveInt = 192  # of the decoder, and of each direction of the encoder
    attention_size: PositiveInt = 64
    dropout: DropoutRate = 0.1
    label_smoothing: DropoutRate = 0.1
    widths: tuple[PositiveInt, ...] = (12, 16, 24, 40)  # in subwords, to which batches are padded
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 5
    learning_rate: PositiveFloat = 3e-3  # the peak: one epoch of warm-up, then a cosine
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


DATES = Settings(
    vocabulary_size=500,
    embedding_size=64,
    hidden_size=96,
    attention_size=48,
    label_smoothing=0.05,
    widths=(16, 24, 32),
    epochs=3,
    learning_rate=4e-3,
)
OWN = Settings(vocabulary_size=2000, hidden_size=128, epochs=10)  # of the user's pairs
SETTINGS = {"ddtp": Settings(), "dates": DATES}
QUICK = {
    "ddtp": Settings(
        num_pairs=16_000,
        vocabulary_size=2000,
        embedding_size=96,
        hidden_size=128,
        label_smoothing=0.0,
        widths=(24,),
        epochs=4,
        learning_rate=5e-3,
    ),
    "dates": replace(DATES, num_pairs=8000),
}


@dataclass(frozen=True)
class Command:
    """Trains a translator and compares it with baselines, or applies a trained one."""

    settings: Flat[Settings] = Settings()
    # Debian's package descriptions, or dates
    data: Annotated[Literal["ddtp", "dates"], ALWAYS] = "ddtp"
    target: Annotated[Literal["it", "fr", "de"], ALWAYS] = "it"  # the target language of ddtp
    # train a small model on a small subset, to try it out
    quick: Annotated[bool, ALWAYS] = False
    # the output directory; each training has a folder in it
    out: Annotated[Path, ALWAYS] = Path("runs/translation")
    # your own text pairs to train on: a table (CSV, TSV) or JSON lines
    train: Annotated[Path | None, TRAINING_MODE] = None
    # the names of its columns of sources and targets
    columns: Annotated[tuple[str, str] | None, Needs("train")] = None
    # a text to translate with the saved model, without training
    translate: Annotated[str | None, MODE] = None
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("translate")] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train:
            return replace(self, settings=OWN)
        return replace(self, settings=(QUICK if self.quick else SETTINGS)[self.data])

    def expected(self) -> Expectations:
        """What a quick run reaches; of the languages, only Italian was measured."""
        if self.data == "dates":
            return Expectations((Expected(("GRU, 5 beams", "all", "exact"), 99.9, 1.5),))
        if self.target != "it":
            return Expectations()
        return Expectations(
            (
                Expected(("translation memory", "all", "BLEU"), 18.8, 1.5),
                Expected(("GRU, 5 beams", "all", "BLEU"), 37.2, 3.0),
                Expected(("word dictionary", "all", "chrF"), 58.3, 1.5),
                Expected(("GRU, 5 beams", "all", "chrF"), 62.7, 2.5),
            )
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        unused = given & {"data", "target", "quick"}
        if unused and (self.train or self.model):
            raise has_no_effect(min(unused), "train", "model")
        if self.data == "dates" and self.target != "it":
            raise InputError("--target is a language of --data ddtp; dates become ISO 8601.")
