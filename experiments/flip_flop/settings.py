"""The settings and flags of `experiments.flip_flop`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    Export,
    Flat,
    Fraction,
    MonitorFlags,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
)


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    hidden_size: PositiveInt = 32
    steps: PositiveInt = 64  # of a training sequence
    pulse_rate: Fraction = 0.1  # probability of a pulse per bit and step
    num_examples: PositiveInt = 2048
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 30
    learning_rate: PositiveFloat = 1e-2  # peak, after one epoch of warm-up; then cosine decay
    max_gradient_norm: PositiveFloat = 1.0


@dataclass(frozen=True)
class Command:
    """Trains networks on the flip-flop and finds their fixed points, or runs a trained one."""

    settings: Flat[Settings] = Settings()
    seeds: PositiveInt = 5  # number of networks
    quick: Annotated[bool, ALWAYS] = False  # one small network, trained briefly
    out: Annotated[Path, ALWAYS] = Path("runs/flip_flop")  # output folder
    # pulses such as "+-+ ... .+." to feed to the saved network instead
    predict: Annotated[str | None, MODE] = None
    # write the saved network as a file for onnxruntime, without training
    export: Export = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        settings = Settings(hidden_size=24, num_examples=1024, epochs=20)
        return replace(self, settings=settings, seeds=1)

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return Expectations(
            (
                Expected(("seed0", "correct"), 0.9998, 0.003),
                Expected(("seed0", "stable"), 8, 0.5),
                Expected(("seed0", "memories"), 8, 0.5),
            ),
            too_short=("whether every seed finds the cube, as it trains one network",),
        )
