"""The settings and flags of `experiments.text_generation`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    TRAINING_MODE,
    Export,
    Flat,
    Fraction,
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
from experiments.common.rivals.settings import Comparison


@dataclass(frozen=True)
class Settings:
    """The settings of a training."""

    cell: NoFlag[str] = "gru"
    parameters: PositiveInt = 150_000  # approximately, including the readout
    num_characters: PositiveInt | None = None  # of the training books to read; None: all
    batch_size: PositiveInt = 16  # streams
    steps: PositiveInt = 64  # characters per segment; gradients flow within it
    passes: PositiveInt = 1  # over the training books
    parts: PositiveInt = 8  # evaluations per pass
    learning_rate: PositiveFloat = 4e-3  # the peak: one part of warm-up, then a cosine
    max_gradient_norm: PositiveFloat = 1.0
    seed: Annotated[NonNegativeInt, ALWAYS] = 0  # with --sample: of the sampling


# The learning rates are the better of 4e-3 and 8e-3 by the validation bits of a whole training on
# the Bible; for the RNN, of 1e-3 and 4e-3 on less text.
TRAININGS = {
    "rnn": Settings("rnn"),
    "lstm": Settings("lstm", learning_rate=8e-3),
    "gru": Settings("gru"),
    "gru-large": Settings("gru", parameters=500_000, passes=2),
}
SAMPLED = "gru-large"
OWN = Settings("gru", passes=10, parts=4)  # of the user's text, which may be short
QUICK = {
    key: replace(
        settings,
        num_characters=400_000,
        parameters=settings.parameters // 5,
        batch_size=8,
        parts=4,
        learning_rate=1e-2,
    )
    for key, settings in TRAININGS.items()
}


COMPARED = Settings(num_characters=2_000_000)  # of the GRU and its rivals


@dataclass(frozen=True)
class Command:
    """Trains and compares the models, or generates text with a trained one."""

    settings: Flat[Settings] = TRAININGS[SAMPLED]  # a flag that is given holds for all models
    # None: both; --sample: the Bible
    corpus: Annotated[Literal["bible", "shakespeare"] | None, ALWAYS] = None
    # train small models on a small subset, to try it out
    quick: Annotated[bool, ALWAYS] = False
    # the output directory; each training has a folder in it
    out: Annotated[Path, ALWAYS] = Path("runs/text_generation")
    # your own text to train on: a plain text file
    train: Annotated[Path | None, TRAINING_MODE] = None
    # train and test other cells and a Transformer, at equal parameters, beside the GRU
    compare: Annotated[bool, TRAINING_MODE] = False
    rivals: Annotated[Comparison, Needs("compare")] = Comparison()  # what is compared
    # a prompt for the saved model to continue, without training
    sample: Annotated[str | None, MODE] = None
    # write the saved model as a file for onnxruntime, without training
    export: Export = None
    # of the sampling: lower is more predictable, higher more random; 0: always the most likely
    temperature: Annotated[NonNegativeFloat, Needs("sample")] = 0.7
    # sample from the most likely characters with this total probability
    top_p: Annotated[Fraction, Needs("sample")] = 0.95
    length: Annotated[NonNegativeInt, Needs("sample")] = 500  # characters
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("sample", "export")] = None
    given: Given = frozenset()
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train:
            return replace(self, settings=OWN)
        return replace(self, settings=QUICK[SAMPLED]) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches, and what it is too short to judge."""
        return Expectations(
            (
                Expected(("GRU", "bits"), 2.457, 0.1, folder="bible"),
                Expected(("GRU, larger and longer", "bits"), 2.259, 0.1, folder="bible"),
            ),
            too_short=(
                "which cell is best, as each has one seed",
                "whether a network is better than n-grams, as it reads a small part once",
            ),
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.compare:
            self.rivals.check(given)
        if self.corpus and (self.train or self.model):
            raise has_no_effect("corpus", "train", "model")
        if self.quick and self.train:
            raise has_no_effect("quick", "train")  # `passes` says how long it trains
        if self.quick and self.model:
            raise has_no_effect("quick", "model")

    def compared(self) -> Settings:
        """The settings of each cell with --compare, but for its learning rate."""
        preset = replace(QUICK["gru"], num_characters=100_000) if self.quick else COMPARED
        return override(preset, self.settings, self.given)

    def trainings(self) -> dict[str, Settings]:
        """The settings of each model."""
        if self.train:
            return {"gru": self.settings}
        return override_each(QUICK if self.quick else TRAININGS, self.settings, self.given)
