"""The tables of `experiments.training_difficulty`, from the sweep's result."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.common.report import format_table
from experiments.memory.tricks import TRICKS, Trick, applies
from experiments.training_difficulty.tasks import num_steps
from grujax.sweep import SweepResult

Key = tuple[str, int, str, str]  # task, length, cell, trick

_LEAST = 1e-37  # of a gradient, in float32


def print_report(
    result: SweepResult,
    tasks: Mapping[str, Sequence[int]],
    caps: Mapping[str, int],
    cells: Sequence[str],
) -> None:
    """Prints what each trick changed, for each task and length and over all, and gradient flow.

    Args:
      result: the sweep's.
      tasks: the lengths of each task, ascending.
      caps: the optimizer steps that a training of each task has at most.
      cells: their names, the columns.
    """
    index, metrics, gained = index_trials(result), result.metrics, gains(result)
    names = [cell.upper() for cell in cells]

    def steps(key: Key) -> str:
        places = index[key]
        solved, updates = metrics["solved"][places] > 0, metrics["updates"][places]
        return describe_steps(updates, solved, metrics["error"][places], caps[key[0]])

    def effect(key: Key) -> str:
        if key[3] == "plain":
            return f"{metrics['learned'][index[key]].mean():.0%}"
        return describe_effect(gained[key])

    def flow(key: Key) -> str:
        first = num_steps(*key[:2]) - 1
        return describe_flow(
            *(metrics[f"flow_{x}"][index[key], first] for x in ("before", "after"))
        )

    def rows(task: str, length: int, *describe: Callable[[Key], str]) -> list[list[str]]:
        columns = [(text, cell) for text in describe for cell in cells]
        return [
            [t, *(text((task, length, c, t)) if applies(t, c) else "–" for text, c in columns)]
            for t in TRICKS
            if (task, length, cells[-1], t) in index
        ]

    for task, lengths in tasks.items():
        for length in lengths:
            print(f"\n{title_of(task, length)}: steps to the solution, and what was learned")
            print(format_table(["", *names, *names], rows(task, length, steps, effect)))
        print(
            f"\n{title_of(task, lengths[-1])}: of the gradient reach the first step, trained or not"
        )
        print(format_table(["", *names], rows(task, lengths[-1], flow)))
    print('\nAll of them: points of "learned" gained, and in how many pairs a trick beat plain')
    print(format_table(["", *names], _over_all(gained, cells)))


def index_trials(result: SweepResult) -> dict[Key, np.ndarray]:
    """Where the trials of each combination lie, in the order of the seeds `[seeds]`."""
    places: dict[Key, list[int]] = {}
    names = {tuple(trick): name for name, trick in TRICKS.items()}
    for place in range(len(result.trials["seed"])):
        row = {name: values[place].item() for name, values in result.trials.items()}
        trick = names[tuple(row[field] for field in Trick._fields)]
        places.setdefault((row["task"], row["length"], row["cell"], trick), []).append(place)
    return {key: np.array(value) for key, value in places.items()}


def gains(result: SweepResult) -> dict[Key, np.ndarray]:
    """What each trick changed of "learned", seed by seed `[seeds]`."""
    index, learned = index_trials(result), result.metrics["learned"]
    return {
        key: learned[places] - learned[index[*key[:3], "plain"]] for key, places in index.items()
    }


def title_of(task: str, length: int) -> str:
    """Such as "adding, T = 100"."""
    return f"{task}, {'delay' if task == 'copy' else 'T ='} {length}"


def describe_steps(updates: np.ndarray, solved: np.ndarray, error: np.ndarray, cap: int) -> str:
    """Steps to the solution, over the seeds: "550", "550–800", "700–>1,500", ">1,500: 93% left"."""
    if not solved.any():
        left = f"{error.mean():.0%} left" if np.isfinite(error).all() else "diverged"
        return f">{cap:,}: {left}"
    least = f"{updates[solved].min():,}"
    most = f"{updates.max():,}" if solved.all() else f">{cap:,}"
    return least if least == most else f"{least}–{most}"


def describe_effect(effect: np.ndarray) -> str:
    """A paired difference in percentage points, mean ± sample standard deviation over the seeds."""
    points = 100 * effect
    return f"{round(points.mean()):+d}" + (f" ±{points.std(ddof=1):.0f}" if len(points) > 1 else "")


def geometric_mean(norms: np.ndarray) -> np.ndarray:
    """Of gradients' norms over the seeds, `[seeds, ...]` -> `[...]`; 0 counts as `_LEAST`."""
    return np.exp(np.log(np.maximum(norms, _LEAST)).mean(0))


def describe_flow(before: np.ndarray, after: np.ndarray) -> str:
    """A gradient relative to the last step's, geometric means of seeds: "1e-13 → 0.4"."""
    texts = []
    for share in (before, after):
        if not np.isfinite(share).all():
            texts.append("overflow")
            continue
        mean = geometric_mean(share)
        text = f"{mean:.0e}" if mean < 0.01 else f"{mean:.2g}"
        texts.append(f"<{_LEAST}" if mean < 1.01 * _LEAST else text)
    return " → ".join(texts)


def _over_all(gained: Mapping[Key, np.ndarray], cells: Sequence[str]) -> list[list[str]]:
    rows = []
    for trick in dict.fromkeys(key[3] for key in gained if key[3] != "plain"):
        rows.append([trick])
        for cell in cells:
            pairs = [x for key, x in gained.items() if key[2:] == (cell, trick)]
            x = np.concatenate([*pairs, []])
            text = f"{round(100 * x.mean()):+d} ({np.sum(x > 0)}/{len(x)})" if pairs else "–"
            rows[-1].append(text)
    return sorted(rows, key=lambda row: list(TRICKS).index(row[0]))
