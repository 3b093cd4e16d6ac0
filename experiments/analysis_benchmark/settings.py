"""The settings and flags of `experiments.analysis_benchmark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.common.flags import (
    ALWAYS,
    CommonFlags,
    Flat,
    PositiveInt,
    Range,
)


@dataclass(frozen=True)
class Command:
    """What is measured."""

    steps: Annotated[int, Range(20)] = 10_000  # T, of the sequence that drives the network
    exponents: Annotated[int, Range(1, 256)] = 10  # the number of Lyapunov exponents
    starts: PositiveInt = 1024  # states from which fixed points are searched
    hidden_size: PositiveInt = 128  # of the networks with fixed points
    out: Annotated[Path, ALWAYS] = Path("runs/analysis_benchmark")  # the folder of results.json
    common: Flat[CommonFlags] = CommonFlags()
