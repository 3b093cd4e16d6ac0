"""The benchmark's plots."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

from experiments.benchmark.peers import MODES, Setting
from experiments.benchmark.summary import Point
from experiments.common.report.plots import add_legend, line_styles, save_figure

AXES = {"steps": "T", "batch": "B", "hidden_size": "H"}
NAMES = {"T": "steps", "B": "rows of the batch", "H": "units"}


def plot_times(path: Path, points: Sequence[Point], base: Setting) -> None:
    """Plots time against T, B and H through `base`, on log axes: forward above, training below."""
    figure = Figure((13, 7), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row")
    libraries = list(dict.fromkeys(m.library for p in points for m in p.all_libraries()))
    libraries = [name for name in libraries if not name.endswith("unmasked")]
    styles = line_styles(libraries)
    for row, mode in zip(axes, MODES, strict=True):
        for axis, (field, letter) in zip(row, AXES.items(), strict=True):
            line = [
                p
                for p in points
                if p.mode == mode and replace(p.setting, **{field: getattr(base, field)}) == base
            ]
            line.sort(key=lambda p: getattr(p.setting, field))
            for name in libraries:
                measured = [m for p in line for m in p.all_libraries() if m.library == name]
                ours = name.startswith("grujax")
                width = 2.2 if ours else 1.2
                axis.errorbar(
                    [getattr(m, field) for m in measured],
                    [m.median_ms for m in measured],
                    [
                        [m.median_ms - m.lower_ms for m in measured],
                        [m.upper_ms - m.median_ms for m in measured],
                    ],
                    label=name,
                    capsize=2,
                    **styles[name] | {"lw": width, "elinewidth": 1, "zorder": 2 + ours},
                )
            fixed = (f"{AXES[f]} = {getattr(base, f)}" for f in AXES if f != field)
            sizes = [getattr(p.setting, field) for p in line]
            axis.set(xscale="log", yscale="log", xlabel=f"{letter}, {NAMES[letter]}", xticks=sizes)
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_title(f"{mode}: {', '.join(fixed)}, I = {base.input_size}", fontsize=10)
            axis.grid(alpha=0.3, which="both")
        row[0].set_ylabel("time, ms (median and quartiles)")
    add_legend(figure, axes[0, 0], "library")
    save_figure(figure, path)


def plot_ratios(path: Path, points: Sequence[Point]) -> None:
    """Plots the fastest peer's time / grujax's as heat maps: rows are T and B, columns are H.

    The forward pass is on the left, the training step on the right; one pair for each kind of I.
    """
    grid = [p for p in points if p.is_on_grid and p.peers]
    square = [p for p in grid if p.setting.input_size == p.setting.hidden_size]
    steps = {p.setting.steps for p in square if p.setting.input_size not in (1, 64)}
    panels = {
        "I = 64": [p for p in grid if p.setting.input_size == 64],
        "I = 1": [p for p in grid if p.setting.input_size == 1],
        "I = H": [p for p in square if p.setting.steps in steps],
    }
    panels = {name: chosen for name, chosen in panels.items() if len(chosen) > 2}
    rows = {n: sorted({(p.setting.steps, p.setting.batch) for p in c}) for n, c in panels.items()}
    heights = [len(r) for r in rows.values()] or [1]
    size = (5.6, 1.5 + 0.6 * len(heights) + 0.25 * sum(heights))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(len(heights), len(MODES), height_ratios=heights, squeeze=False)
    image = None
    for (name, chosen), row in zip(panels.items(), axes, strict=False):
        for mode, axis in zip(MODES, row, strict=True):
            columns = sorted({p.setting.hidden_size for p in chosen})
            image = _heat_map(axis, [p for p in chosen if p.mode == mode], rows[name], columns)
            axis.set_title(f"{mode}, {name}", fontsize=11)
        row[-1].set_yticks([])
    if image is not None:
        bar = figure.colorbar(
            image, ax=axes, ticks=[0.25, 0.5, 1, 2, 4], location="bottom", aspect=40, pad=0.02
        )
        bar.set_label("time of the fastest peer / grujax's", fontsize=10)
        bar.ax.xaxis.set_major_formatter(ScalarFormatter())
        bar.ax.xaxis.set_minor_formatter(NullFormatter())
    save_figure(figure, path)


def _heat_map(
    axis, points: Sequence[Point], rows: Sequence[tuple[int, int]], columns: Sequence[int]
) -> AxesImage:
    ratios = np.full((len(rows), len(columns)), np.nan)
    for p in points:
        row = rows.index((p.setting.steps, p.setting.batch))
        ratios[row, columns.index(p.setting.hidden_size)] = p.ratio
    axis.set_facecolor("0.9")
    image = axis.imshow(ratios, cmap="RdBu", norm=LogNorm(1 / 4, 4), aspect="auto")
    for (i, j), ratio in np.ndenumerate(ratios):
        if np.isfinite(ratio):
            color = "white" if abs(np.log(ratio)) > np.log(2.7) else "black"
            axis.text(j, i, f"{ratio:.1f}", ha="center", va="center", fontsize=10, color=color)
    axis.set_xticks(range(len(columns)), [f"H {h}" for h in columns], fontsize=8)
    axis.set_yticks(range(len(rows)), [f"T {t}, B {b}" for t, b in rows], fontsize=9)
    return image
