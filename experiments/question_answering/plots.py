"""The attention figure of `experiments.question_answering`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.report.heat_maps import attention_top, shorten
from experiments.common.report.plots import save_figure


def plot_episodes(
    path: Path, episodes: Sequence[tuple[str, Sequence[str], np.ndarray, Sequence[int]]]
) -> None:
    """Draws stories sentence by sentence, shaded by the attention of each pass.

    Args:
      path: the PNG to write.
      episodes: (title, sentences [S], attention weights [passes, S], supporting sentences) of each;
        supporting sentences are bold.
    """
    columns = min(3, len(episodes))
    rows = -(-len(episodes) // columns)
    longest = max(len(sentences) for _, sentences, _, _ in episodes)
    size = (4.3 * columns + 1, rows * (0.28 * longest + 0.9))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(episodes) :]:
        axis.axis("off")
    top = attention_top(max(weights.max() for _, _, weights, _ in episodes))
    for axis, (title, sentences, weights, support) in zip(axes.flat, episodes, strict=False):
        image = axis.imshow(weights.T, cmap="Oranges", vmin=0, vmax=top, aspect="auto")
        axis.set_xticks(range(len(weights)), range(1, len(weights) + 1), fontsize=8)
        axis.set_yticks(
            range(len(sentences)), [shorten(sentence, 36) for sentence in sentences], fontsize=8
        )
        for i in support:
            axis.get_yticklabels()[i].set_fontweight("bold")
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("pass over the story", fontsize=8)
    axes[0, 0].set_ylabel("sentence (bold: supports the answer)", fontsize=8)
    figure.colorbar(image, ax=axes, label="attention weight", shrink=0.6)
    save_figure(figure, path)
