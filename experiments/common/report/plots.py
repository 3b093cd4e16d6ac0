"""Plots written to PNG files, without a display."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter


def plot_learning_curves(path: Path, runs: Mapping[str, Sequence[dict[str, Any]]], metric: str):
    """Draws the training loss and one validation metric over epochs.

    Args:
      path: the PNG to write.
      runs: for each training its records, as in metrics.jsonl.
      metric: the record's field to draw beside `train_loss`; its best epoch is marked.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.5), layout="constrained")
    for name, records in runs.items():
        epochs = [record["epoch"] for record in records]
        for axis, field in zip(axes, ("train_loss", metric), strict=True):
            axis.plot(epochs, [record[field] for record in records], label=name)
        best = max(records, key=lambda record: record[metric])
        axes[1].plot(best["epoch"], best[metric], "o", color=axes[1].lines[-1].get_color())
    for axis, field in zip(axes, ("train_loss", metric), strict=True):
        axis.set(xlabel="epoch", ylabel=field.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    _save(figure, path)


def plot_confusion(path: Path, matrices: dict[str, np.ndarray], classes: Sequence[str]):
    """Draws confusion matrices side by side: counts, shaded by the share of the true class.

    Args:
      path: the PNG to write.
      matrices: for each classifier [C, C]; rows are the true class, columns the predicted one.
      classes: the C names.
    """
    figure, axes = plt.subplots(
        1,
        len(matrices),
        figsize=(3.4 * len(matrices), 3.5),
        layout="constrained",
        squeeze=False,
    )
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{count}\n{share[row, column]:.0%}"
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        axis.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 4 else 0)
        axis.set_yticks(range(len(classes)), classes)
        axis.set_title("\n".join(textwrap.wrap(name, 24)), fontsize=10)
        axis.set_xlabel("predicted")
    axes[0, 0].set_ylabel("true")
    _save(figure, path)


def plot_attention(
    path: Path,
    sentences: Sequence[tuple[np.ndarray, Sequence[str], np.ndarray]],
    classes: Sequence[str],
):
    """Draws sentences word by word, each word shaded by its attention weight.

    Args:
      path: the PNG to write.
      sentences: (class probabilities [C], tokens [T], attention weights [T]) of each.
      classes: the C names.
    """
    figure, axis = plt.subplots(figsize=(9, 0.5 * len(sentences) + 0.3), layout="constrained")
    axis.set(xlim=(0, 1), ylim=(len(sentences), 0))
    axis.axis("off")
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    figure.draw_without_rendering()
    width = axis.get_window_extent(renderer).width
    for row, (chances, tokens, weights) in enumerate(sentences):
        heading = f"{classes[int(chances.argmax())]} {chances.max():.0%}"
        axis.text(0, row + 0.5, heading, va="center", fontsize=9, fontweight="bold")
        left = 0.17
        for token, weight in zip(tokens, weights, strict=True):
            colour = plt.get_cmap("Oranges")(0.65 * float(weight) / float(np.max(weights)))
            box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
            label = token.replace("$", r"\$")
            text = axis.text(left, row + 0.5, label, va="center", fontsize=9, bbox=box)
            left += text.get_window_extent(renderer).width / width + 0.008
            if left > 1:
                text.remove()
                break
    _save(figure, path)


def plot_alignment(
    path: Path,
    maps: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]],
    stacked: bool = False,
    written: str = "",
):
    """Draws what a decoder looked at: a panel per sentence, a row per token that it wrote.

    Args:
      path: the PNG to write.
      maps: (source tokens [S], target tokens [T], attention weights [T, S]) of each sentence.
      stacked: panels below each other, for long sources.
      written: the name of the rows.
    """
    widths = [len(source) for source, _, _ in maps]
    heights = [len(target) for _, target, _ in maps]
    if stacked:
        layout = {"nrows": len(maps), "height_ratios": heights}
        size = (0.2 * max(widths) + 2, 0.2 * sum(heights) + 1.4 * len(maps))
    else:
        layout = {"ncols": len(maps), "width_ratios": widths}
        size = (0.3 * sum(widths) + 1.4 * len(maps), 0.3 * max(heights) + 2)
    figure, axes = plt.subplots(**layout, figsize=size, layout="constrained", squeeze=False)
    for axis, (source, target, weights) in zip(axes.flat, maps, strict=True):
        axis.imshow(weights, cmap="Oranges", vmin=0, vmax=1, aspect="equal")
        names = [[name.replace("$", r"\$") for name in side] for side in (source, target)]
        axis.set_xticks(range(len(source)), names[0], rotation=90, fontsize=8)
        axis.set_yticks(range(len(target)), names[1], fontsize=8)
        axis.set_ylabel(written)
        axis.xaxis.tick_top()
    _save(figure, path)


def plot_success(path: Path, rates: Mapping[str, Mapping[int, float]]):
    """Draws success rates against the number of steps, a panel per kind of initialisation.

    Args:
      path: the PNG to write.
      rates: for each "CELL, initialisation" the success rate by number of steps T.
    """
    kinds = list(dict.fromkeys(name.split(", ")[1] for name in rates))
    size = (3.6 * len(kinds), 3.4)
    figure, axes = plt.subplots(
        1, len(kinds), figsize=size, layout="constrained", sharey=True, squeeze=False
    )
    for axis, kind in zip(axes[0], kinds, strict=True):
        chosen = {name: row for name, row in rates.items() if name.split(", ")[1] == kind}
        for (name, row), marker in zip(chosen.items(), "osD^v", strict=False):
            label = name.split(", ")[0]
            axis.plot(list(row), list(row.values()), f"{marker}-", label=label, alpha=0.8)
        steps = sorted({step for row in chosen.values() for step in row})
        axis.set_xscale("log")
        axis.set_xticks(steps, [str(step) for step in steps])
        axis.minorticks_off()
        axis.set(xlabel="steps T", ylim=(-0.04, 1.04), title=f"initialisation: {kind}")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("trainings that solved it")
    axes[0, 0].legend(fontsize=8)
    _save(figure, path)


def plot_episodes(
    path: Path, episodes: Sequence[tuple[str, Sequence[str], np.ndarray, Sequence[int]]]
):
    """Draws stories sentence by sentence, shaded by the attention of each pass over them.

    Args:
      path: the PNG to write.
      episodes: (title, sentences [S], attention weights [passes, S], the sentences that matter).
    """
    columns = min(3, len(episodes))
    rows = -(-len(episodes) // columns)
    longest = max(len(sentences) for _, sentences, _, _ in episodes)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(4.3 * columns, rows * (0.28 * longest + 0.9)),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat[len(episodes) :]:
        axis.axis("off")
    for axis, (title, sentences, weights, matter) in zip(axes.flat, episodes, strict=False):
        axis.imshow(weights.T, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(weights)), [f"{i + 1}." for i in range(len(weights))])
        axis.set_yticks(range(len(sentences)), sentences, fontsize=8)
        for i in matter:
            axis.get_yticklabels()[i].set_fontweight("bold")
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("pass", fontsize=8)
    _save(figure, path)


def _save(figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)
