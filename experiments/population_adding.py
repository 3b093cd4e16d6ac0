"""Population-based training beside a random sweep of the same length, on the adding problem.

Twelve GRUs learn to add up the two marked numbers of a sequence (see `experiments.common.adding`),
each with a learning rate and a gradient norm of its own, drawn at random. In the random sweep they
keep them to the end. In the population the worst quarter takes over weights and both values from
the best quarter every 50 updates, and multiplies each value by 0.8 or 1.25 (Jaderberg et al. 2017).
Both begin with the same members, see the same data, and are evaluated on the same held-out
sequences; what is reported is the error of the best member at the end, on new sequences.

    python -m experiments.population_adding           T = 400, three seeds: 15 minutes on one core
    python -m experiments.population_adding --quick   T = 50, one seed: a minute

Writes population.png, the error against updates and the learning rates that the population found,
and table.txt to runs/population_adding. After a kill the same command goes on.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import grujax
from experiments.common import adding
from experiments.common.command import run_command
from experiments.common.devices import use_a_device_per_core
from experiments.common.population_plots import plot_populations
from experiments.common.report import format_table
from grujax import sweep
from grujax.initializers import chrono

RATES, NORMS = (1e-4, 3e-2), (0.1, 10.0)  # from which the first values are drawn, log-uniformly
HELD_OUT, NEW = 256, 2048  # sequences: to choose by, new ones each round; to report on


@dataclass(frozen=True)
class Settings:
    """What is trained, and for how long."""

    steps: int = 400  # T
    members: int = 12
    rounds: int = 24
    updates: int = 50  # optimizer steps of a round
    seeds: int = 3
    hidden_size: int = 24
    batch_size: int = 16
    quick: bool = False  # T = 50, one seed, 20 rounds of 20 updates
    out: Path = Path("runs/population_adding")


def make_training(settings: Settings):
    """Returns the training in three parts: `init`, `step` and `evaluate`, see `sweep.population`.

    The biases of the update gate are chrono's (Tallec & Ollivier 2018): at T = 400, others do not
    begin to learn within the updates that there are.
    """

    def learner(learning_rate: Array, gradient_norm: Array) -> adding.Learner:
        bias = chrono(settings.steps)
        return adding.make_learner(
            lambda key: grujax.init_gru(key, 2, settings.hidden_size, update_bias_init=bias),
            lambda params, xs: grujax.gru(params, xs)[0],
            settings.hidden_size,
            learning_rate,
            gradient_norm,
            steps=settings.steps,
            batch_size=settings.batch_size,
        )

    def init(key, **values):
        return learner(**values).start(*jax.random.split(key))

    def step(key, state, **values):
        keys = jax.random.split(key, settings.updates)
        return jax.lax.scan(learner(**values).update, state, keys)[0]

    def evaluate(key, state, **values):
        batch = adding.draw_batch(key, settings.steps, HELD_OUT)
        return {"error": learner(**values).error(state, *batch)}

    return init, step, evaluate


def stay(key: Array, scores: Array) -> Array:
    """Everyone keeps what it has: a population without exploitation is a random sweep."""
    return jnp.arange(len(scores))


METHODS = {"random": stay, "population": sweep.truncation(0.25)}


def search(settings: Settings, seed: int, method: str) -> sweep.PopulationResult:
    """One of METHODS with one seed: both begin alike."""
    key = jax.random.key(seed)
    trials = sweep.sample(
        key,
        settings.members,
        learning_rate=sweep.log_uniform(*RATES),
        gradient_norm=sweep.log_uniform(*NORMS),
    )
    return sweep.population(
        *make_training(settings),
        trials,
        key=key,
        metric="error",
        rounds=settings.rounds,
        exploit=METHODS[method],
        explore={
            "learning_rate": sweep.perturb(RATES[0] / 10, RATES[1]),
            "gradient_norm": sweep.perturb(NORMS[0] / 10, NORMS[1]),
        },
        directory=settings.out / f"{method}_{seed}",
    )


def error_of_best(settings: Settings, result: sweep.PopulationResult) -> float:
    """On new sequences, of the member with the least error at the end."""
    best = result.best("error")
    values = {name: jnp.float32(1) for name in best.hyperparameters}  # they do not matter any more
    evaluate = make_training(settings)[2]
    keys = jax.random.split(jax.random.key(1000), NEW // HELD_OUT)
    error = jax.jit(partial(evaluate, **values))
    return float(np.mean([error(key, result.states[best.trial])["error"] for key in keys]))


def describe(seed: int, results: dict[str, sweep.PopulationResult], errors: dict) -> list[str]:
    """A row of the table."""
    best = {name: result.best("error") for name, result in results.items()}
    line = sweep.lineage(results["population"], best["population"].trial)
    rates = results["population"].metrics["learning_rate_by_round"][line, np.arange(len(line))]
    return [
        str(seed),
        *(f"{errors[name]:.5f}" for name in METHODS),
        f"{errors['random'] / errors['population']:.2f}",
        f"{best['random'].hyperparameters['learning_rate']:.4f}",
        f"{rates[0]:.4f} → {rates[-1]:.4f}",
    ]


def main(settings: Settings) -> None:
    use_a_device_per_core()
    if settings.quick:
        settings = Settings(50, 8, 20, 20, 1, 16, out=settings.out / "quick")
    total = settings.members * settings.rounds * settings.updates
    print(
        f"{settings.seeds} seeds, two searches each, of {total:,} updates at T = {settings.steps}."
    )
    found, rows, better = [], [], 0
    for seed in range(settings.seeds):
        results = {method: search(settings, seed, method) for method in METHODS}
        errors = {name: error_of_best(settings, result) for name, result in results.items()}
        better += errors["population"] < errors["random"]
        rows.append(describe(seed, results, errors))
        found.append(results)
    header = ["seed", "random", "population", "ratio", "its learning rate", "the population's"]
    table = format_table(header, rows)
    table += f"\n\nThe population is better with {better} of {settings.seeds} seeds."
    print(f"\nError of the best member (0.167: always answering 1):\n{table}")
    (settings.out / "table.txt").write_text(table + "\n", encoding="utf-8")
    plot_populations(settings.out / "population.png", found, settings.updates, RATES)
    print(f"\npopulation.png and table.txt are in {settings.out}.")


if __name__ == "__main__":
    run_command(main, Settings, __doc__)
