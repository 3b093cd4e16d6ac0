"""All trainings: learning rates on a validation stream, then several seeds at the chosen one.

Each training has a folder with its curves, see `records.py`.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.common.monitoring import shows_progress
from experiments.online_learning.methods import make_method
from experiments.online_learning.records import Records
from experiments.online_learning.settings import MethodName, Settings, TaskName
from experiments.online_learning.tasks import Task, make_task
from experiments.online_learning.training import Curves, make_bench, make_train
from grujax.sweep.progress import progress_bar

SELECTION_SEED = 1000  # of the trainings that choose the rate; the others have 0, 1, …


class Result(NamedTuple):
    """The trainings of one method on one task, with S seeds and E evaluations."""

    rates: dict[float, float]  # each rate's final loss on the validation stream
    rate: float  # the best one
    updates: np.ndarray  # [E]
    errors: np.ndarray  # [S, E], on the test stream
    cosines: np.ndarray  # [S, E]

    @property
    def is_at_edge(self) -> bool:
        """Whether a rate outside the grid might be better."""
        return self.rate in (min(self.rates), max(self.rates))


Results = dict[TaskName, dict[MethodName, Result]]


def run_trials(settings: Settings, records: Records) -> tuple[Results, dict[TaskName, float]]:
    """Runs all trainings without a record; also returns each task's error of guessing."""
    tasks = {name: make_task(name, settings) for name in settings.tasks}
    per_method = len(settings.rates) + settings.seeds
    total = len(tasks) * len(settings.methods) * per_method
    with progress_bar(shows_progress(), total, 0, "training", "online learning") as update:

        def get(name: str, make: Callable[[], Curves]) -> Curves:
            curves = records.get(name, make)
            update(1)
            return curves

        results = {name: dict(_run_task(name, tasks[name], settings, get)) for name in tasks}
    return results, {name: task.guessing for name, task in tasks.items()}


def _run_task(
    name: TaskName, task: Task, settings: Settings, get: Callable[..., Curves]
) -> Iterator[tuple[MethodName, Result]]:
    bench = make_bench(settings, task)
    for method in settings.methods:
        train = make_train(bench, make_method(method, task))
        losses = {
            rate: finite_or_infinite(
                get(
                    f"{name}/{method}/rate-{rate:g}",
                    partial(train, SELECTION_SEED, rate, "validation", probes=False),
                )["loss"][-1]
            )
            for rate in settings.rates
        }
        best = min(losses, key=lambda rate: losses[rate])
        seeds = [
            get(f"{name}/{method}/seed-{seed}-rate-{best:g}", partial(train, seed, best, "test"))
            for seed in range(settings.seeds)
        ]
        updates = np.array(seeds[0]["updates"])
        errors, cosines = (np.array([x[key] for x in seeds]) for key in ("error", "cosine"))
        yield method, Result(losses, best, updates, errors, cosines)


def finite_or_infinite(loss: float) -> float:
    """A loss; that of a training that diverged is infinite."""
    return loss if math.isfinite(loss) else math.inf
