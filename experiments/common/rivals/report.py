"""The report of a comparison: a table, a figure and results.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure as Canvas
from scipy import stats

from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.common.report.intervals import interval
from experiments.common.report.plots import CELLS, cell_title, save_figure


class Figure(NamedTuple):
    """How a measured figure is shown."""

    label: str  # with its unit
    digits: int  # after the point
    scale: float = 1.0  # by which it is multiplied, as 100 for percent
    lower_is_better: bool = False


class Row(NamedTuple):
    """What a cell reached."""

    figures: Mapping[str, np.ndarray]  # on the test set, [seeds]
    parameters: int
    learning_rate: float
    tuning: Mapping[float, float]  # the validation score at each learning rate
    seconds: float  # of a training
    step_seconds: float | None  # of one step of a stream


class Lead(NamedTuple):
    """How far the first cell is from the second, in the units of the figure."""

    first: str
    second: str
    difference: float  # of the means, positive
    interval: float  # half of the 95% interval, by Welch's test; infinite for one seed each

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.difference > self.interval


def write_report(rows: Mapping[str, Row], figures: Mapping[str, Figure], out: Path) -> None:
    """Prints the table and who is first, and writes results.json and comparison.png.

    Args:
      rows: by cell.
      figures: by name; the first one decides.
      out: the folder.
    """
    print(f"\n{describe(rows, figures)}")
    name, shown = next(iter(figures.items()))
    results: dict[str, Any] = {cell: _as_values(row) for cell, row in rows.items()}
    if len(rows) > 1:
        lead = find_lead({cell: row.figures[name] for cell, row in rows.items()}, shown)
        print(f"\n{describe_lead(lead, shown)}")
        results["lead"] = lead._asdict()
    write_results(out / "results.json", results)
    plot_bars(out / "comparison.png", rows, figures)
    print(f"\nresults.json and comparison.png are in {out}.")


def describe(rows: Mapping[str, Row], figures: Mapping[str, Figure]) -> str:
    """The table: mean of each figure and half of its 95% interval, sizes and times."""
    header = ["", *(shown.label for shown in figures.values())]
    header += ["parameters", "learning rate", "training, s", "step, µs"]
    table = []
    for cell, row in rows.items():
        cells = [
            f"{shown.scale * values.mean():.{shown.digits}f}"
            f" ±{shown.scale * interval(values):.{shown.digits}f}"
            for values, shown in zip(row.figures.values(), figures.values(), strict=True)
        ]
        step = "" if row.step_seconds is None else f"{1e6 * row.step_seconds:.0f}"
        sizes = [f"{row.parameters:,}", f"{row.learning_rate:g}", f"{row.seconds:.0f}", step]
        table.append([cell_title(cell), *cells, *sizes])
    return format_table(header, table)


def find_lead(values: Mapping[str, np.ndarray], shown: Figure) -> Lead:
    """Compares the best cell with the second best.

    Args:
      values: of each cell, [seeds].
      shown: the figure.
    """
    sign = -1 if shown.lower_is_better else 1
    first, second = sorted(values, key=lambda cell: -sign * values[cell].mean())[:2]
    difference = shown.scale * abs(float(values[first].mean() - values[second].mean()))
    if len(values[first]) == 1:
        return Lead(first, second, difference, np.inf)
    test: Any = stats.ttest_ind(values[first], values[second], equal_var=False)
    low, high = test.confidence_interval()
    return Lead(first, second, difference, shown.scale * float(high - low) / 2)


def describe_lead(lead: Lead, shown: Figure) -> str:
    """Who is first, in one sentence."""
    first, second = cell_title(lead.first), cell_title(lead.second)
    if not lead.is_certain:
        return f"{shown.label}: no certain winner; {first} is first, {second} second."
    difference, half = (f"{x:.{shown.digits}f}" for x in (lead.difference, lead.interval))
    return f"{shown.label}: {first} is first, {difference} ±{half} from {second}."


def _as_values(row: Row) -> dict[str, Any]:
    """A row as JSON values."""
    return {
        "figures": {
            name: {
                "mean": float(values.mean()),
                "interval": float(interval(values)),
                "seeds": values.tolist(),
            }
            for name, values in row.figures.items()
        },
        "parameters": row.parameters,
        "learning rate": row.learning_rate,
        "tuning": {f"{rate:g}": score for rate, score in sorted(row.tuning.items())},
        "seconds": row.seconds,
        "step microseconds": None if row.step_seconds is None else 1e6 * row.step_seconds,
    }


def plot_bars(path: Path, rows: Mapping[str, Row], figures: Mapping[str, Figure]) -> None:
    """Draws each figure as bars with 95% intervals, and each training as a point."""
    canvas = Canvas((3.6 * len(figures), 2.8), layout="constrained")
    axes = canvas.subplots(1, len(figures), squeeze=False)[0]
    for axis, (name, shown) in zip(axes, figures.items(), strict=True):
        for place, (cell, row) in enumerate(rows.items()):
            values = shown.scale * row.figures[name]
            axis.bar(place, values.mean(), color=CELLS[cell][0], alpha=0.75)
            half = interval(values)
            axis.errorbar(place, values.mean(), half, color="black", capsize=3, lw=1)
            axis.plot(np.full(len(values), place), values, ".", color="black", ms=4)
        axis.set(ylabel=shown.label)
        axis.set_xticks(range(len(rows)), map(cell_title, rows), rotation=30, ha="right")
        axis.set_ylim(*_limits(rows, name, shown))
        axis.grid(axis="y", alpha=0.3)
    save_figure(canvas, path)


def _limits(rows: Mapping[str, Row], name: str, shown: Figure) -> tuple[float, float]:
    """The ends of the axis: 0, unless all bars would look alike."""
    values = shown.scale * np.concatenate([row.figures[name] for row in rows.values()])
    low, high = float(values.min()), float(values.max())
    margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    return (low - 2 * margin if low > high / 2 else 0.0), high + margin
