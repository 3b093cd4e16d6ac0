"""A small archive of wrist recordings, made up, in the layout of the real one."""

import io
import zipfile
from pathlib import Path

import numpy as np

from experiments.common import wrist_sensor


def make_recordings(subjects: int = 10, exercises: int = 7, seed: int = 0) -> dict:
    """Recordings of which each exercise has its own pose, speed and axis; both arms.

    Returns: what the real file holds.
    """
    rng = np.random.default_rng(seed)
    data: dict = {"X": [], "y": [], "subject": [], "side": []}
    for subject in range(1, subjects + 1):
        for exercise in range(exercises):
            for side in (0, 1):
                length = int(rng.integers(260, 420))
                phase = 2 * np.pi * (0.4 + 0.15 * exercise) * np.arange(length) / 50
                signal = rng.normal(0, 0.1, (length, 6))
                signal[:, exercise % 3] += 1 - 2 * (exercise % 2)  # gravity
                signal[:, 3 + exercise % 3] += 2 * np.sin(phase + rng.uniform(0, 6))
                mirror = np.array([-1, 1, 1, 1, -1, -1]) if side else np.ones(6)
                data["X"].append(signal * mirror)
                data["y"].append(exercise)
                data["subject"].append(subject)
                data["side"].append(float(side))
    order = rng.permutation(len(data["X"]))
    return {
        "X": [data["X"][i] for i in order],
        **{name: np.array(data[name])[order] for name in ("y", "subject", "side")},
        "X_labels": list(wrist_sensor.CHANNELS),
    }


def make_archive(path: Path) -> None:
    """Writes the archive."""
    content = io.BytesIO()
    np.save(content, np.array(make_recordings(), dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(wrist_sensor.MEMBER, content.getvalue())
