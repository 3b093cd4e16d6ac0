"""The settings and flags of `experiments.benchmark`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from experiments.common.command import InputError
from experiments.common.flags import (
    ALWAYS,
    MODE,
    CommonFlags,
    Flat,
    Needs,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    With,
)

ImplementationName = Literal["native", "scan", "plain", "newton", "cuda", "tpu"]
LibraryName = Literal[
    "flax.linen", "flax.nnx", "haiku", "equinox", "keras", "torch", "onnxruntime", "openvino"
]


@dataclass(frozen=True)
class Command:
    """What to measure."""

    # 12 points instead of the full grid
    quick: Annotated[bool, With("rl")] = False
    # the peers; those not installed are skipped
    libraries: Annotated[tuple[LibraryName, ...], With("cells", "first_call", "short")] = get_args(
        LibraryName
    )
    # grujax implementations, built if necessary; the first one is compared with the peers
    implementations: Annotated[tuple[ImplementationName, ...], With("first_call", "short")] = (
        "native",
        "scan",
    )
    # of timing per point; with --quick: 1
    seconds: Annotated[
        NonNegativeFloat, With("short", "cells", "cost", "sweep", "blocks", "rl")
    ] = 2.0
    out: Annotated[Path, ALWAYS] = Path("runs/benchmark")
    fresh: Annotated[bool, With("gpu", "short")] = False  # measure everything again
    short: Annotated[bool, MODE] = False  # calls of 1 to 16 steps instead
    # the GRU, LSTM, RNN and others (`experiments.common.cells`) at one point instead
    cells: Annotated[bool, MODE] = False
    # how the time grows with T, B, H and threads (`experiments.benchmark.cost`) instead
    cost: Annotated[bool, MODE] = False
    # the first training step of a process (`experiments.benchmark.first_call`) instead
    first_call: Annotated[bool, MODE] = False
    # many models (`experiments.benchmark.many_models`) instead
    sweep: Annotated[bool, MODE] = False
    # a GRU in blocks (`experiments.benchmark.blocks`) instead
    blocks: Annotated[bool, MODE] = False
    rl: Annotated[bool, MODE] = False  # recurrent PPO (`experiments.benchmark.rl`) instead
    # the number of competing processes that use all cores
    busy: Annotated[NonNegativeInt, With("short")] = 0
    # is grujax right and fast on this GPU (`experiments.benchmark.gpu`) instead
    gpu: Annotated[bool, MODE] = False
    # no step begins after this time; the next call goes on
    minutes: Annotated[PositiveFloat, Needs("gpu")] = 5.0
    # tiny shapes on a CPU, to try the benchmark itself
    dry_run: Annotated[bool, Needs("gpu")] = False
    common: Flat[CommonFlags] = CommonFlags()

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        return replace(self, seconds=1.0) if self.quick and not self.rl else self

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if not self.implementations:
            raise InputError("--implementations needs at least one value.")
