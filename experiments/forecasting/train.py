"""Forecasting weather, stocks and any table: GRUs that correct a linear forecast, with intervals.

Each network reads the last steps and gives quantiles of the error that a ridge regression on its
inputs will make; untrained, it leaves that forecast as it is. Forecasts start at every day of the
test period, the last in time, and stand beside what is hard to beat. The report says where there is
no edge, and tests differences by a bootstrap over blocks of days.

    python -m experiments.forecasting                        weather and stocks: 2 minutes
    python -m experiments.forecasting --quick                a minute
    python -m experiments.forecasting --data weather --predict 2015-07-01     or: --predict end
    python -m experiments.forecasting --csv sales.csv --target units --horizon 14

Seattle's highest temperature in 2015, mean absolute error 1 / 3 / 7 days ahead, °C: GRU 2.06 / 2.72
/ 2.92, AR(1) on anomalies 2.13 / 2.85 / 2.95, persistence 2.24 / 3.49 / 3.73. All of it is due to
the inputs: the ridge regression on them has the same, and three years of days teach a network no
more. Five stocks, R² against the training mean (against the test's own it is lower): the logarithm
of the next day's range 0.628, HAR + EWMA 0.615, and an edge over the ridge regression, 0.626, small
but beyond chance; of 5-day volatility 0.473 as the ridge, HAR + EWMA 0.457. Where a stock goes: no
edge; how far: its interval follows the volatility, which takes away 3.3% of the pinball loss of a
constant one. 80% intervals held 77.5 to 81.1%.

HAR regresses on averages over a day, a week and a month (Corsi 2009, doi:10.1093/jjfinec/nbp001).
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.data import tables
from experiments.common.report.plots import plot_learning_curves
from experiments.common.training import loop
from experiments.common.training.gradients import Mean
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.forecasting import model as forecaster
from experiments.forecasting import report as forecast_report
from experiments.forecasting import stocks, weather
from experiments.forecasting.model import Forecaster, Problem
from experiments.forecasting.table_forecasts import make_problem, times_after

COMMAND = "python -m experiments.forecasting"
MINUTES = 2  # of everything by default, on 2 CPU cores
MODEL = "model.msgpack"


@dataclass(frozen=True)
class Settings:
    """What determines the trained networks."""

    window: int = 14  # T, the steps that are read
    hidden_size: int = 8
    dropout: float = 0.3
    members: int = 12  # networks whose forecasts are averaged
    seeds: int = 3  # how many such averages
    batch_size: int = 32
    epochs: int = 24  # at most
    patience: int = 12  # epochs without a better validation score
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 30.0  # so much: 1,000 days teach a network little
    max_gradient_norm: float = 1.0


def make_model(settings: Settings, problem: Problem) -> Forecaster:
    """One network of these settings."""
    return Forecaster(len(problem.names), settings.hidden_size, settings.dropout)


class Study(NamedTuple):
    """One of the two built-in data sets."""

    settings: Settings
    make_problem: Callable[[int], Problem]  # of the window T
    report: Callable[[Problem, np.ndarray, Path], None]  # of the quantiles, into a folder


STOCKS = Settings(
    window=22, hidden_size=16, dropout=0.5, members=8, batch_size=128, epochs=8, weight_decay=1.0
)
STUDIES = {
    "weather": Study(Settings(), weather.make_problem, forecast_report.report_weather),
    "stocks": Study(STOCKS, stocks.make_problem, forecast_report.report_stocks),
}
TABLE = Settings(
    window=28, hidden_size=16, members=10, seeds=1, learning_rate=1e-3, weight_decay=1.0
)
QUICK = {"seeds": 1, "members": 6, "epochs": 4}


def make_training(
    settings: Settings, problem: Problem, learning_rate: float | Array
) -> training.Training:
    """Builds the training of `members` networks side by side, on the same batches."""
    model = make_model(settings, problem)
    examples = forecaster.examples_of(problem, problem.split.train)
    validation = forecaster.examples_of(problem, problem.split.validation)
    left_out = forecaster.left_out_parts(settings.members, problem.parts.max())

    def init_params(key: Array) -> Any:
        keys = jax.random.split(key, settings.members)
        return jax.vmap(lambda key: model.init(key, examples["inputs"][:1], False))(keys)

    def loss(params: Any, batch: dict[str, Array], key: Array) -> Mean:
        def member_loss(params: Any, key: Array, part: Array) -> Mean:
            outputs: Any = model.apply(params, batch["inputs"], True, rngs={"dropout": key})
            return forecaster.pinball_mean(outputs, batch, part)

        keys = jax.random.split(key, settings.members)
        return jax.vmap(member_loss)(params, keys, jnp.asarray(left_out))

    def evaluate(params: Any) -> training.Metrics:
        outputs = forecaster.ensemble(model, params, validation["inputs"])
        unseen = forecaster.mean_of_unseen(outputs, validation["part"], left_out)
        return {"validation_score": -forecaster.mean_pinball_loss(unseen, validation)}

    optimizer = training.adamw_warmup_cosine(
        learning_rate,
        settings.weight_decay,
        settings.max_gradient_norm,
        len(examples["inputs"]) // settings.batch_size,
        settings.epochs,
    )
    return training.make_training(
        init_params=init_params,
        loss=loss,
        evaluate=evaluate,
        score="validation_score",
        optimizer=optax.GradientTransformation(
            jax.vmap(optimizer.init), jax.vmap(optimizer.update)
        ),
        examples=examples,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.patience,
    )


def make_train(settings: Settings, problem: Problem) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(make_training, settings, problem)


def train_seeds(settings: Settings, problem: Problem, out: Path, label: str) -> Any:
    """Trains once a seed, and saves the model. Returns: parameters, [seeds, members, ...]."""
    plan = make_training(settings, problem, settings.learning_rate)
    record = {"settings": asdict(settings)}
    states = []
    for seed in range(settings.seeds):
        name = f"seed{seed}"
        state = loop.run(plan, jax.random.key(seed), out / name, record, f"{label}, {name}")
        states.append(state.best_params)
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    save_model(out / MODEL, params, record, problem.names)
    paths = sorted(out.glob(f"*/{loop.METRICS}"))
    records = {path.parent.name: read_records(path) for path in paths}
    plot_learning_curves(out / "learning_curves.png", records, "validation_score")
    return params


def forecast(settings: Settings, problem: Problem, params: Any) -> np.ndarray:
    """The quantiles [seeds, N, K, Q] from every origin, those of a seed's networks averaged."""
    run = jax.jit(partial(forecaster.ensemble, make_model(settings, problem)))
    inputs = jnp.asarray(problem.inputs)
    forecasts = []
    for seed in range(settings.seeds):
        outputs = run(jax.tree.map(itemgetter(seed), params), inputs)
        forecasts.append(forecaster.calibrated_quantiles(problem, np.asarray(outputs)))
    return np.stack(forecasts)


