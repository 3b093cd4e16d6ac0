"""The settings and flags of `experiments.video`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    DropoutRate,
    Export,
    Flat,
    Given,
    MonitorFlags,
    NoFlag,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
    override_each,
)


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    reader: NoFlag[str] = "gru"  # how frames are combined, see `VideoNetwork`
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
    "mean": Settings("mean", epochs=12),
    "last": Settings("last", num_clips=6400, batch_size=128, epochs=16),
}
QUICK = {"gru": Settings(hidden_size=96, features=32, batch_size=16, epochs=5, learning_rate=4e-3)}

QUICK_EXPECTED = Expectations(
    (
        Expected(("right", "GRU", "digit"), 0.727, 0.1),
        Expected(("right", "GRU", "direction"), 0.987, 0.05),
        Expected(("right", "GRU", "speed"), 0.544, 0.15, judged=False),
    )
)


@dataclass(frozen=True)
class Command:
    """Trains the networks and compares them, or classifies a video with the GRU."""

    settings: Flat[Settings] = SETTINGS["gru"]  # a flag that is given holds for all networks
    num_test: PositiveInt = 1000  # number of test clips
    # the GRU alone, smaller
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/video")
    # .npy file of frames [T, 32, 32], or a folder of images, to classify instead of training
    predict: Annotated[Path | None, MODE] = None
    # write the saved GRU as a file for onnxruntime, without training
    export: Export = None
    given: Given = frozenset()
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        return replace(self, settings=QUICK["gru"]) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return QUICK_EXPECTED

    def trainings(self) -> dict[str, Settings]:
        """The settings of each network."""
        return override_each(QUICK if self.quick else SETTINGS, self.settings, self.given)
