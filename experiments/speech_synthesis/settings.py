"""The settings and flags of `experiments.speech_synthesis`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from experiments.common.expectations import Expectations
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
    """The settings of the synthesizer and its training."""

    # what encodes and decodes; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    num_strings: PositiveInt = 1600  # of at least 2 digits, in addition to the single digits
    num_validation: PositiveInt = 100
    reduction: PositiveInt = 4  # frames per step
    embedding_size: PositiveInt = 64
    encoder_size: PositiveInt = 96  # per direction
    hidden_size: PositiveInt = 192  # of both GRUs of the decoder
    attention_size: PositiveInt = 64
    prenet_size: PositiveInt = 128
    prenet_dropout: DropoutRate = 0.5
    diagonal: PositiveFloat = (
        0.15  # width of the diagonal where attention is free, as a share of the text
    )
    attention_weight: NonNegativeFloat = 2.0  # the weight of the cost of attention off the diagonal
    stop_weight: NonNegativeFloat = 5.0  # the weight of the last step in the stop loss
    batch_size: PositiveInt = 16
    epochs: PositiveInt = 40
    learning_rate: PositiveFloat = 3e-3  # the peak; one epoch of warm-up before, a cosine after
    weight_decay: NonNegativeFloat = 1e-4
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class ListenerSettings:
    """The settings of the listener and its training."""

    num_strings: PositiveInt = 1200
    num_validation: PositiveInt = 200
    most: PositiveInt = 6  # digits of a string, which has at least 1
    hidden_size: PositiveInt = 96  # per direction
    num_layers: PositiveInt = 2
    stride: PositiveInt = 3  # frames per step
    dropout: DropoutRate = 0.3
    noise: NonNegativeFloat = 0.4  # its deviation in training, in units of each coefficient's
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 10
    learning_rate: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


QUICK = Settings(num_strings=800, epochs=12), ListenerSettings(num_strings=800, epochs=8)
NUM_QUICK = 40  # test strings with --quick
OWN = Settings(batch_size=8, epochs=100)
UNUSED_BY_OWN = frozenset({"num_strings", "num_validation", "num_test"})


@dataclass(frozen=True)
class Command:
    """Trains a synthesizer and compares it, or speaks with the trained one."""

    settings: Flat[Settings] = Settings()
    listener: ListenerSettings = ListenerSettings()
    num_test: PositiveInt = 200  # the number of test strings
    # fewer strings and epochs, to check that everything works
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/speech_synthesis")
    # a folder of your own WAV files and their transcripts to train on
    train: Annotated[Path | None, TRAINING_MODE] = None
    # a text to speak, instead of training: digits in words, unless --model knows others
    predict: Annotated[str | None, MODE] = None
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("predict")] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train is not None:
            return replace(self, settings=OWN)
        if not self.quick:
            return self
        settings, listener = QUICK
        return replace(self, settings=settings, listener=listener, num_test=NUM_QUICK)

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        unused = [x for x in sorted(given) if x in UNUSED_BY_OWN or x.startswith("listener.")]
        if self.train is not None and unused:
            raise has_no_effect(unused[0], "train")
        if self.quick and (self.train or self.model):
            raise has_no_effect("quick", "train" if self.train else "model")

    def expected(self) -> Expectations:
        """What a quick run is too short to judge."""
        return Expectations(
            too_short=("whether it is understood as well as its teacher, as 40 strings are few",)
        )
