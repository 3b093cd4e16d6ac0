"""The tables of `experiments.training_difficulty`, computed from the sweep's result."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.common.report import format_table
from experiments.common.report.plots import cell_title
from experiments.memory.gradient_flow import describe_flow
from experiments.memory.tricks import TRICKS, Trick, is_applicable
from experiments.training_difficulty.tasks import num_steps
from grujax.sweep import SweepResult

Key = tuple[str, int, str, str]  # task, length, cell, trick


def print_report(
    result: SweepResult,
    tasks: Mapping[str, Sequence[int]],
    caps: Mapping[str, int],
    cells: Sequence[str],
) -> None:
    """Prints the effect of each trick, by task and length and overall, and the gradient flow.

    Args:
      result: of the sweep.
      tasks: the lengths of each task, ascending.
      caps: the maximum number of optimizer steps on each task.
      cells: names of cells, the columns.
    """
    index, metrics, gains = index_trials(result), result.metrics, paired_gains(result)
    names = [cell_title(cell) for cell in cells]

    def steps(key: Key) -> str:
        trials = index[key]
        solved, updates = metrics["solved"][trials] > 0, metrics["updates"][trials]
        return describe_steps(updates, solved, metrics["error"][trials], caps[key[0]])

    def effect(key: Key) -> str:
        if key[3] == "plain":
            return f"{metrics['learned'][index[key]].mean():.0%}"
        return describe_gain(gains[key])

    def flow(key: Key) -> str:
        first = num_steps(*key[:2]) - 1
        norms = [metrics[f"flow_{when}"][index[key], first] for when in ("before", "after")]
        return describe_flow(*norms)

    def rows(task: str, length: int, *describe: Callable[[Key], str]) -> list[list[str]]:
        columns = [(text, cell) for text in describe for cell in cells]
        return [
            [
                t,
                *(
                    text((task, length, c, t)) if is_applicable(t, c) else "–"
                    for text, c in columns
                ),
            ]
            for t in TRICKS
            if (task, length, cells[-1], t) in index
        ]

    for task, lengths in tasks.items():
        for length in lengths:
            print(
                f'\n{task_title(task, length)}: steps to the solution; "learned", or the gain in it'
            )
            print(format_table(["", *names, *names], rows(task, length, steps, effect)))
        title = task_title(task, lengths[-1])
        print(f"\n{title}: share of the gradient that reaches the first step, untrained → trained")
        print(format_table(["", *names], rows(task, lengths[-1], flow)))
    print('\nAll tasks: gain in "learned", percentage points (pairs in which a trick beat plain)')
    print(format_table(["", *names], _overall_rows(gains, cells)))


def index_trials(result: SweepResult) -> dict[Key, np.ndarray]:
    """Finds the trials of each combination: their indices [seeds], in the order of the seeds."""
    index: dict[Key, list[int]] = {}
    names = {tuple(trick): name for name, trick in TRICKS.items()}
    for trial in range(len(result.trials["seed"])):
        row = {name: values[trial].item() for name, values in result.trials.items()}
        trick = names[tuple(row[field] for field in Trick._fields)]
        index.setdefault((row["task"], row["length"], row["cell"], trick), []).append(trial)
    return {key: np.array(trials) for key, trials in index.items()}


def paired_gains(result: SweepResult) -> dict[Key, np.ndarray]:
    """What each trick added to "learned" over plain training with the same seed: [seeds]."""
    index, learned = index_trials(result), result.metrics["learned"]
    return {
        key: learned[trials] - learned[index[*key[:3], "plain"]] for key, trials in index.items()
    }


def task_title(task: str, length: int) -> str:
    """Such as "adding, T = 100"."""
    return f"{task}, {'delay' if task == 'copy' else 'T ='} {length}"


def describe_steps(updates: np.ndarray, solved: np.ndarray, error: np.ndarray, cap: int) -> str:
    """The range of steps to the solution over seeds [seeds].

    Such as "550", "550–800", "700–>1,500", or ">1,500: 93% left" if no training solved the task.
    """
    if not solved.any():
        left = f"{error.mean():.0%} left" if np.isfinite(error).all() else "diverged"
        return f">{cap:,}: {left}"
    least = f"{updates[solved].min():,}"
    most = f"{updates.max():,}" if solved.all() else f">{cap:,}"
    return least if least == most else f"{least}–{most}"


def describe_gain(gain: np.ndarray) -> str:
    """A paired difference [seeds] in percentage points: mean ± sample standard deviation."""
    points = 100 * gain
    return f"{round(points.mean()):+d}" + (f" ±{points.std(ddof=1):.0f}" if len(points) > 1 else "")


def overall_gains(gains: Mapping[Key, np.ndarray]) -> dict[str, dict[str, dict[str, float]]]:
    """Of each trick and cell over all tasks: the mean gain in points, wins, and pairs."""
    pairs: dict[tuple[str, str], list[np.ndarray]] = {}
    for (_, _, cell, trick), gain in gains.items():
        if trick != "plain":
            pairs.setdefault((trick, cell), []).append(gain)
    overall: dict[str, dict[str, dict[str, float]]] = {}
    for (trick, cell), parts in pairs.items():
        gain = np.concatenate(parts)
        numbers = {"points": 100 * gain.mean(), "wins": np.sum(gain > 0), "pairs": len(gain)}
        overall.setdefault(trick, {})[cell] = {name: float(x) for name, x in numbers.items()}
    return {trick: overall[trick] for trick in TRICKS if trick in overall}


def _overall_rows(gains: Mapping[Key, np.ndarray], cells: Sequence[str]) -> list[list[str]]:
    def describe(points: float, wins: float, pairs: float) -> str:
        return f"{round(points):+d} ({wins:.0f}/{pairs:.0f})"

    return [
        [trick, *(describe(**of_cell[cell]) if cell in of_cell else "–" for cell in cells)]
        for trick, of_cell in overall_gains(gains).items()
    ]
