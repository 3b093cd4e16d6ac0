"""The types of flags: what a value must be, when a flag has an effect, and groups of flags.

A command's flags are the fields of the dataclass `Command` in its `settings.py`, which
`experiments.common.parsing` reads. These files import no JAX, so that `--help` is quick.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

# A group of flags without a prefix: `settings: Flat[Settings]` gives `--epochs`.
Flat = tyro.conf.OmitArgPrefixes


@dataclass(frozen=True)
class Range:
    """The numbers that a flag takes; they are finite."""

    least: float
    most: float = math.inf
    without_least: bool = False
    without_most: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether the flag takes this number."""
        is_above = value > self.least if self.without_least else value >= self.least
        is_below = value < self.most if self.without_most else value <= self.most
        return is_above and is_below and math.isfinite(value)

    def __str__(self) -> str:
        """The condition, as in "must be at least 1"."""
        least = f"{'above' if self.without_least else 'at least'} {self.least:g}"
        if math.isinf(self.most):
            return least
        return f"{least} and {'below' if self.without_most else 'at most'} {self.most:g}"


PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
PositiveFloat = Annotated[float, Range(0, without_least=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
DropoutRate = Annotated[float, Range(0, 1, without_most=True)]


@dataclass(frozen=True)
class Mode:
    """The role of a flag that asks for something else than the command's usual training.

    At most one such flag can be given. It excludes the flags without a role, unless it `trains`.
    """

    trains: bool = False


class With:
    """The role of a flag that has an effect without a mode, and in these modes."""

    def __init__(self, *modes: str):
        self.modes = modes


@dataclass(frozen=True)
class Always:
    """The role of a flag that has an effect in every mode."""


class Needs:
    """The role of a flag that has an effect only if one of these flags is given."""

    def __init__(self, *names: str):
        self.names = names


@dataclass(frozen=True)
class Unrecorded:
    """Marks a flag that does not influence the results, so it is not in config.toml."""


MODE, TRAINING_MODE, ALWAYS, UNRECORDED = Mode(), Mode(trains=True), Always(), Unrecorded()

T = TypeVar("T")
NoFlag = Annotated[T, tyro.conf.Fixed, tyro.conf.Suppress]  # a field that is no flag

# The names of the flags that were given: the field `given` of a command that trains several
# networks, each with settings of its own. A flag that was given holds for all of them.
Given = NoFlag[frozenset[str]]


def override(preset: T, settings: Any, given: frozenset[str]) -> T:
    """The settings of one network, `preset`, with the flags that were given, from `settings`."""
    names = getattr(preset, "_fields", None) or [field.name for field in fields(preset)]
    changes = {}
    for name in names:
        value = getattr(preset, name)
        if hasattr(value, "_fields"):
            changes[name] = override(value, getattr(settings, name), given)
        elif name in given:
            changes[name] = getattr(settings, name)
    return replace(preset, **changes) if is_dataclass(preset) else preset._replace(**changes)


def override_each(presets: Mapping[str, T], settings: Any, given: frozenset[str]) -> dict[str, T]:
    """The settings of several networks by name, see `override`."""
    return {name: override(preset, settings, given) for name, preset in presets.items()}


# Write the saved model as an ONNX file instead of training.
Export = Annotated[Literal["onnx"] | None, MODE]

# What reads a sequence, see `experiments.common.rivals.cells`.
CellName = Literal["gru", "lstm", "rnn", "min_gru", "transformer"]

LoggerName = Literal["csv", "json", "mlflow", "tensorboard", "wandb"]


@dataclass(frozen=True)
class CommonFlags:
    """The flags of every command."""

    # a TOML file of flags, such as a run's config.toml; flags on the command line come first
    config: Annotated[Path | None, ALWAYS, UNRECORDED] = None
    quiet: Annotated[bool, ALWAYS, UNRECORDED] = False  # show no progress


@dataclass(frozen=True)
class MonitorFlags(CommonFlags):
    """How trainings are watched."""

    # loggers that record them
    log: Annotated[tuple[LoggerName, ...], UNRECORDED] = ()


@dataclass(frozen=True)
class ProcessFlags:
    """Which of several processes this one is."""

    # run as one of several processes; SLURM or Kubernetes number them
    distributed: Annotated[bool, UNRECORDED] = False
    # HOST:PORT of process 0, unless SLURM or Kubernetes set it
    coordinator: Annotated[str | None, UNRECORDED] = None
    # their number, unless SLURM or Kubernetes set it
    processes: Annotated[int | None, UNRECORDED] = None
    process: Annotated[int | None, UNRECORDED] = None  # the index of this one, from 0
    # seconds to wait until all processes have started
    timeout: Annotated[int, UNRECORDED] = 120


@dataclass(frozen=True)
class ScaleFlags(ProcessFlags):
    """The devices of a training, its pieces per batch, and its precision."""

    devices: PositiveInt = 1  # per process; the rows of a batch are split over all of them
    accumulate: PositiveInt = 1  # pieces per batch, whose gradients are added: less memory
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computations; parameters: float32
