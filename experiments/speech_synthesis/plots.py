"""The figure of `experiments.speech_synthesis`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure
from experiments.speech_synthesis.audio import FLOOR, HOP, RATE, log_mel


def plot_spectrograms(path: Path, text: str, sounds: Mapping[str, np.ndarray]) -> None:
    """Draws the mel spectrograms of one text, one panel per voice.

    Args:
      path: the PNG to write.
      text: the text spoken.
      sounds: the audio of each voice, by name.
    """
    mels = {name: log_mel(audio) * 20 / np.log(10) for name, audio in sounds.items()}
    figure = Figure(figsize=(9, 2.1 * len(mels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(mels), 1, squeeze=False, sharex=True)[:, 0]
    lowest = 20 * np.log10(FLOOR)
    highest = max(frames.max() for frames in mels.values())
    for axis, (name, frames) in zip(axes, mels.items(), strict=True):
        image = axis.imshow(
            frames.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=lowest,
            vmax=highest,
            extent=(0, len(frames) * HOP / RATE, 0, frames.shape[1]),
        )
        axis.set_ylabel("mel band")
        axis.set_title(name, fontsize=10, loc="left")
    axes[-1].set_xlabel("seconds")
    figure.suptitle(f'"{text}"', fontsize=10)
    figure.colorbar(image, ax=list(axes), label="level of the band, dB")
    write_figure(path, figure)
