"""The settings and flags of `experiments.forecasting`."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from experiments.common.command import InputError
from experiments.common.expectations import Expectations
from experiments.common.flags import (
    ALWAYS,
    MODE,
    CellName,
    DropoutRate,
    Export,
    Flat,
    Given,
    MonitorFlags,
    Needs,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
    override,
)
from experiments.common.parsing import has_no_effect
from experiments.common.rivals.settings import require_gru


@dataclass(frozen=True)
class Settings:
    """The settings of the networks and their training."""

    # what reads the steps; another cell than a GRU has as many parameters
    cell: CellName = field(default="gru", repr=False)  # `repr` names the folder of a table
    window: PositiveInt = 14  # T, the steps that a network reads
    hidden_size: PositiveInt = 8
    dropout: DropoutRate = 0.3
    members: PositiveInt = 12  # networks in an ensemble, whose forecasts are averaged
    seeds: PositiveInt = 3  # ensembles
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 24  # the most
    patience: PositiveInt = 12  # stop after so many epochs without a better validation score
    learning_rate: PositiveFloat = 3e-3  # the peak; one epoch of warm-up before, a cosine after
    weight_decay: NonNegativeFloat = 30.0  # strong, because there are only 1,000 days
    max_gradient_norm: PositiveFloat = 1.0


STOCKS = Settings(
    window=22, hidden_size=16, dropout=0.5, members=8, batch_size=128, epochs=8, weight_decay=1.0
)
TABLE = Settings(
    window=28, hidden_size=16, members=10, seeds=1, learning_rate=1e-3, weight_decay=1.0
)
TRAFFIC = Settings(
    window=48,
    hidden_size=32,
    dropout=0.2,
    members=6,
    batch_size=64,
    epochs=8,
    weight_decay=0.1,
)
QUICK = {"seeds": 1, "members": 6, "epochs": 4}
STUDY_SETTINGS = {"weather": Settings(), "stocks": STOCKS, "traffic": TRAFFIC}


@dataclass(frozen=True)
class Command:
    """Trains networks and compares their forecasts, or forecasts with trained ones."""

    # a flag that is given holds for all studies
    settings: Annotated[Flat[Settings], ALWAYS] = Settings()
    # the study; None: all
    data: Annotated[Literal["weather", "stocks", "traffic"] | None, ALWAYS] = None
    # fewer networks and epochs
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/forecasting")
    # a date, or `end`: forecast from there with the saved networks
    predict: Annotated[str | None, MODE] = None
    # write the saved networks as a file for onnxruntime, without training
    export: Export = None
    # your own table, to train on and forecast instead
    csv: Annotated[Path | None, ALWAYS] = None
    target: Annotated[str | None, Needs("csv")] = None  # the column to forecast
    horizon: Annotated[PositiveInt, Needs("csv")] = 7  # the number of rows to forecast
    # the column of times; None: the first with dates, if any
    time: Annotated[str | None, Needs("csv")] = None
    # other columns of numbers that the forecast may read
    covariates: Annotated[tuple[str, ...], Needs("csv")] = ()
    # such as %d.%m.%Y; None: as the cells show
    date_format: Annotated[str | None, Needs("csv")] = None
    # the decimal mark; None: as the cells show
    decimal: Annotated[Literal[".", ","] | None, Needs("csv")] = None
    given: Given = frozenset()
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        settings = TABLE if self.csv else STUDY_SETTINGS[self.data or "weather"]
        return replace(self, settings=replace(settings, **(QUICK if self.quick else {})))

    def expected(self) -> Expectations:
        """What a quick run is too short to judge."""
        if self.csv is not None:
            return Expectations()
        return Expectations(
            too_short=(
                "whether the network is better than a rival, as it has one ensemble of 4 epochs",
            )
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.csv is not None and self.data is not None:
            raise InputError("--csv and --data exclude each other: give one of them.")
        if self.csv is not None and self.target is None:
            raise InputError("--csv needs --target, the column to forecast.")
        if self.export:
            require_gru(self.settings.cell, "--export")
        changed = given & {field.name for field in fields(Settings)} - {"cell"}
        for mode in ("predict", "export"):
            if self.csv is None and getattr(self, mode) is not None and changed:
                raise has_no_effect(min(changed), mode)

    def study_settings(self, data: str) -> Settings:
        """The settings of a study."""
        preset = replace(STUDY_SETTINGS[data], **(QUICK if self.quick else {}))
        return override(preset, self.settings, self.given)
