"""The run directory of a training, which only the writer process touches.

It holds

    settings.json   what was trained; a directory of other settings is refused
    metrics.jsonl   one line per epoch, reproducible bit for bit
    times.jsonl     the seconds of each epoch
    checkpoints/    the states after the last two epochs
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.common.files import write_atomically
from experiments.common.training.checkpoints import Checkpoints
from experiments.common.training.functional import Training, TrainState
from experiments.common.training.metrics import append_record, truncate_records
from experiments.common.training.processes import (
    broadcast_text_from_writer,
    is_multiprocess,
    is_writer,
)

METRICS, TIMES, SETTINGS = "metrics.jsonl", "times.jsonl", "settings.json"


class SettingsMismatchError(ValueError):
    """The run directory belongs to a training with other settings."""


class RunDirectory:
    """The files of one training."""

    def __init__(self, path: Path, settings: dict[str, Any], label: str):
        claim_directory(path, settings)
        self.path, self.label = path, label
        self.checkpoints = Checkpoints(path / "checkpoints")

    def restore(self, training: Training, initial: TrainState) -> TrainState:
        """The newest saved state, or `initial` if there is none; the records are cut to match."""
        epoch, state = self.checkpoints.restore_newest(initial) or (0, initial)
        for name in (METRICS, TIMES):
            truncate_records(self.path / name, epoch)
        if training.finished(state):
            message = f"already trained ({epoch} epochs in {self.path})."
            print(f"{self.label}: {message}", file=sys.stderr)
        elif epoch:
            message = f"resuming after epoch {epoch} in {self.path}."
            print(f"{self.label}: {message}", file=sys.stderr)
        return state

    def record(self, state: TrainState, metrics: dict[str, float], start: float) -> None:
        """Writes the metrics and the state of an epoch; `start` is its `time.perf_counter`."""
        epoch = int(state.epoch)
        append_record(self.path / METRICS, {"epoch": epoch} | metrics)
        seconds = round(time.perf_counter() - start, 3)
        append_record(self.path / TIMES, {"epoch": epoch, "seconds": seconds})
        self.checkpoints.save(epoch, state)


@contextmanager
def open_run_directory(
    path: Path, settings: dict[str, Any], label: str
) -> Iterator[RunDirectory | None]:
    """The run directory, closed at the end; None in a process that is not the writer."""
    if not is_writer():
        yield None
        return
    files = RunDirectory(path, settings, label)
    try:
        yield files
    except KeyboardInterrupt:
        print(
            f"\n{label}: stopped. Every finished epoch is saved in {path}; "
            "the same command continues from there.",
            file=sys.stderr,
        )
        raise
    finally:
        files.checkpoints.close()


def share_records(path: Path) -> None:
    """Copies the writer's records to the output directories of the other processes' reports."""
    if not is_multiprocess():
        return
    for name in (METRICS, TIMES):
        file = path / name
        text = broadcast_text_from_writer(file.read_text(encoding="utf-8") if is_writer() else "")
        if not is_writer():
            path.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def claim_directory(directory: Path, settings: dict[str, Any]) -> None:
    """Writes settings.json, or checks that the existing one has the same settings.

    Raises:
      SettingsMismatchError: they differ; the message names the differences.
    """
    path = directory / SETTINGS
    settings = json.loads(json.dumps(settings))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != settings:
            differences = ", ".join(
                f"{name} = {found.get(name)!r} there, {settings.get(name)!r} here"
                for name in sorted(found.keys() | settings.keys())
                if found.get(name) != settings.get(name)
            )
            raise SettingsMismatchError(
                f"{directory} belongs to a training with other settings ({differences}). "
                "Choose another directory, or delete this one to start over."
            )
        return
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(settings, indent=2) + "\n").encode())
