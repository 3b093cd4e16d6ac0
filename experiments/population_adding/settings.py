"""The settings and flags of `experiments.population_adding`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    Flat,
    MonitorFlags,
    PositiveInt,
    Range,
)


@dataclass(frozen=True)
class Settings:
    """Sizes and lengths of the trainings."""

    steps: Annotated[int, Range(2)] = 400  # T
    members: Annotated[int, Range(4)] = 12
    rounds: PositiveInt = 20
    updates: PositiveInt = 40  # optimizer steps per round
    seeds: PositiveInt = 3
    hidden_size: PositiveInt = 24
    batch_size: PositiveInt = 16


QUICK_EXPECTED = Expectations(
    tuple(
        Expected(("error of the best member", 0, method), 0.0008, 0.0012)
        for method in ("random", "population")
    ),
    ("whether the population is better, as one seed differs from the next by more",),
)


@dataclass(frozen=True)
class Command:
    """Runs both methods with each seed, and compares them."""

    settings: Flat[Settings] = Settings()
    # T = 50, one seed, 20 rounds of 20 updates
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/population_adding")
    common: Flat[MonitorFlags] = MonitorFlags()  # how the trainings are watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        return replace(self, settings=Settings(50, 8, 20, 20, 1, 16))

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return QUICK_EXPECTED
