"""Why recurrent networks are hard to train over long times, and how much each trick helps.

An RNN, an LSTM and a GRU of about the same size learn the adding problem, copy memory and digits
read pixel by pixel: plain, and with one trick at a time (`experiments.memory.tricks` says what each
one changes). A trick and plain training share seeds and data, and all use Adam at the same learning
rate. A training ends when its task is solved or at the cap. Adding and copy count as solved at 6%
of the loss of guessing, the digits at half of it.

    python -m experiments.training_difficulty           16 minutes on 2 idle CPU cores
    python -m experiments.training_difficulty --quick   adding, T = 30: 1 to 2 minutes

For each cell and trick it reports
- the optimizer steps to the solution; ">1,500" means not solved at the cap;
- what the trick added to "learned", the share of the loss of guessing that was removed, averaged
  over all steps up to the cap (0%: no better than guessing, 100%: solved at once);
- the success rate by length;
- how much of the gradient reaches back in time, untrained and trained.

Expected: a plain GRU solves adding at T = 200 in 900 to 950 steps, with chrono biases in 500–750;
a plain LSTM does not within 1,500, but with chrono biases it takes 650 to 950. In an untrained GRU,
a share of 1e-24 of the gradient is left 200 steps back, and 0.3 with chrono biases. No RNN solves
it. Skips solve copy memory first: at a delay of 5, one skip leads from a symbol to its answer. No
network halves the loss on 784 pixels in 400 steps, and layer norm diverges there.

Writes results.json, success.png, tricks.png, gradient_flow_TASK.png, table.csv and sweep.npz to
runs/training_difficulty. Finished chunks of trainings are kept there: after an interruption, the
same command resumes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from experiments.common import shared_sweep
from experiments.common.outputs import reporting, write_results, write_text
from experiments.common.report.counts import count
from experiments.memory.gradient_flow import geometric_mean
from experiments.memory.tricks import TRICKS, Trick, is_applicable
from experiments.training_difficulty import plots, training
from experiments.training_difficulty.report import (
    index_trials,
    overall_gains,
    paired_gains,
    print_report,
    task_title,
)
from experiments.training_difficulty.settings import Command, Settings
from experiments.training_difficulty.tasks import TASKS, make_task, num_steps
from grujax import sweep

CELL_NAMES = ("rnn", "lstm", "gru")
MINUTES = 16  # of the default settings on 2 idle CPU cores


def make_trials(settings: Settings) -> dict[str, np.ndarray]:
    """Lists all trainings; a trick is given by its fields, so most tricks share one program."""
    rows = [
        {"task": task, "length": length, "cell": cell, **TRICKS[trick]._asdict(), "seed": seed}
        for task in TASKS
        for length in settings.lengths(task)
        for cell in CELL_NAMES
        for trick in TRICKS
        if is_applicable(trick, cell)
        for seed in range(settings.seeds)
    ]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


MEASURED = ("error", "solved", "updates", "learned")
STATIC = ("task", "length", "cell", "structure")


def make_train(settings: Settings) -> Callable[..., dict[str, Array]]:
    """Returns the pure `train(key, **one row of make_trials)`; see `training.train`."""
    tasks = {
        (name, length): make_task(name, length)
        for name in TASKS
        for length in settings.lengths(name)
    }

    def train(
        key: Array, task: str, length: int, cell: str, seed: Array, **trick: Any
    ) -> dict[str, Array]:
        del key  # differs between trials; those with the same seed must start alike
        return training.train(
            jax.random.key(seed),
            tasks[task, length],
            cell,
            Trick(**trick),
            parameters=settings.parameters,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            cap=settings.cap(task),
            every=settings.every,
        )

    return train


def summarize(result: sweep.SweepResult) -> dict[str, Any]:
    """What the trainings reached, as JSON values.

    Returns: by task and length, such as "adding 200", trick and cell: for each seed the last error,
      whether and after how many updates it was solved (else the cap), and "learned"; and the
      gradient at the first step, geometric means before and after training. "gains" has the points
      that a trick adds to "learned", and in how many of the pairs it beats plain training.
    """
    metrics = result.metrics
    reached: dict[str, Any] = {}
    for (task, length, cell, trick), trials in index_trials(result).items():
        first = num_steps(task, length) - 1
        numbers = {name: metrics[name][trials].tolist() for name in MEASURED}
        flows = [metrics[f"flow_{when}"][trials, first] for when in ("before", "after")]
        numbers["gradient at the first step"] = [float(geometric_mean(flow)) for flow in flows]
        reached.setdefault(f"{task} {length}", {}).setdefault(trick, {})[cell] = numbers
    return reached | {"gains": overall_gains(paired_gains(result))}


def write_report(out: Path, result: sweep.SweepResult, tasks: dict[str, tuple[int, ...]]) -> None:
    """Writes table.csv, sweep.npz and the figures."""
    index, metrics = index_trials(result), result.metrics
    write_results(out / "results.json", summarize(result))
    write_text(out / "table.csv", result.table().to_csv(lineterminator="\n"))
    with reporting(out / "sweep.npz"):
        result.save(out / "sweep.npz")
    solved = {key: metrics["solved"][trials] for key, trials in index.items()}
    plots.plot_success(out / "success.png", tasks, CELL_NAMES, solved)
    plots.plot_gains(out / "tricks.png", tasks, CELL_NAMES, paired_gains(result))
    for task, lengths in tasks.items():
        flows = {
            (cell, trick): [metrics[name][trials] for name in ("flow_before", "flow_after")]
            for (name, length, cell, trick), trials in index.items()
            if (name, length) == (task, max(lengths))
        }
        path, title = out / f"gradient_flow_{task}.png", task_title(task, max(lengths))
        plots.plot_flows(path, title, CELL_NAMES, flows)
    print(f"\nresults.json, figures, table.csv and sweep.npz are in {out}.")


def main(command: Command) -> None:
    """Runs all trainings, or those that are missing, and reports."""
    settings, out = command.settings, command.out
    minutes = "1 to 2 minutes" if command.quick else f"about {MINUTES} minutes by default"
    trials = make_trials(settings)
    print(f"{count(len(trials['seed']), 'training')}: {minutes}, on 2 idle CPU cores.")
    result = shared_sweep.run(
        make_train(settings),
        trials,
        key=jax.random.key(0),
        static=STATIC,
        directory=out / "chunks",
    )
    tasks = {task: settings.lengths(task) for task in TASKS if settings.lengths(task)}
    print_report(result, tasks, {task: settings.cap(task) for task in TASKS}, CELL_NAMES)
    write_report(out, result, tasks)
