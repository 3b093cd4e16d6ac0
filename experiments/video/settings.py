"""The settings and flags of `experiments.video`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from experiments.common.expectations import Expectations, Expected
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
    override_each,
)
from experiments.common.parsing import has_no_effect
from experiments.common.rivals.settings import require_gru


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    reader: NoFlag[str] = "gru"  # how frames are combined, see `VideoNetwork`
    # what reads the frames; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    hidden_size: PositiveInt = 128
    features: PositiveInt = 64  # of a frame's content, and of its position
    dropout: DropoutRate = 0.2
    frame_weight: NonNegativeFloat = 0.3  # of the squared error of predicted frames in the loss
    imagined: NonNegativeInt = 2  # frames that training predicts from its own predictions
    num_clips: PositiveInt = 1600  # per epoch, newly drawn in each
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 32
    learning_rate: PositiveFloat = 3e-3  # peak, after one epoch of warm-up; then cosine decay
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    seed: NonNegativeInt = 0


SETTINGS = {
    "gru": Settings(),
    "cnn": Settings("cnn"),
    "mean": Settings("mean", epochs=12),
    "last": Settings("last", num_clips=6400, batch_size=128, epochs=16),
}
QUICK = {"gru": Settings(hidden_size=96, features=32, batch_size=16, epochs=5, learning_rate=4e-3)}

QUICK_EXPECTED = Expectations(
    (
        Expected(("right", "GRU", "digit", 0), 0.727, 0.1),
        Expected(("right", "GRU", "direction", 0), 0.987, 0.05),
        Expected(("right", "GRU", "speed", 0), 0.544, 0.15, judged=False),
    )
)
# Of the user's clips, which may be few; each epoch draws `num_clips` of them.
OWN = Settings(hidden_size=64, features=32, num_clips=256, batch_size=16, epochs=20)
UNUSED_BY_OWN = frozenset({"frame_weight", "imagined", "num_test", "seeds"})


@dataclass(frozen=True)
class Command:
    """Trains the networks and compares them, or classifies a video with the GRU."""

    settings: Flat[Settings] = SETTINGS["gru"]  # a flag that is given holds for all networks
    seeds: PositiveInt = 1  # trainings of each network, from `seed` on
    num_test: PositiveInt = 1000  # number of test clips
    # the GRU alone, smaller
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/video")
    # a folder of your own clips to train on, with one subfolder a class
    train: Annotated[Path | None, TRAINING_MODE] = None
    # a clip to classify: a GIF, WebP or APNG, a folder of images, or .npy [T, 32, 32]
    predict: Annotated[Path | None, MODE] = None
    # write the saved GRU as a file for onnxruntime, without training
    export: Export = None
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("predict")] = None
    given: Given = frozenset()
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train is not None:
            return replace(self, settings=OWN)
        return replace(self, settings=QUICK["gru"]) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return QUICK_EXPECTED

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.export:
            require_gru(self.settings.cell, "--export")
        if self.train is not None and (unused := given & UNUSED_BY_OWN):
            raise has_no_effect(min(unused), "train")
        if self.quick and (self.train or self.model):
            raise has_no_effect("quick", "train" if self.train else "model")

    def trainings(self) -> dict[str, Settings]:
        """The settings of each network."""
        return override_each(QUICK if self.quick else SETTINGS, self.settings, self.given)
