"""The settings and flags of `experiments.training_difficulty`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from experiments.common.command import InputError
from experiments.common.expectations import Expectations
from experiments.common.flags import (
    ALWAYS,
    Flat,
    MonitorFlags,
    PositiveFloat,
    PositiveInt,
    ProcessFlags,
    Range,
)


@dataclass(frozen=True)
class Settings:
    """Tasks, sizes and the recipe of all trainings."""

    adding: tuple[Annotated[int, Range(2)], ...] = (100, 200)  # lengths T of the adding problem
    copy: tuple[PositiveInt, ...] = (5, 20)  # delays of copy memory
    pixels: tuple[Literal[49, 196, 784], ...] = (784,)  # numbers of pixels T: 784, 196 or 49
    adding_cap: PositiveInt = 1500  # maximum optimizer steps on the adding problem
    copy_cap: PositiveInt = 2000  # the same on copy memory
    pixels_cap: PositiveInt = 400  # the same on pixels
    every: PositiveInt = 50  # optimizer steps between evaluations on held-out sequences
    seeds: PositiveInt = 3  # trainings per task, length, cell and trick
    parameters: PositiveInt = 3000  # approximate size of a recurrent layer; layer norm adds a few
    batch_size: PositiveInt = 16  # sequences per optimizer step
    learning_rate: PositiveFloat = 3e-3  # of Adam

    def lengths(self, task: str) -> tuple[int, ...]:
        """The lengths of a task, ascending."""
        return {"adding": self.adding, "copy": self.copy, "pixels": self.pixels}[task]

    def cap(self, task: str) -> int:
        """The maximum number of optimizer steps on a task."""
        caps = {"adding": self.adding_cap, "copy": self.copy_cap, "pixels": self.pixels_cap}
        return caps[task]


@dataclass(frozen=True)
class Command:
    """Trains all cells with all tricks, and compares them."""

    settings: Flat[Settings] = Settings()
    # only the adding problem at T = 30, two seeds
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/training_difficulty")
    scale: Flat[ProcessFlags] = ProcessFlags()  # several processes share the trainings
    common: Flat[MonitorFlags] = MonitorFlags()  # how they are watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        settings = Settings(adding=(30,), copy=(), pixels=(), adding_cap=1000, seeds=2)
        return replace(self, settings=settings)

    def expected(self) -> Expectations:
        """What a quick run is too short to judge."""
        return Expectations(
            too_short=("whether a trick helps, as there are two seeds of one task",)
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        settings = self.settings
        if not (settings.adding or settings.copy or settings.pixels):
            raise InputError("--adding, --copy and --pixels have no value: there is no task.")
        for task in ("adding", "copy", "pixels"):
            if settings.lengths(task) and settings.cap(task) % settings.every:
                raise InputError(
                    f"--{task}-cap must be a multiple of --every, {settings.every}, "
                    f"got {settings.cap(task)}."
                )
            if not settings.lengths(task) and f"{task}_cap" in given:
                raise InputError(f"--{task}-cap has no effect without a value of --{task}.")
