"""Does Optuna find a better GRU than random search, in the same number of trainings, and how fast?

Both search for the learning rate, the greatest gradient norm and the chrono biases of a GRU that
learns the adding problem. They get the same number of trainings, and each seed gives both the same
random key.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import grujax
from experiments.common.monitoring import make_loggers, shows_progress
from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.memory import adding
from experiments.sweep_adding.settings import Comparison
from grujax import sweep
from grujax.initializers import chrono

SPACE = {
    "learning_rate": sweep.log_uniform(1e-4, 1.0),
    "max_gradient_norm": sweep.log_uniform(1e-2, 1e2),
    "t_max": sweep.log_uniform(2.0, 1e3),  # of the chrono biases
}


def make_train(settings: Comparison) -> Callable[..., dict[str, jax.Array]]:
    """Returns the pure `train(key, learning_rate, max_gradient_norm, t_max)`."""

    def train(key, learning_rate, max_gradient_norm, t_max):
        def init(key):
            bias = chrono(t_max)
            return grujax.init_gru(key, 2, settings.hidden_size, update_bias_init=bias)

        return adding.train(
            key,
            init,
            lambda params, xs: grujax.gru(params, xs)[0],
            settings.hidden_size,
            learning_rate,
            max_gradient_norm,
            steps=settings.steps,
            batch_size=settings.batch_size,
            updates=settings.updates,
        )

    return train


def compare_results(settings: Comparison, train: Callable, out: Path) -> dict[str, np.ndarray]:
    """The errors `[seeds, trials]` of the trainings of both methods, in their order."""
    errors: dict[str, list[np.ndarray]] = {"random": [], "TPE": []}
    for seed in range(settings.seeds):
        key = jax.random.key(seed)
        trials = sweep.sample(key, settings.trials, **SPACE)
        options = _watched(out / f"random-{seed}")
        errors["random"].append(sweep.run(train, trials, key=key, **options).metrics["error"])
        found = sweep.search(
            train,
            SPACE,
            trials=settings.trials,
            batch=settings.batch,
            key=key,
            metric="error",
            **_watched(out / f"tpe-{seed}"),
        )
        errors["TPE"].append(found.metrics["error"])
    return {method: np.stack(rows) for method, rows in errors.items()}


def _watched(directory: Path) -> dict[str, Any]:
    """The options of a sweep in this directory."""
    loggers = make_loggers(directory / "logs")
    return {"directory": directory, "progress": shows_progress(), "log_to": loggers}


def compare_speed(settings: Comparison, train: Callable) -> list[dict[str, Any]]:
    """Trials per minute, and seconds of processor time per trial, of each way to run a search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports every trial
    key, few = jax.random.key(100), 2 * settings.batch
    distributions = dict.fromkeys(SPACE, (0.0001, 1.0))
    distributions |= {"max_gradient_norm": (1e-2, 1e2), "t_max": (2.0, 1e3)}

    def optimize(make: Callable[[], Callable], number: int, jobs: int = 1) -> None:
        def objective(trial):
            values = {
                name: trial.suggest_float(name, low, high, log=True)
                for name, (low, high) in distributions.items()
            }
            return float(make()(sweep.trial_key(key, trial.number), **values)["error"])

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(objective, n_trials=number, n_jobs=jobs)

    def search(number: int) -> None:
        sweep.search(
            train,
            SPACE,
            trials=number,
            batch=settings.batch,
            key=key,
            metric="error",
            progress=False,
        )

    jitted = jax.jit(train)
    ways = {
        "sweep.search": (search, settings.trials),
        "study.optimize, one jitted train function": (
            lambda number: optimize(lambda: jitted, number),
            settings.trials,
        ),
        "the same with n_jobs=2": (
            lambda number: optimize(lambda: jitted, number, 2),
            settings.trials,
        ),
        "study.optimize, compiled anew for each trial": (
            lambda number: optimize(lambda: jax.jit(lambda *a, **k: train(*a, **k)), number),
            few,
        ),
    }
    for way, number in ways.values():
        way(min(number, settings.batch))  # compiles
    rows = [
        {"way": name, "round": round_number, **_measure(way, number)}
        for round_number in range(settings.rounds)
        for name, (way, number) in ways.items()
    ]
    return rows


def _measure(way: Callable[[int], None], number: int) -> dict[str, float]:
    start, processor = time.perf_counter(), time.process_time()
    way(number)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    return {"trials per minute": 60 * number / seconds, "CPU seconds per trial": processor / number}


def main(settings: Comparison, out: Path) -> None:
    """Compares the two methods, then the ways to run a search, and prints both tables."""
    train = make_train(settings)
    errors = compare_results(settings, train, out)
    best = {method: np.fmin.reduce(rows, axis=1) for method, rows in errors.items()}
    print(f"\nLeast error of {settings.trials} trainings, by seed:")
    table = [[method, *(f"{error:.5f}" for error in row)] for method, row in best.items()]
    print(format_table(["", *map(str, range(settings.seeds))], table))
    ratios = np.log10(best["TPE"] / best["random"])
    wins = int((ratios < 0).sum())
    deviation = ratios.std(ddof=1) / len(ratios) ** 0.5
    print(
        f"TPE is better in {wins} of {settings.seeds} seeds; its error is "
        f"{10 ** ratios.mean():.2f} times that of random search "
        f"(log10: {ratios.mean():+.2f} ± {deviation:.2f}, standard error)."
    )
    speed = compare_speed(settings, train)
    names = list(dict.fromkeys(row["way"] for row in speed))
    columns = ("trials per minute", "CPU seconds per trial")
    medians = {
        name: [np.median([row[c] for row in speed if row["way"] == name]) for c in columns]
        for name in names
    }
    print(f"\nSpeed, medians of {settings.rounds} interleaved rounds:")
    rows = [[name, f"{a:.1f}", f"{b:.3f}"] for name, (a, b) in medians.items()]
    print(format_table(["", *columns], rows))
    results = {
        "errors": {method: rows.tolist() for method, rows in errors.items()},
        "speed": speed,
    }
    write_results(out / "results.json", results)
    print(f"results.json is in {out}.")
