"""The GRU beside its rivals on one task, at equal parameters: `--compare`.

Each cell gets the same budget. It is trained once at each of eight learning rates, and validation
data choose the rate; if that is the lowest or the highest, the next one beyond is tried, until it
is neither. The chosen rate is trained with new seeds, and these trainings are tested. Both parts
are sweeps in the output directory: the same command resumes where it was stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from experiments.common import shared_sweep, training
from experiments.common.report.counts import count
from experiments.common.report.timing import time_interleaved
from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.report import Figure, Row, write_report
from experiments.common.rivals.settings import Comparison
from grujax.sweep import SweepResult

SCORE = "validation"  # the metric of a training that chooses the learning rate; higher is better
Train = Callable[..., dict[str, Array]]
TIMING_SECONDS = 60.0  # of all epochs that are timed together


class Sizes(NamedTuple):
    """The sizes of a network's first layer that reads a stream."""

    input_size: int
    hidden_size: int


class Task(NamedTuple):
    """What the cells are compared on."""

    # (cell, learning rate, which may be traced) -> the training
    build: Callable[[str, float | Array], training.Training]
    test: Callable[[str, Any], dict[str, Array]]  # (cell, parameters) -> figures on the test set
    figures: Mapping[str, Figure]  # by the names that `test` returns; the first one decides
    parameters: Callable[[str], int]  # of the layers that differ
    stream: Callable[[str], Sizes] | None = None  # None: the network needs the whole sequence


def compare(task: Task, plan: Comparison, out: Path) -> None:
    """Tunes, trains, times and reports all cells.

    Args:
      task: what they are compared on.
      plan: how.
      out: the folder for all output.
    """
    cells, rates = plan.cells, plan.learning_rates
    trainings = len(cells) * (len(rates) + plan.seeds)
    print(f"{count(trainings, 'training')} of {count(len(cells), 'cell')}.")
    train = make_train(task)
    scores = tune(train, cells, rates, out / "tuning")
    chosen = {cell: best_rate(scores[cell]) for cell in cells}
    trials = {
        "cell": np.repeat(list(cells), plan.seeds),
        "learning_rate": np.repeat([chosen[cell] for cell in cells], plan.seeds),
    }
    result = _sweep(train, trials, jax.random.key(1), out / "tested")
    seconds = time_trainings(task, cells)
    latencies = {} if task.stream is None else time_steps(task.stream, cells)
    rows = {
        cell: Row(
            figures={
                name: result.metrics[name][result.trials["cell"] == cell] for name in task.figures
            },
            parameters=task.parameters(cell),
            learning_rate=chosen[cell],
            tuning=scores[cell],
            seconds=seconds[cell],
            step_seconds=latencies.get(cell),
        )
        for cell in cells
    }
    write_report(rows, task.figures, out)


def tune(
    train: Train, cells: Sequence[str], rates: Sequence[float], directory: Path
) -> dict[str, dict[float, float]]:
    """The validation score of each cell at each learning rate, of which the best is no end.

    Returns: by cell, the score at each rate; -inf where the training diverged.
    """
    scores: dict[str, dict[float, float]] = {cell: {} for cell in cells}
    wanted = {cell: sorted(rates) for cell in cells}
    while any(wanted.values()):
        pairs = [(cell, rate) for cell in cells for rate in wanted[cell]]
        names, values = zip(*pairs, strict=True)
        trials = {"cell": np.array(names), "learning_rate": np.array(values)}
        number = max(map(len, scores.values()))  # grows, since cells that are tuned stay so
        result = _sweep(train, trials, jax.random.key(0), directory / f"from-{number}")
        for (cell, rate), score in zip(pairs, result.metrics[SCORE].tolist(), strict=True):
            scores[cell][rate] = score if np.isfinite(score) else -np.inf
        wanted = {cell: rates_beyond(scores[cell]) for cell in cells}
    return scores


def best_rate(scores: Mapping[float, float]) -> float:
    """The learning rate with the highest score."""
    return max(scores, key=scores.__getitem__)


def rates_beyond(scores: Mapping[float, float]) -> list[float]:
    """The next learning rate to try, if the best so far is at an end; none for a single rate."""
    rates, best = sorted(scores), best_rate(scores)
    if len(rates) == 1 or rates[0] < best < rates[-1]:
        return []
    inner = rates[1] if best == rates[0] else rates[-2]
    return [float(f"{best**2 / inner:.1g}")]


def make_train(task: Task) -> Train:
    """Returns the pure `train(key, cell, learning_rate)` -> its score and its figures, each []."""

    def train(key: Array, cell: str, learning_rate: Array) -> dict[str, Array]:
        plan = task.build(cell, learning_rate)
        state, _ = training.train(plan, key)
        return {SCORE: state.best_score, **task.test(cell, state.best_params)}

    return train


def _sweep(train: Train, trials: dict[str, np.ndarray], key: Array, directory: Path) -> SweepResult:
    """Trains and tests, or reads from the directory what is done."""
    return shared_sweep.run(train, trials, key=key, static=("cell",), directory=directory)


def time_trainings(task: Task, cells: Sequence[str]) -> dict[str, float]:
    """The seconds of a training of each cell: those of an epoch, measured in turn, times epochs."""
    runs, epochs = {}, {}
    for cell in cells:
        plan = task.build(cell, 1e-3)
        state = jax.jit(plan.init)(jax.random.key(0))
        epoch = jax.jit(plan.epoch)
        runs[cell] = lambda epoch=epoch, state=state: jax.block_until_ready(epoch(state))
        epochs[cell] = plan.epochs
    times = time_interleaved(runs, TIMING_SECONDS, min_rounds=3)
    return {cell: epochs[cell] * float(np.median(times[cell])) for cell in cells}


def time_steps(stream: Callable[[str], Sizes], cells: Sequence[str]) -> dict[str, float]:
    """The seconds that one step of one stream takes: a call, from Python, of the layers."""
    runs = {}
    for cell in cells:
        sizes, layers = stream(cell), RIVALS[cell]
        params = layers.init(jax.random.key(0), *sizes)
        state = layers.initial_state((1, sizes.hidden_size), np.float32)
        x = np.ones((1, sizes.input_size), np.float32)
        step = jax.jit(layers.step)
        runs[cell] = lambda step=step, args=(params, state, x): jax.block_until_ready(step(*args))
    times = time_interleaved(runs, 5.0)
    return {cell: float(np.median(times[cell])) for cell in cells}
