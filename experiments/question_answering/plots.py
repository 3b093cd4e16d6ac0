"""The attention figure of `experiments.question_answering`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.report.plots import save_figure


def plot_episodes(
    path: Path, episodes: Sequence[tuple[str, Sequence[str], np.ndarray, Sequence[int]]]
) -> None:
    """Draws stories sentence by sentence, shaded by the attention of each pass.

    Args:
      path: the PNG to write.
      episodes: (title, sentences [S], attention weights [passes, S], supporting sentences) of each.
    """
    columns = min(3, len(episodes))
    rows = -(-len(episodes) // columns)
    longest = max(len(sentences) for _, sentences, _, _ in episodes)
    size = (4.3 * columns, rows * (0.28 * longest + 0.9))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(episodes) :]:
        axis.axis("off")
    for axis, (title, sentences, weights, support) in zip(axes.flat, episodes, strict=False):
        axis.imshow(weights.T, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(weights)), [f"{i + 1}." for i in range(len(weights))])
        axis.set_yticks(range(len(sentences)), sentences, fontsize=8)
        for i in support:
            axis.get_yticklabels()[i].set_fontweight("bold")
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("pass", fontsize=8)
    save_figure(figure, path)
