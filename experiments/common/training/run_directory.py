"""The run directory of a training, which only the writer process touches.

It holds

    settings.json   what was trained; a directory of other settings is refused
    metrics.jsonl   one line per epoch, reproducible bit for bit
    times.jsonl     the seconds of each epoch
    checkpoints/    the states after the last two epochs, with a copy of both files of lines
    lock            claimed by the process that trains here

A finished training needs to write nothing here, and is read from a read-only disk, too.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from experiments.common.durable import (
    DamagedFileError,
    lock_directory,
    naming,
    read_json,
    write_json,
)
from experiments.common.outputs import reporting
from experiments.common.training.checkpoints import Checkpoints, Restored
from experiments.common.training.functional import Training, TrainState
from experiments.common.training.metrics import append_record, format_record, repair_records
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
        self._records = {METRICS: "", TIMES: ""}  # the text of each file up to the last epoch

    def restore(self, training: Training, initial: TrainState) -> TrainState:
        """The newest saved state, or `initial` if there is none; the records are made to match.

        Raises:
          CheckpointError: a checkpoint cannot be restored, see `Checkpoints.restore_newest`.
          OSError: the training is unfinished, and the directory cannot be written.
        """
        restored = self.checkpoints.restore_newest(initial)
        epoch, state, records = restored or Restored(0, initial, self._records)
        finished = bool(training.finished(state))
        for name in self._records:
            with reporting(self.path / name) if finished else nullcontext():
                proven = None if records is None else records.get(name)
                self._records[name] = repair_records(self.path / name, epoch, proven)
        if finished:
            message = f"already trained ({epoch} epochs in {self.path})."
            print(f"{self.label}: {message}", file=sys.stderr)
            return state
        self._check_writable()
        if epoch:
            message = f"resuming after epoch {epoch} in {self.path}."
            print(f"{self.label}: {message}", file=sys.stderr)
        return state

    def _check_writable(self) -> None:
        """Raises OSError where `record` could not write, before time is spent on an epoch."""
        self.checkpoints.make_directory()
        for name in self._records:
            with naming(self.path / name), (self.path / name).open("ab"):
                pass

    def record(self, state: TrainState, metrics: dict[str, float], start: float) -> None:
        """Writes the metrics and the state of an epoch; `start` is its `time.perf_counter`."""
        epoch = int(state.epoch)
        seconds = round(time.perf_counter() - start, 3)
        lines = {METRICS: {"epoch": epoch} | metrics, TIMES: {"epoch": epoch, "seconds": seconds}}
        for name, line in lines.items():
            append_record(self.path / name, line)
            self._records[name] += format_record(line)
        self.checkpoints.save(epoch, state, self._records)


@contextmanager
def open_run_directory(
    path: Path, settings: dict[str, Any], label: str
) -> Iterator[RunDirectory | None]:
    """The run directory, closed at the end; None in a process that is not the writer."""
    if not is_writer():
        yield None
        return
    with lock_directory(path):
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


def share_records(path: Path) -> None:
    """Copies the writer's records to the output directories of the other processes' reports."""
    if not is_multiprocess():
        return
    for name in (METRICS, TIMES):
        file = path / name
        readable = is_writer() and file.exists()
        text = broadcast_text_from_writer(file.read_text(encoding="utf-8") if readable else "")
        if not is_writer():
            path.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def claim_directory(directory: Path, settings: dict[str, Any]) -> None:
    """Writes settings.json, or checks that the existing one has the same settings.

    Raises:
      SettingsMismatchError: they differ; the message names the differences.
      DamagedFileError: the existing file has a wrong checksum.
    """
    path = directory / SETTINGS
    settings = json.loads(json.dumps(settings))
    if path.exists():
        found = read_json(path)
        if not isinstance(found, dict):
            raise DamagedFileError(f"{path} is damaged: it holds no settings.")
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
    write_json(path, settings)
