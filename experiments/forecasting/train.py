"""Forecasts of weather, stocks and any table: GRUs that correct a linear forecast, with intervals.

Each network reads the last steps and returns quantiles of the error of a ridge regression on its
inputs; an untrained network leaves that forecast unchanged. Forecasts start on every day of the
test period, the last in time, and are compared with strong rivals. The report says for which
targets there is no edge, and tests differences by a bootstrap over blocks of days.

    python -m experiments.forecasting                        weather and stocks: 2 minutes
    python -m experiments.forecasting --quick                a minute
    python -m experiments.forecasting --data weather --predict 2015-07-01     or: --predict end
    python -m experiments.forecasting --csv sales.csv --target units --horizon 14

Results for Seattle's highest temperature in 2015, mean absolute error 1 / 3 / 7 days ahead, in °C:
GRU 2.06 / 2.72 / 2.92, AR(1) on anomalies 2.13 / 2.85 / 2.95, persistence 2.24 / 3.49 / 3.73. The
ridge regression on the same inputs is as good: three years of days are too few for a network to
learn more.

Results for five stocks, R² against the training mean (against the test mean it is lower): logarithm
of the next day's range 0.628, HAR + EWMA 0.615, with a small edge beyond chance over the ridge
regression, 0.626; 5-day volatility 0.473 like the ridge regression, HAR + EWMA 0.457. For the
direction of a stock there is no edge, but the interval of its return follows the volatility, which
reduces the pinball loss of a constant interval by 3.3%. 80% intervals held 77.5 to 81.1%.

HAR regresses on averages over a day, a week and a month (Corsi 2009, doi:10.1093/jjfinec/nbp001).
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.data import tables
from experiments.common.data.cells import Notation
from experiments.common.onnx.files import export_model
from experiments.common.onnx.models import draw_examples, set_metadata
from experiments.common.report.plots import Curve, cell_title, plot_learning_curves
from experiments.common.rivals.settings import require_gru
from experiments.common.training import loop
from experiments.common.training.gradients import Mean
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.forecasting import user_table
from experiments.forecasting.model import (
    Forecaster,
    calibrate_quantiles,
    ensemble_quantiles,
    left_out_parts,
    make_examples,
    mean_over_unseen,
    pinball_mean,
    validation_coverage,
)
from experiments.forecasting.onnx_model import build_ensemble
from experiments.forecasting.problem import Problem
from experiments.forecasting.quantiles import LEVELS
from experiments.forecasting.report import (
    describe_forecasts,
    describe_quantiles,
    origins_on,
    report_stocks,
    report_table,
    report_traffic,
    report_weather,
    warn_of_coverage,
)
from experiments.forecasting.settings import Command, Settings
from experiments.forecasting.studies import stocks, traffic, weather

COMMAND = "python -m experiments.forecasting"
MINUTES = 2  # for both studies, on 2 CPU cores
MODEL = "model.msgpack"


def make_model(settings: Settings, problem: Problem) -> Forecaster:
    """Builds one network."""
    sizes = len(problem.names), settings.hidden_size
    return Forecaster(*sizes, settings.dropout, settings.cell)


class Study(NamedTuple):
    """One of the built-in data sets."""

    make_problem: Callable[[int], Problem]  # takes the window T
    # takes the quantiles, the network's name, and a folder
    report: Callable[[Problem, np.ndarray, str, Path], None]


STUDIES = {
    "weather": Study(weather.make_problem, report_weather),
    "stocks": Study(stocks.make_problem, report_stocks),
    "traffic": Study(traffic.make_problem, report_traffic),
}


def make_training(
    settings: Settings, problem: Problem, learning_rate: float | Array
) -> training.Training:
    """Builds the training of `members` networks, all on the same batches."""
    model = make_model(settings, problem)
    examples = make_examples(problem, problem.split.train)
    validation = make_examples(problem, problem.split.validation)
    left_out = left_out_parts(settings.members, problem.parts.max())

    def init_params(key: Array) -> Any:
        keys = jax.random.split(key, settings.members)
        return jax.vmap(lambda key: model.init(key, examples["inputs"][:1], False))(keys)

    def loss(params: Any, batch: dict[str, Array], key: Array) -> Mean:
        def member_loss(params: Any, key: Array, part: Array) -> Mean:
            outputs: Any = model.apply(params, batch["inputs"], True, rngs={"dropout": key})
            return pinball_mean(outputs, batch, part)

        keys = jax.random.split(key, settings.members)
        return jax.vmap(member_loss)(params, keys, jnp.asarray(left_out))

    def evaluate(params: Any) -> training.Metrics:
        outputs = ensemble_quantiles(model, params, validation["inputs"])
        unseen = mean_over_unseen(outputs, validation["part"], left_out)
        return {"validation_score": -pinball_mean(unseen, validation).value()}

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
    """Trains one ensemble per seed, and saves them. Returns: parameters [seeds, members, ...]."""
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
    metric = Curve("validation_score", "validation pinball loss", is_negated=True)
    plot_learning_curves(out / "learning_curves.png", records, "pinball loss", metric)
    return params


def forecast(settings: Settings, problem: Problem, params: Any) -> np.ndarray:
    """The quantiles [seeds, N, K, Q] from every origin, averaged over each ensemble.

    Warns of targets whose intervals missed their coverage on validation data.
    """
    run = jax.jit(partial(ensemble_quantiles, make_model(settings, problem)))
    inputs = jnp.asarray(problem.inputs)
    forecasts, shares = [], []
    for seed in range(settings.seeds):
        outputs = np.asarray(run(jax.tree.map(itemgetter(seed), params), inputs))
        forecasts.append(calibrate_quantiles(problem, outputs))
        shares.append(validation_coverage(problem, outputs))
    warn_of_coverage(problem.names, np.mean(shares, 0))
    return np.stack(forecasts)


def experiment(data: str, settings: Settings, out: Path) -> None:
    """Trains the networks of a study, and compares their forecasts with the rivals'."""
    problem = STUDIES[data].make_problem(settings.window)
    params = train_seeds(settings, problem, out, data)
    quantiles = forecast(settings, problem, params)
    STUDIES[data].report(problem, quantiles, cell_title(settings.cell), out)
    print(f"\nresults.json, plots and the model are in {out}.")


