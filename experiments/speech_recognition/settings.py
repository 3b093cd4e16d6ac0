"""The settings and flags of `experiments.speech_recognition`."""

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
    Export,
    Flat,
    Given,
    MonitorFlags,
    Needs,
    NoFlag,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
    override,
    override_each,
)
from experiments.common.parsing import has_no_effect
from experiments.common.rivals.settings import QUICK_COMPARISON, Comparison, require_gru
from experiments.speech.distortion import Distortion

DISTORTION = Distortion(speed=0.2, loudness=0.5, color=0.3, noise=0.8, masked=8.0)


@dataclass(frozen=True)
class Settings:
    """The settings of one recognizer and its training."""

    bidirectional: NoFlag[bool] = True  # False: it can recognize a stream
    # what reads the frames; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    hidden_size: PositiveInt = 128  # per direction
    num_layers: PositiveInt = 2
    stride: PositiveInt = 2  # frames per step
    dropout: DropoutRate = 0.4  # between layers and after the last
    distortion: Flat[Distortion] = DISTORTION
    width: PositiveInt = 144  # frames of a training string: up to 7 digits, as many as fit
    num_strings: PositiveInt = 1600  # per epoch; each epoch draws new ones
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 24
    learning_rate: PositiveFloat = 3e-3  # the peak; one epoch of warm-up before, a cosine after
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


SETTINGS = {
    "bidirectional": Settings(),
    "streaming": Settings(bidirectional=False, hidden_size=192, num_layers=3),
}
QUICK = {name: replace(settings, epochs=4) for name, settings in SETTINGS.items()}
COMPARED = replace(  # of the GRU and its rivals
    SETTINGS["streaming"], hidden_size=96, num_layers=2, dropout=0.2, epochs=20
)
QUICK_COMPARED = replace(COMPARED, hidden_size=16, num_layers=1, num_strings=64, epochs=1)
QUICK_COMPARED_TEST = 100  # test strings
OWN = Settings(stride=1, batch_size=16, epochs=60)  # its `num_strings` are the recordings
QUICK_OWN_EPOCHS = 20
UNUSED_BY_OWN = ("num_test", "num_strings", "width")


@dataclass(frozen=True)
class Command:
    """Trains two recognizers and compares them, or uses the trained ones."""

    # a flag that is given holds for both networks
    settings: Flat[Settings] = SETTINGS["bidirectional"]
    num_test: PositiveInt = 2000  # the number of test strings
    # fewer epochs
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/speech_recognition")
    # a folder of your own WAV files and their transcripts to train on; with --predict: to use
    train: Annotated[Path | None, ALWAYS] = None
    # train and test other cells and a Transformer, at equal parameters, beside the GRU
    compare: Annotated[bool, TRAINING_MODE] = False
    rivals: Annotated[Comparison, Needs("compare")] = Comparison()  # what is compared
    # a WAV file to recognize, or a .npy file of MFCCs [T, 13]
    predict: Annotated[Path | None, MODE] = None
    # write the saved networks as a file for onnxruntime, without training
    export: Export = None
    given: Given = frozenset()
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train is not None:
            return replace(
                self, settings=replace(OWN, epochs=QUICK_OWN_EPOCHS) if self.quick else OWN
            )
        if self.quick and self.compare:
            return replace(self, num_test=QUICK_COMPARED_TEST, rivals=QUICK_COMPARISON)
        return replace(self, settings=QUICK["bidirectional"]) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run is too short to judge."""
        if self.train is not None:
            return Expectations()
        return Expectations(
            too_short=("whether hearing both directions helps, as there is one seed of 4 epochs",)
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.export:
            require_gru(self.settings.cell, "--export")
        if self.compare:
            self.rivals.check(given, ("train", "cell", "seed"))
        unused = [name for name in UNUSED_BY_OWN if name in given]
        if self.train is not None and unused:
            raise has_no_effect(unused[0], "train")

    def compared(self) -> Settings:
        """The settings of each cell with --compare, but for its learning rate."""
        return override(QUICK_COMPARED if self.quick else COMPARED, self.settings, self.given)

    def trainings(self) -> dict[str, Settings]:
        """The settings of each network."""
        return override_each(QUICK if self.quick else SETTINGS, self.settings, self.given)
