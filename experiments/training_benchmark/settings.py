"""The settings and flags of `experiments.training_benchmark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.common.flags import (
    ALWAYS,
    CommonFlags,
    Flat,
    NonNegativeFloat,
    PositiveInt,
)


@dataclass(frozen=True)
class Command:
    """What is measured."""

    steps: PositiveInt = 64  # per epoch
    # if more than 1, an epoch spread over this many CPU devices is also measured
    devices: PositiveInt = 1
    seconds: NonNegativeFloat = 60.0  # of timing
    out: Annotated[Path, ALWAYS] = Path("runs/training_benchmark")  # the folder of results.json
    common: Flat[CommonFlags] = CommonFlags()