def predict(data: str, date: str, out: Path) -> str:
    """The saved networks' forecasts from the end of a day."""
    params, record, _ = load_model(out / MODEL, COMMAND)
    settings = Settings(**record["settings"])
    problem = STUDIES[data].make_problem(settings.window)
    rows = origins_on(problem, date)
    quantiles = forecast(settings, problem, params).mean(0)[rows]
    return describe_forecasts(problem, rows, quantiles)


def read_columns(command: Command) -> tuple[Any, ...]:
    """What is read of the user's table, see `tables.read_series`."""
    notation = Notation(command.decimal, command.date_format)
    return command.target, command.time, command.covariates, notation


def table_directory(command: Command) -> Path:
    """The folder of a training on this table, with these columns and settings."""
    table = command.csv.read_bytes()
    request = (table, read_columns(command), command.horizon, command.settings)
    digest = hashlib.sha256(repr(request).encode()).hexdigest()[:8]
    return command.out / f"{command.csv.stem}-{digest}"


def forecast_table(command: Command) -> None:
    """Forecasts a column of the user's table, after measuring how accurate that is."""
    settings = command.settings
    series = tables.read_series(command.csv, *read_columns(command))
    problem, notes = user_table.make_problem(
        series, command.target, command.horizon, settings.window
    )
    print("\n".join(notes))
    out = table_directory(command)
    name = command.predict or "end"
    row = user_table.origin_at(problem, name, command.date_format)
    times = user_table.times_after(series, problem.origins[row], command.horizon)
    if command.predict is not None:
        params, _, _ = load_model(out / MODEL, f"the same command without --predict {name}")
        quantiles = forecast(settings, problem, params).mean(0)[row]
        return print(f"{command.target}, as quantiles:\n{describe_quantiles(times, quantiles)}")
    params = train_seeds(settings, problem, out, command.csv.stem)
    quantiles, title = forecast(settings, problem, params), cell_title(settings.cell)
    report_table(problem, quantiles, title, times, out)
    print(f"\nforecast.csv, results.json, plots and the model are in {out}.")


def export(out: Path) -> None:
    """Writes all saved networks of a study or a table together as an ONNX file."""
    params, record, names = load_model(out / MODEL, COMMAND)
    settings = Settings(**record["settings"])
    require_gru(settings.cell, "--export")
    network = Forecaster(len(names), settings.hidden_size, settings.dropout)

    @jax.jit
    def run(inputs: Array) -> list[Array]:
        each_seed = jax.vmap(partial(ensemble_quantiles, network), (0, None))
        return [each_seed(params, inputs).mean((0, 2))]

    size = params["params"]["GRU_0"]["cell"]["in"]["kernel"].shape[-2]
    shapes = (3, settings.window, size), (1, settings.window + 3, size)
    model = set_metadata(build_ensemble(params), targets=names, levels=LEVELS.tolist())
    export_model(
        out / "model.onnx", model, run, draw_examples(*({"inputs": shape} for shape in shapes))
    )


def main(command: Command) -> None:
    """Trains, forecasts, or exports, as the command says."""
    if command.export is not None and command.csv is not None:
        return export(table_directory(command))
    if command.export is not None:
        for data in [command.data] if command.data else list(STUDIES):
            export(command.out / data)
        return
    if command.csv is not None:
        return forecast_table(command)
    if command.predict is None:
        length = f"about {MINUTES} minutes by default" if not command.quick else "about a minute"
        print(f"Training: {length}, on 2 idle CPU cores.")
    for data in [command.data] if command.data else list(STUDIES):
        out = command.out / data
        if command.predict is None:
            experiment(data, command.study_settings(data), out)
        else:
            print(predict(data, command.predict, out))
