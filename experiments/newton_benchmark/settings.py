"""The settings and flags of `experiments.newton_benchmark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.common.command import InputError
from experiments.common.flags import (
    ALWAYS,
    CommonFlags,
    Flat,
    PositiveInt,
)


@dataclass(frozen=True)
class Command:
    """What is measured."""

    steps: tuple[PositiveInt, ...] = (1_000, 10_000, 100_000)  # T
    sizes: tuple[PositiveInt, ...] = (4, 8, 16, 32)  # H
    out: Annotated[Path, ALWAYS] = Path("runs/newton_benchmark")  # the folder of results.json
    common: Flat[CommonFlags] = CommonFlags()

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if there is nothing to measure."""
        if not (self.steps and self.sizes):
            raise InputError("--steps and --sizes need at least one value each.")
