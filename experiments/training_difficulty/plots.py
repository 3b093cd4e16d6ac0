"""The figures of `experiments.training_difficulty`. A key is (task, length, cell, trick)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.memory.tricks import TRICKS
from experiments.training_difficulty.report import Key, geometric_mean, title_of

_COLOURS = {"rnn": "tab:orange", "lstm": "tab:blue", "gru": "tab:green"}
_LEAST = 1e-12  # of a gradient; what is less is not drawn


def plot_success(
    path: Path,
    tasks: Mapping[str, Sequence[int]],
    cells: Sequence[str],
    solved: Mapping[Key, float],
) -> None:
    """The share of trainings that solved each task against its length: all tricks, and plain.

    Args:
      path: the PNG to write.
      tasks: the lengths of each task, ascending.
      cells: their names.
      solved: the share of the seeds.
    """
    figure, axes = _panels(1, len(tasks), (3.5, 3.3), sharey=True)
    for axis, (task, lengths) in zip(axes[0], tasks.items(), strict=True):
        for number, cell in enumerate(cells):
            every = [
                np.mean([v for k, v in solved.items() if k[:3] == (task, length, cell)])
                for length in lengths
            ]
            plain = [solved[task, length, cell, "plain"] for length in lengths]
            places = np.arange(len(lengths)) + 0.03 * (number - 1)  # so that none hides another
            style = {"color": _COLOURS[cell], "marker": "osD"[number]}
            axis.plot(places, every, "-", label=f"{cell.upper()}, all", markersize=9, **style)
            label = f"{cell.upper()}, plain"
            axis.plot(places, plain, ":", label=label, markersize=4, mfc="white", **style)
        axis.set_xticks(range(len(lengths)), [str(length) for length in lengths])
        axis.set(xlim=(-0.3, len(lengths) - 0.7), ylim=(-0.04, 1.04), title=task)
        axis.set_xlabel("delay" if task == "copy" else "steps T")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("trainings that solved it")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path)


def plot_gains(
    path: Path,
    tasks: Mapping[str, Sequence[int]],
    cells: Sequence[str],
    gained: Mapping[Key, np.ndarray],
) -> None:
    """A heat map for each task and length: what each trick changed, mean ± sd over the seeds.

    Args:
      path: the PNG to write.
      tasks: the lengths of each task.
      cells: their names, the columns.
      gained: what was learned more than plain, fractions `[seeds]`; no key where a trick does not
        apply.
    """
    tricks = [trick for trick in _tricks(gained) if trick != "plain"]
    columns = max(len(lengths) for lengths in tasks.values())
    figure, axes = _panels(len(tasks), columns, (3.6, 2.9))
    image = None
    for row, (task, lengths) in zip(axes, tasks.items(), strict=True):
        for axis in row[len(lengths) :]:
            axis.set_axis_off()
        for axis, length in zip(row, lengths, strict=False):
            points = [[gained.get((task, length, c, t)) for c in cells] for t in tricks]
            means = [[np.nan if x is None else 100 * x.mean() for x in line] for line in points]
            image = axis.imshow(means, cmap="RdBu", vmin=-60, vmax=60, aspect="auto")
            for (y, x), mean in np.ndenumerate(np.array(means)):
                values = points[y][x]
                text = "–" if values is None else f"{round(mean):+d}"
                if values is not None and len(values) > 1:
                    text += f" ±{100 * values.std(ddof=1):.0f}"
                colour = "white" if abs(mean) > 40 else "black"
                axis.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
            axis.set_xticks(range(len(cells)), [cell.upper() for cell in cells])
            axis.set_yticks(range(len(tricks)), tricks)
            axis.set_title(title_of(task, length), fontsize=10)
            axis.tick_params(length=0)
    label = "points of “learned” more than plain"
    figure.colorbar(image, ax=axes, extend="both", shrink=0.5, label=label)
    figure.savefig(path)


def plot_flows(
    path: Path,
    title: str,
    cells: Sequence[str],
    flows: Mapping[tuple[str, str], Sequence[np.ndarray]],
) -> None:
    """The gradient's norm against the steps it has come back: a row before, and one after training.

    Args:
      path: the PNG to write.
      title: of the figure.
      cells: their names, the columns.
      flows: for each (cell, trick) the profiles before and after, each `[seeds, T']`, NaN past T.
        Drawn is the geometric mean over the seeds.
    """
    figure, axes = _panels(2, len(cells), (3.6, 2.8), sharey=True, sharex=True)
    tricks = _tricks(flows)
    for column, cell in enumerate(cells):
        for row, when in enumerate(("untrained", "trained")):
            axis = axes[row, column]
            for number, trick in enumerate(tricks):
                if (cell, trick) not in flows:
                    continue
                profile = flows[cell, trick][row]
                mean = geometric_mean(profile)
                style = {"color": "black", "linewidth": 2.2} if trick == "plain" else {}
                style = style or {"color": f"C{number - 1}", "linewidth": 1.3}
                axis.plot(np.where(mean > _LEAST, mean, np.nan), label=trick, **style)
            axis.set(yscale="log", ylim=(_LEAST, 1e3), title=f"{cell.upper()}, {when}")
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("steps back from the end")
    for axis in axes[:, 0]:
        axis.set_ylabel("‖∂L/∂state‖, relative")
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend([handles[trick] for trick in tricks], tricks, loc="outside right upper")
    figure.suptitle(title)
    figure.savefig(path)


def _tricks(keys: Iterable[tuple]) -> list[str]:
    found = {key[-1] for key in keys}
    return [trick for trick in TRICKS if trick in found]


def _panels(rows: int, columns: int, size: tuple[float, float], **share: bool):
    figure = Figure((size[0] * columns + 1.2, size[1] * rows), dpi=120, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **share)
