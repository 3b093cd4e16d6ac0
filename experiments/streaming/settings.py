"""The settings and flags of `experiments.streaming`."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    CommonFlags,
    Flat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from experiments.common.parsing import check_values

CELLS = ("gru", "lstm", "transformer")
UNTRAINED = ("positions", "timing_seconds", "loop_steps")  # what no training depends on


@dataclass(frozen=True)
class Settings:
    """The trainings, and where in a stream a step is timed."""

    sizes: tuple[PositiveInt, ...] = (15_000, 50_000, 150_000)  # parameters, approximately
    num_characters: PositiveInt = 1_000_000  # that are read once
    pieces: PositiveInt = 8  # of the test text, read with a cache that grows
    length: PositiveInt = 8_192  # characters of each
    positions: tuple[NonNegativeInt, ...] = (100, 1_000, 10_000, 100_000)  # steps before
    hidden_size: PositiveInt = 96  # of the GRU that recognizes digits
    num_strings: PositiveInt = 1_600  # of digits per epoch
    epochs: PositiveInt = 8
    num_test: PositiveInt = 1_000  # strings
    loop_steps: PositiveInt = 64  # steps in one compiled loop
    timing_seconds: PositiveFloat = 120.0  # for all steps in turn
    seed: NonNegativeInt = 0

    def record(self) -> dict[str, Any]:
        """What the trainings depend on, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name not in UNTRAINED}


QUICK = Settings(
    sizes=(10_000, 20_000),
    num_characters=50_000,
    pieces=2,
    length=1_024,
    positions=(100, 1_000, 10_000),
    hidden_size=32,
    num_strings=320,
    epochs=2,
    num_test=200,
    loop_steps=16,
    timing_seconds=10.0,
)


@dataclass(frozen=True)
class Command:
    """Trains on text and on spoken digits, and times one step of a stream."""

    settings: Flat[Settings] = Settings()
    # small networks after little text, to try it out
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/streaming")
    common: Flat[CommonFlags] = CommonFlags()

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        return replace(self, settings=QUICK) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches, and what it is too short to judge."""
        figures = (Expected(("text", "trainings", "gru", "20000", "bits"), 3.43, 0.2),)
        too_short = ("which cell is best at equal quality, as each has learned little",)
        return Expectations(figures, too_short)

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        for name in ("sizes", "positions"):
            check_values(name, getattr(self.settings, name))
