"""The settings and flags of `experiments.online_learning`."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from experiments.common.command import InputError
from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    CommonFlags,
    Flat,
    Fraction,
    PositiveFloat,
    PositiveInt,
    Range,
)
from experiments.common.parsing import check_values, spell

TaskName = Literal["copy", "adding", "digits", "flip_flop", "recall"]
MethodName = Literal[
    "bptt", "rtrl", "tbptt-32", "tbptt-8", "tbptt-1", "snap-1", "eprop", "uoro", "readout"
]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Settings:
    """Tasks, sizes, and the recipe of all trainings."""

    tasks: tuple[TaskName, ...] = ("copy", "adding", "digits", "flip_flop", "recall")
    methods: tuple[MethodName, ...] = get_args(MethodName)  # see `methods.py`
    hidden_size: PositiveInt = 16  # H
    batch_size: PositiveInt = 8  # B, rows
    updates: PositiveInt = 300  # optimizer steps, one after each window
    every: PositiveInt = 50  # updates between evaluations
    block: PositiveInt = 10  # updates in one compiled call; gradients are compared on so many
    seeds: PositiveInt = 3  # trainings at the chosen learning rate
    rates: tuple[PositiveFloat, ...] = (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # of Adam, to choose from
    max_gradient_norm: PositiveFloat = 1.0  # longer gradients are scaled down to it
    update_bias: float = 2.0  # of the update gate at the start: memories of 1 + e^bias steps
    copy_delay: PositiveInt = 38  # blanks between the symbols and their copies
    copy_symbols: PositiveInt = 1
    adding_steps: Annotated[int, Range(2)] = 40  # T of the adding problem
    window: PositiveInt = 32  # steps between updates in the streams, flip_flop and recall
    history: PositiveInt = 3  # earlier windows through which BPTT goes back in flip_flop
    pulse_rate: Fraction = 0.1  # of flip_flop, per bit and step
    recall_lag: Annotated[int, Range(2)] = 64  # steps from one bit to the next
    lengths: tuple[PositiveInt, ...] = (32, 256, 2048)  # T, at which memory is measured
    timing_seconds: PositiveFloat = 5.0  # for timing all methods
    online_windows: Annotated[int, Range(4)] = (
        64  # of the flip-flop, learned with an update at every step
    )
    online_rates: tuple[PositiveFloat, ...] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # for that

    def record(self) -> dict[str, Any]:
        """What determines a single training, as JSON values."""
        others = ("tasks", "methods", "seeds", "rates", "lengths", "timing_seconds", "online_rates")
        return {name: value for name, value in asdict(self).items() if name not in others}


@dataclass(frozen=True)
class Command:
    """Trains with every kind of gradient, and compares them."""

    settings: Flat[Settings] = Settings()
    # one task, one seed
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/online_learning")
    common: Flat[CommonFlags] = CommonFlags()

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        settings = Settings(
            tasks=("recall",),
            seeds=1,
            rates=(1e-2, 3e-2),
            lengths=(32, 256),
            timing_seconds=1.0,
            online_windows=16,
            online_rates=(1e-3, 1e-2, 3e-2),
        )
        return replace(self, settings=settings)

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        figures = tuple(
            Expected(("trainings", "recall", method, "error"), error, 0.12)
            for method, error in (("bptt", 0.004), ("rtrl", 0.0), ("tbptt-32", 0.448))
        )
        too_short = ("which approximation is better, as it trains with one seed",)
        return Expectations(figures, too_short=too_short)

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        settings = self.settings
        for name in ("tasks", "methods", "rates", "lengths", "online_rates"):
            check_values(name, getattr(settings, name))
        for larger, smaller in (("updates", "every"), ("every", "block")):
            divisor = getattr(settings, smaller)
            if getattr(settings, larger) % divisor:
                raise InputError(
                    f"{spell(larger)} must be a multiple of {spell(smaller)}, {divisor}, got "
                    f"{getattr(settings, larger)}."
                )
        if settings.recall_lag <= settings.window:
            raise InputError(
                f"--recall-lag must be above --window, {settings.window}, got "
                f"{settings.recall_lag}: a bit and its question must not share every window."
            )
