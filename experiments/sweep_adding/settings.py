"""The settings and flags of `experiments.sweep_adding`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    Flat,
    MonitorFlags,
    Needs,
    PositiveFloat,
    PositiveInt,
    ProcessFlags,
    Range,
    With,
)
from experiments.common.parsing import check_values
from experiments.common.rivals.settings import Comparison as Rivals


@dataclass(frozen=True)
class Settings:
    """The swept values, and the settings of each training."""

    steps: tuple[Annotated[int, Range(2)], ...] = (100, 200, 500, 1000)  # T
    learning_rates: tuple[PositiveFloat, ...] = (1e-3, 3e-3, 1e-2)
    seeds: PositiveInt = 2
    hidden_size: PositiveInt = 24
    batch_size: PositiveInt = 16
    updates: Annotated[int, Range(20)] = 1500  # optimizer steps per training


@dataclass(frozen=True)
class Comparison:
    """How long each search and each training is."""

    trials: PositiveInt = 48
    batch: PositiveInt = 4
    seeds: PositiveInt = 5
    steps: PositiveInt = 50  # T
    updates: PositiveInt = 400  # optimizer steps per training
    hidden_size: PositiveInt = 24
    batch_size: PositiveInt = 16
    rounds: PositiveInt = 3  # of the comparison of speed, interleaved


class Compared(NamedTuple):
    """The adding problem with which the GRU and its rivals are compared."""

    steps: int  # T
    parameters: int  # approximately
    batch_size: int
    updates: int  # per epoch
    epochs: int


COMPARED = Compared(steps=100, parameters=4000, batch_size=32, updates=200, epochs=15)
QUICK_COMPARED = Compared(steps=20, parameters=1000, batch_size=16, updates=100, epochs=3)
QUICK_EXPECTED = Expectations(
    (
        Expected(("solved", "GRU, all", "20"), 1.0, 0.17),
        Expected(("solved", "GRU, all", "50"), 0.67, 0.34),
        Expected(("solved", "RNN, all", "50"), 0.0, 0.17),
    ),
    ("whether GRU or LSTM solves more, as each has six trainings per T",),
)


@dataclass(frozen=True)
class Command:
    """Sweeps all cells over T, or compares Optuna with random search."""

    settings: Flat[Settings] = Settings()
    # T = 20 and 50, one seed, 600 updates
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/sweep_adding")
    search: Annotated[bool, MODE] = False  # compare Optuna with random search instead
    comparison: Annotated[Comparison, Needs("search")] = Comparison()  # for --search
    # train and test other cells and a Transformer, at equal parameters, beside the GRU
    compare: Annotated[bool, MODE] = False
    rivals: Annotated[Rivals, Needs("compare")] = Rivals()  # what is compared
    # several processes share the sweep
    scale: Annotated[Flat[ProcessFlags], With("compare")] = ProcessFlags()
    common: Annotated[Flat[MonitorFlags], With("compare")] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        settings = Settings(steps=(20, 50), seeds=1, updates=600)
        comparison = Comparison(trials=16, seeds=2, steps=20, updates=60, rounds=1)
        return replace(self, settings=settings, comparison=comparison)

    def compared(self) -> Compared:
        """The adding problem of --compare."""
        return QUICK_COMPARED if self.quick else COMPARED

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return QUICK_EXPECTED

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError unless each swept value is named once."""
        if self.compare:
            self.rivals.check(given)
        for name in ("steps", "learning_rates"):
            check_values(name, getattr(self.settings, name))