def experiment(data: str, settings: Settings, out: Path) -> None:
    """Trains, forecasts from every day of the test period, and compares."""
    problem = STUDIES[data].make_problem(settings.window)
    params = train_seeds(settings, problem, out, data)
    STUDIES[data].report(problem, forecast(settings, problem, params), out)
    print(f"\nresults.json, plots and the model are in {out}.")


def predict(data: str, date: str, out: Path) -> str:
    """The saved networks' forecasts from what is known at the end of a day."""
    params, record, _ = load_model(out / MODEL, COMMAND)
    settings = Settings(**record["settings"])
    problem = STUDIES[data].make_problem(settings.window)
    rows = forecast_report.origins_on(problem, date)
    quantiles = forecast(settings, problem, params).mean(0)[rows]
    return forecast_report.describe_forecasts(problem, rows, quantiles)


def forecast_table(command: "Command", settings: Settings) -> None:
    """Forecasts a column of the user's table, after measuring how far that can be trusted."""
    series = tables.read_series(command.csv, command.target, command.time)
    problem, notes = make_problem(series, command.target, command.horizon, settings.window)
    print("\n".join(notes))
    about = (command.csv.read_bytes(), command.target, command.time, command.horizon, settings)
    digest = hashlib.sha256(repr(about).encode()).hexdigest()[:8]
    out = command.out / f"{command.csv.stem}-{digest}"
    params = train_seeds(settings, problem, out, command.csv.stem)
    quantiles = forecast(settings, problem, params)
    forecast_report.report_table(problem, quantiles, times_after(series, command.horizon), out)
    print(f"\nforecast.csv, results.json, plots and the model are in {out}.")


@dataclass(frozen=True)
class Command:
    """Trains the networks and compares their forecasts, or forecasts."""

    data: Literal["weather", "stocks"] | None = None  # None: both
    quick: bool = False  # fewer networks and epochs
    out: Path = Path("runs/forecasting")  # each training has a folder in it
    predict: str | None = None  # a date, or `end`: forecast from it with the saved networks
    csv: Path | None = None  # a table of your own to forecast instead
    target: str | None = None  # the column of it to forecast
    horizon: int = 7  # how many rows ahead
    time: str | None = None  # its column of times; None: the first that holds dates, if any


def main(command: Command) -> None:
    """Runs the command."""
    changes = QUICK if command.quick else {}
    if command.csv is not None:
        return forecast_table(command, replace(TABLE, **changes))
    if command.predict is None:
        length = f"about {MINUTES} minutes by default" if not command.quick else "about a minute"
        print(f"Training: {length}, on 2 idle CPU cores.")
    for data in [command.data] if command.data else list(STUDIES):
        out = command.out / (f"{data}-quick" if command.quick else data)
        if command.predict is None:
            experiment(data, replace(STUDIES[data].settings, **changes), out)
        else:
            print(predict(data, command.predict, out))


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
