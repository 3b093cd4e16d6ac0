"""The settings and flags of `experiments.exercises`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

from experiments.common.command import InputError
from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    TRAINING_MODE,
    CellName,
    DropoutRate,
    Export,
    Flat,
    Fraction,
    MonitorFlags,
    Needs,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
)
from experiments.common.parsing import has_no_effect
from experiments.common.rivals.settings import require_gru


class Augmentation(NamedTuple):
    """How windows are changed for training."""

    angle: NonNegativeFloat = 0.0  # deviation of the sensor's rotation about each axis, in radians
    speed: NonNegativeFloat = 0.0  # range of the logarithm of the speed: 0.2 means exp(±0.2)
    gain: NonNegativeFloat = 0.0  # deviation of the logarithm of each signal's gain
    noise: NonNegativeFloat = 0.0  # deviation of the noise, in each channel's unit
    mirrored: Fraction = 0.0  # the share of windows mirrored to the other arm


WEAK = Augmentation(angle=0.2, speed=0.2, gain=0.1, noise=0.05, mirrored=0.5)
STRONG = Augmentation(angle=0.35, speed=0.3, gain=0.15, noise=0.1, mirrored=0.5)
CANDIDATES = {
    "weak": WEAK,
    "weak, not mirrored": WEAK._replace(mirrored=0.0),
    "strong": STRONG,
    "stronger": Augmentation(angle=0.5, speed=0.3, gain=0.2, noise=0.2, mirrored=0.5),
}


@dataclass(frozen=True)
class Settings:
    """The settings of the networks and their training."""

    # what reads the steps; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    stride: PositiveInt = 4  # samples per step
    hidden_size: PositiveInt = 64  # per direction
    num_layers: PositiveInt = 1
    dropout: DropoutRate = 0.4
    smoothing: DropoutRate = 0.1  # of the labels
    augmentation: Flat[Augmentation] = STRONG
    seeds: PositiveInt = 3  # networks per split; all networks are trained side by side
    batch_size: PositiveInt = 64
    updates: PositiveInt = 64  # per epoch
    epochs: PositiveInt = 16
    learning_rate: PositiveFloat = 3e-3  # the peak; one epoch of warm-up before, a cosine after
    weight_decay: NonNegativeFloat = 0.05
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


QUICK = Settings(seeds=1, dropout=0.2, augmentation=WEAK, updates=48, epochs=5, learning_rate=8e-3)
# Of the user's channels, whose meaning is not known: they are not turned or mirrored.
OWN = Settings(seeds=1, augmentation=Augmentation(speed=0.2, gain=0.1, noise=0.1))
UNUSED_BY_OWN = frozenset({"seeds", "angle", "mirrored"})


@dataclass(frozen=True)
class Command:
    """Trains the networks and compares them with random forests, or uses the trained ones."""

    settings: Flat[Settings] = Settings()
    # one network per fold, fewer updates at a higher rate
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/exercises")
    choose: Annotated[bool, TRAINING_MODE] = False  # compare augmentations by inner folds instead
    # your own recordings to train on: a table with labels, or a folder with a subfolder a label
    train: Annotated[Path | None, TRAINING_MODE] = None
    # what its columns are, as in label=NAME time=NAME person=NAME recording=NAME channel=NAME
    columns: Annotated[tuple[str, ...], Needs("train")] = ()
    window: Annotated[PositiveFloat, Needs("train")] = 2.0  # seconds that are classified at once
    rate: Annotated[PositiveFloat, Needs("train")] = 50.0  # rows per second of tables without times
    # a table with the columns ax ... wz, or a .npy [L, 6], at 50 Hz; with --model: as trained on
    predict: Annotated[Path | None, MODE] = None
    # write the saved networks as a file for onnxruntime, without training
    export: Export = None
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("predict")] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train is not None:
            return replace(self, settings=OWN)
        return replace(self, settings=QUICK) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return Expectations(
            (
                Expected(("features + random forest", "windows"), 0.871, 0.01),
                Expected(("GRU, one network", "windows"), 0.884, 0.03),
            ),
            too_short=(
                "whether the GRU is better than the forest, as it has one seed of 5 epochs",
            ),
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.export:
            require_gru(self.settings.cell, "--export")
        if self.choose and (chosen := given & {"seeds", *Augmentation._fields}):
            raise InputError(
                f"--choose compares augmentations with one network each: leave --{min(chosen)} out."
            )
        if self.train is not None and (unused := given & UNUSED_BY_OWN):
            raise has_no_effect(min(unused), "train")
        if self.quick and (self.train or self.model):
            raise has_no_effect("quick", "train" if self.train else "model")
