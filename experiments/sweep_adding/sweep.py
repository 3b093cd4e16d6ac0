"""How long can an RNN, an LSTM and a GRU remember? The adding problem, swept over T.

Two numbers of a sequence of T steps are marked, and the network must add them up at the end
(Hochreiter & Schmidhuber 1997, "Long short-term memory"). Each cell is trained at each T with all
combinations of three learning rates, two initializations and two seeds; every batch is new.

    python -m experiments.sweep_adding --quick     T = 20, 50: one to three minutes on 2 cores
    python -m experiments.sweep_adding             T = 100, 200, 500, 1000: 38 core minutes
    python -m experiments.sweep_adding --search    Optuna and random search: see `search.py` beside

The initializations: "standard" is orthogonal recurrent matrices and zero biases, except for 1 in
the LSTM's forget gate. "long" is chrono biases up to T for the gate that carries the state (GRU:
update, LSTM: forget; Tallec & Ollivier 2018), and the identity as the RNN's recurrent matrix (with
tanh, after Le et al. 2015).

A training has solved the problem when the mean squared error of its last batches is below 0.01;
always answering 1 gives 0.167. Of 12 trainings each, at T = 100 / 200 / 500 / 1000, the GRU solved
100 / 67 / 50 / 42%, with chrono biases alone 100 / 67 / 67 / 67%; the LSTM 50 / 25 / 0 / 0%; the
RNN none. With --quick, T = 20 / 50, it is RNN 0 / 0%, LSTM 67 / 33% and GRU 100 / 67%.

Writes results.json, success.png, table.csv, sweep.npz and one overview per cell to
runs/sweep_adding. Each finished chunk of trainings is saved there, and the same command resumes if
interrupted.
"""

from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax import Array
from jax.nn import initializers

import grujax
from experiments.common import shared_sweep
from experiments.common.cells import CELLS
from experiments.common.outputs import reporting, write_figure, write_results, write_text
from experiments.common.report import format_table
from experiments.common.report.counts import count
from experiments.common.report.plots import cell_title
from experiments.memory import adding
from experiments.sweep_adding import compare, search
from experiments.sweep_adding.plots import plot_success
from experiments.sweep_adding.settings import Command, Settings
from grujax import baselines, sweep
from grujax.initializers import chrono, identity

CELL_NAMES = ("rnn", "lstm", "gru")
INITIALIZATIONS = ("standard", "long")
MINUTES = 20  # for the default settings on 2 idle CPU cores; 38 core minutes


def init_cell(cell: str, initialization: str, steps: int, hidden_size: int, key: Array):
    """Draws the parameters of a cell, see the top of this file."""
    remember = chrono(steps) if initialization == "long" else None
    if cell == "rnn":
        matrix = initializers.orthogonal() if remember is None else identity()
        return baselines.init_rnn(key, 2, hidden_size, recurrent_kernel_init=matrix)
    if cell == "lstm":
        bias = initializers.ones if remember is None else remember
        return baselines.init_lstm(key, 2, hidden_size, forget_bias_init=bias)
    bias = initializers.zeros if remember is None else remember
    return grujax.init_gru(key, 2, hidden_size, update_bias_init=bias)


def make_train(settings: Settings):
    """Returns the pure `train(key, cell, steps, initialisation, learning_rate, seed)`.

    The spelling `initialisation` is that of the files of earlier runs, which stay readable.
    """

    def train(key, cell, steps, initialisation, learning_rate, seed):
        def last_output(params, xs):
            return CELLS[cell].output(CELLS[cell].run(params, xs)[0])

        return adding.train(
            jax.random.fold_in(key, seed),
            partial(init_cell, cell, initialisation, steps, settings.hidden_size),
            last_output,
            settings.hidden_size,
            learning_rate,
            steps=steps,
            batch_size=settings.batch_size,
            updates=settings.updates,
        )

    return train


def solved_trainings(result: sweep.SweepResult) -> dict[str, dict[int, np.ndarray]]:
    """T -> whether each training solved it, for each cell with all and with each initialization."""
    trials, solved = result.trials, {}
    for cell in CELL_NAMES:
        for initialization in ("all", *INITIALIZATIONS):
            chosen = trials["cell"] == cell
            if initialization != "all":
                chosen = chosen & (trials["initialisation"] == initialization)
            solved[f"{cell_title(cell)}, {initialization}"] = {
                int(steps): result.metrics["solved"][chosen & (trials["steps"] == steps)]
                for steps in np.unique(trials["steps"])
            }
    return solved


def main(command: Command) -> None:
    """Sweeps all cells, and reports how many trainings solved the problem."""
    if command.search:
        return search.main(command.comparison, command.out / "search")
    if command.compare:
        return compare.main(command)
    settings, out = command.settings, command.out
    length = f"about {MINUTES} minutes by default" if not command.quick else "about a minute"
    trials = sweep.grid(
        cell=CELL_NAMES,
        steps=settings.steps,
        initialisation=INITIALIZATIONS,
        learning_rate=settings.learning_rates,
        seed=range(settings.seeds),
    )
    number = len(trials["cell"])
    print(f"{count(number, 'training')}: {length}, on 2 idle cores.")
    result = shared_sweep.run(
        make_train(settings),
        trials,
        key=jax.random.key(0),
        static=("cell", "steps", "initialisation"),
        directory=out / "chunks",
    )
    solved = solved_trainings(result)
    lengths = [str(steps) for steps in settings.steps]
    rows = [[name, *(f"{x.mean():.0%}" for x in row.values())] for name, row in solved.items()]
    print(f"\nSolved, of {number // len(CELL_NAMES) // len(lengths)} trainings per cell and T:")
    print(format_table(["T", *lengths], rows))
    write(out, result, solved)


def write(out: Path, result: sweep.SweepResult, solved: dict[str, dict[int, np.ndarray]]) -> None:
    """Writes table, file and figures, and prints the best training of each cell."""
    write_text(out / "table.csv", result.table().to_csv(lineterminator="\n"))
    with reporting(out / "sweep.npz"):
        result.save(out / "sweep.npz")
    rates = {name: {t: float(x.mean()) for t, x in row.items()} for name, row in solved.items()}
    write_results(out / "results.json", {"solved": rates})
    plot_success(out / "success.png", solved)
    for cell in CELL_NAMES:
        chosen = result.trials["cell"] == cell
        part = sweep.SweepResult(
            {name: x[chosen] for name, x in result.trials.items() if name != "cell"},
            {name: x[chosen] for name, x in result.metrics.items() if name != "solved"},
            result.diverged[chosen],
        )
        write_figure(out / f"{cell}.png", part.plot("error"))
        longest = part.trials["steps"].max()
        errors = part.metrics["error"]
        valid = np.flatnonzero((part.trials["steps"] == longest) & ~np.isnan(errors))
        if not len(valid):
            continue
        index = valid[np.argmin(errors[valid])]
        best = {name: x[index].item() for name, x in part.trials.items()}
        print(f"{cell}: best at T = {longest}: error {errors[index]:.4f} with {best}")
    print(
        f"\nresults.json, table.csv, sweep.npz, success.png and a plot of each cell are in {out}."
    )
