"""Why recurrent networks are hard to train over long times, and which trick helps, by how much.

An RNN, an LSTM and a GRU of about equally many parameters learn the adding problem, copy memory and
digits read pixel by pixel: plain, and with one trick at a time (`experiments.memory.tricks` says
what each changes). Every pair of a trick and plain starts from the same seeds and sees the same
data, all with Adam at one learning rate. A training ends when it has solved its task, or at the
cap. Solved are adding and copy with 6% left of the loss of guessing, the digits with half of it.

    python -m experiments.training_difficulty           16 minutes on 2 quiet CPU cores
    python -m experiments.training_difficulty --quick   adding, T = 30: 1 to 2 minutes

It reports, for each cell and trick: the optimizer steps to the solution, where ">1,500" is all that
the cap lets one say; what the trick changed of "learned", the share of guessing's loss that was
taken away on average over all steps up to the cap (0%: as good as guessing all the time, 100%:
solved at once); success against length; and how much of the gradient reaches back, untrained and
trained.

Expected: a plain GRU solves adding at T = 200 in 900 to 950 steps, with chrono biases in 500 to
750; a plain LSTM does not within 1,500, and with chrono biases it does in 650 to 950. Untrained,
1e-24 of the GRU's gradient is left 200 steps back, and 0.3 with chrono biases. No RNN solves it.
Skips solve copy memory first: the delay of 5 is one skip from a symbol to its answer. In 400 steps
nobody halves the loss on 784 pixels, where layer norm diverges.

Writes success.png, tricks.png, gradient_flow_TASK.png, table.csv and sweep.npz to
runs/training_difficulty. Every finished chunk of trainings is kept there: after a kill the same
command goes on.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments.common.command import run_command
from experiments.memory import shared_sweep
from experiments.memory.tricks import TRICKS, Trick, applies
from experiments.training_difficulty import plots, training
from experiments.training_difficulty.report import gains, index_trials, print_report, title_of
from experiments.training_difficulty.tasks import TASKS, make_task
from grujax import sweep

CELL_NAMES = ("rnn", "lstm", "gru")
MINUTES = 16  # of the default settings on 2 quiet CPU cores


@dataclass(frozen=True)
class Settings:
    """What is trained, and how."""

    adding: tuple[int, ...] = (100, 200)  # T
    copy: tuple[int, ...] = (5, 20)  # the delay
    pixels: tuple[int, ...] = (784,)  # T
    adding_cap: int = 1500  # optimizer steps at most
    copy_cap: int = 2000
    pixels_cap: int = 400
    every: int = 50  # steps from one look at held-out sequences to the next
    seeds: int = 3
    parameters: int = 3000  # of a recurrent layer, about; layer norm has some more
    batch_size: int = 16
    learning_rate: float = 3e-3
    quick: bool = False  # the adding problem alone, T = 30, two seeds
    out: Path = Path("runs/training_difficulty")

    def lengths(self, task: str) -> tuple[int, ...]:
        return {"adding": self.adding, "copy": self.copy, "pixels": self.pixels}[task]

    def cap(self, task: str) -> int:
        caps = {"adding": self.adding_cap, "copy": self.copy_cap, "pixels": self.pixels_cap}
        return caps[task]


def make_trials(settings: Settings) -> dict[str, np.ndarray]:
    """All trainings; a trick is given by its switches, so that most tricks share a program."""
    rows = [
        {"task": task, "length": length, "cell": cell, **TRICKS[trick]._asdict(), "seed": seed}
        for task in TASKS
        for length in settings.lengths(task)
        for cell in CELL_NAMES
        for trick in TRICKS
        if applies(trick, cell)
        for seed in range(settings.seeds)
    ]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


STATIC = ("task", "length", "cell", "structure")


def make_train(settings: Settings):
    """Returns the pure `train(key, **one row of make_trials)`."""
    tasks = {
        (name, length): make_task(name, length)
        for name in TASKS
        for length in settings.lengths(name)
    }

    def train(key, task, length, cell, seed, **switches):
        del key  # another one in every trial; those of one seed shall be alike
        return training.train(
            jax.random.key(seed),
            tasks[task, length],
            cell,
            Trick(**switches),
            parameters=settings.parameters,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            cap=settings.cap(task),
            every=settings.every,
        )

    return train


def write(out: Path, result: sweep.SweepResult, tasks: dict[str, tuple[int, ...]]) -> None:
    """Writes the table, the file and the figures."""
    index, metrics, gained = index_trials(result), result.metrics, gains(result)
    result.table().to_csv(out / "table.csv")
    result.save(out / "sweep.npz")
    solved = {key: metrics["solved"][places].mean() for key, places in index.items()}
    plots.plot_success(out / "success.png", tasks, CELL_NAMES, solved)
    plots.plot_gains(out / "tricks.png", tasks, CELL_NAMES, gained)
    for task, lengths in tasks.items():
        flows = {
            (cell, trick): [metrics[name][places] for name in ("flow_before", "flow_after")]
            for (name, length, cell, trick), places in index.items()
            if (name, length) == (task, max(lengths))
        }
        path, title = out / f"gradient_flow_{task}.png", title_of(task, max(lengths))
        plots.plot_flows(path, title, CELL_NAMES, flows)
    print(f"\nFigures, table.csv and sweep.npz are in {out}.")


def main(settings: Settings) -> None:
    out = settings.out
    minutes = f"about {MINUTES} minutes by default"
    if settings.quick:
        settings = Settings((30,), (), (), 1000, seeds=2)
        minutes, out = "1 to 2 minutes", out / "quick"
    trials = make_trials(settings)
    print(f"{len(trials['seed'])} trainings: {minutes}, on 2 quiet cores.")
    result = shared_sweep.run(
        make_train(settings),
        trials,
        key=jax.random.key(0),
        static=STATIC,
        directory=out / "chunks",
    )
    tasks = {task: settings.lengths(task) for task in TASKS if settings.lengths(task)}
    print_report(result, tasks, {task: settings.cap(task) for task in TASKS}, CELL_NAMES)
    write(out, result, tasks)


def cli() -> None:
    """Runs the command line."""
    run_command(main, Settings, __doc__, sweeps=True)
