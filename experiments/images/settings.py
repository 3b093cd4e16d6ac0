"""The settings and flags of `experiments.images`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from experiments.common.expectations import Expectations
from experiments.common.flags import (
    ALWAYS,
    MODE,
    TRAINING_MODE,
    DropoutRate,
    Export,
    Flat,
    Given,
    MonitorFlags,
    Needs,
    NoFlag,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
    override,
    override_each,
)
from experiments.common.parsing import has_no_effect
from experiments.common.rivals.settings import Comparison


class Distortion(NamedTuple):
    """The largest distortion in either direction; zeros leave an image unchanged."""

    shift: NonNegativeFloat = 0.0  # pixels, both down and right
    angle: NonNegativeFloat = 0.0  # degrees
    stretch: NonNegativeFloat = 0.0  # of height and width, as a fraction
    slant: NonNegativeFloat = 0.0  # pixels right per pixel down


SLIGHT = Distortion(shift=1.0, angle=10.0, stretch=0.1, slant=0.1)
STRONG = Distortion(shift=2.0, angle=15.0, stretch=0.15, slant=0.2)


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    network: NoFlag[str]  # a cell, or "bidirectional", "ReNet" or "CNN"
    reading: NoFlag[str] = "rows"  # how images become sequences for a cell, see `images.sequences`
    hidden_size: PositiveInt = 64  # per direction, or channels of the CNN; not used for cells
    num_layers: PositiveInt = 2  # of the bidirectional GRU
    patch: Literal[1, 2, 4, 7, 14, 28] = 4  # side of ReNet's patches in pixels
    dropout: DropoutRate = 0.3  # not used for cells
    distortion: Flat[Distortion] = STRONG  # of training images, newly drawn for each batch
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 24
    learning_rate: PositiveFloat = 3e-3  # peak, after one epoch of warm-up; then cosine decay
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0


LARGER = {  # networks that see whole images
    "bidirectional GRU by rows": Settings("bidirectional"),
    "ReNet": Settings("ReNet", hidden_size=32),
    "CNN": Settings("CNN", hidden_size=8),
}
# The best of a few on validation data.
RATES = {"gru": 1e-2, "lstm": 1e-2, "min_gru": 1e-2, "rnn": 1e-3}
EPOCHS = {"rows": 16, "14x14": 24, "permuted": 5, "pixels": 4}
COMPARED_EPOCHS = {"rows": 24, "permuted": 12}  # of the GRU and its rivals
QUICK_EPOCHS = {"rows": 3, "14x14": 3}
QUICK_LARGER_EPOCHS = 4
QUICK_CELLS = ("gru", "rnn")
NOT_OF_CELLS = ("hidden_size", "num_layers", "patch", "dropout")
CELL = Settings("gru", distortion=SLIGHT, batch_size=32)


@dataclass(frozen=True)
class Command:
    """Trains networks to read digits and compares them, or classifies an image with them."""

    # a flag that is given holds for all networks
    settings: Flat[Settings] = LARGER["bidirectional GRU by rows"]
    seeds: PositiveInt = 3  # trainings of each network that sees whole images
    cell_seeds: PositiveInt = 1  # trainings of each cell
    # two cells, two readings, fewer epochs, one seed
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/images")
    # a folder of your own images to train on, one subfolder a class; with --predict: to use
    train: Annotated[Path | None, ALWAYS] = None
    # train and test other cells and a Transformer, at equal parameters, beside the GRU
    compare: Annotated[bool, TRAINING_MODE] = False
    rivals: Annotated[Comparison, Needs("compare")] = Comparison()  # what is compared
    # image or .npy file of one digit to classify instead of training
    predict: Annotated[Path | None, MODE] = None
    # write the saved bidirectional GRU as a file for onnxruntime, without training
    export: Export = None
    given: Given = frozenset()
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        return replace(self, settings=replace(self.settings, epochs=QUICK_LARGER_EPOCHS), seeds=1)

    def expected(self) -> Expectations:
        """What a quick run is too short to judge."""
        if self.train is not None:
            return Expectations()
        return Expectations(
            too_short=(
                "which cell or network is best, as each trains for 3 or 4 epochs, with one seed",
            )
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.compare:
            self.rivals.check(given, ("train", "seeds", "cell_seeds", *NOT_OF_CELLS))
        unused = [name for name in ("patch", "seeds", "cell_seeds") if name in given]
        if self.train is not None and unused:
            raise has_no_effect(unused[0], "train")

    def compared(self) -> dict[str, Settings]:
        """The settings of each cell with --compare, but for its learning rate, by reading."""
        epochs = QUICK_EPOCHS if self.quick else COMPARED_EPOCHS
        presets = {name: replace(CELL, reading=name, epochs=epochs[name]) for name in epochs}
        return override_each(presets, self.settings, self.given)

    def larger(self) -> dict[str, Settings]:
        """The settings of the networks that see whole images."""
        changes = {"epochs": QUICK_LARGER_EPOCHS} if self.quick else {}
        return {name: self._override(replace(row, **changes)) for name, row in LARGER.items()}

    def cells(self) -> dict[str, dict[str, Settings]]:
        """The settings of each cell, by reading."""
        epochs = QUICK_EPOCHS if self.quick else EPOCHS
        cells = QUICK_CELLS if self.quick else tuple(RATES)
        return {
            reading: {
                cell: self._override(
                    replace(
                        CELL,
                        network=cell,
                        reading=reading,
                        epochs=epochs[reading],
                        learning_rate=RATES[cell],
                    )
                )
                for cell in cells
            }
            for reading in epochs
        }

    def _override(self, preset: Settings) -> Settings:
        return override(preset, self.settings, self.given)
