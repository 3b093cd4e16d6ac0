"""The loop of a training on disk: progress bar, metrics.jsonl, checkpoints, exact resume.

A run directory holds

    settings.json   what was trained; a directory that belongs to other settings is refused
    metrics.jsonl   one line an epoch, reproducible to the last bit
    times.jsonl     seconds of each epoch
    checkpoints/    the state after the last two epochs, see `experiments.common.training.checkpoints`

Killing the process at any moment and running the same command again continues after the last
checkpoint and ends with the same metrics.jsonl, byte by byte, as a run that was left alone.

On how many devices it trains, `experiments.common.training.scale` says. Of several processes all train, and
the writer alone has the directory, see `experiments.common.training.processes`.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from experiments.common.training import Training, TrainState
from experiments.common.training.checkpoints import Checkpoints, with_typed_keys, without_typed_keys
from experiments.common.training.metrics import append_record, truncate_records
from experiments.common.training.processes import (
    are_several,
    check_alike,
    from_writer,
    is_writer,
    noticing_losses,
    text_from_writer,
)
from experiments.common.training.scale import in_force, on, on_one_device, replicated, results_on

METRICS, TIMES, SETTINGS = "metrics.jsonl", "times.jsonl", "settings.json"


class SettingsMismatchError(ValueError):
    """The run directory was begun with other settings."""


def run(
    training: Training,
    key: jax.Array,
    directory: Path,
    settings: dict[str, Any],
    label: str,
) -> TrainState:
    """Trains in `directory`, going on where an earlier run of the same settings stopped.

    Args:
      training: what to do.
      key: the training's random key; unused when there is a checkpoint.
      directory: the run directory, made if it is not there.
      settings: all that determines the result, as JSON values; two equal ones give equal results.
      label: what the progress bar is called.

    Returns: the final state (`best_params` are those to use).

    Raises:
      SettingsMismatchError: `directory` was begun with other settings.
      ScaleError: batches cannot be spread over the devices, or processes differ.
      LostProcessError: another process has ended.
      KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.
    """
    scale = in_force()
    scale.check(training.rows)
    mesh = scale.mesh()
    settings = settings | scale.settings()
    check_alike("settings", settings)
    own = jax.jit(training.init)(key)
    with _files(Path(directory), settings, label) as files:
        if files is not None:
            own = files.restored(training, own)
        arrays = from_writer(without_typed_keys(own))
        state = with_typed_keys(replicated(arrays, mesh), own)
        own = on_one_device(state, mesh)
        if not training.finished(own):
            own = _train(training, state, files, label)
    _share_records(Path(directory))
    return own


def _train(training: Training, state: TrainState, files: "_Files | None", label: str) -> TrainState:
    """Trains to the end from a state that lies on all devices; returns it on one."""
    scale = in_force()
    mesh = scale.mesh()
    step = jax.jit(partial(training.epoch, scale=scale), donate_argnums=0, **results_on(mesh))
    own = on_one_device(state, mesh)
    epochs, done, quiet = training.epochs, int(own.epoch), files is None
    with tqdm(total=epochs, initial=done, desc=label, unit="epoch", disable=quiet) as bar:
        while not training.finished(own):
            start = time.perf_counter()
            with noticing_losses(), on(mesh):
                state, metrics = step(state)
                values = {name: float(x) for name, x in metrics.items()}
            own = on_one_device(state, mesh)
            if files is not None:
                files.add(own, values, start)
            bar.set_postfix({name: f"{x:.3f}" for name, x in values.items()})
            bar.update()
    return own


class _Files:
    """The run directory, which the writer alone has."""

    def __init__(self, directory: Path, settings: dict[str, Any], label: str):
        claim_directory(directory, settings)
        self.directory, self.label = directory, label
        self.checkpoints = Checkpoints(directory / "checkpoints")

    def restored(self, training: Training, state: TrainState) -> TrainState:
        """The state to go on from: the newest, or that before the first epoch, which is given."""
        epoch, state = self.checkpoints.restore_newest(state) or (0, state)
        for name in (METRICS, TIMES):
            truncate_records(self.directory / name, epoch)
        if training.finished(state):
            message = f"already trained ({epoch} epochs in {self.directory})."
            print(f"{self.label}: {message}", file=sys.stderr)
        elif epoch:
            message = f"going on after epoch {epoch} in {self.directory}."
            print(f"{self.label}: {message}", file=sys.stderr)
        return state

    def add(self, state: TrainState, values: dict[str, float], start: float) -> None:
        """Writes what an epoch gave that began at `start`, by the clock of `time.perf_counter`."""
        epoch = int(state.epoch)
        append_record(self.directory / METRICS, {"epoch": epoch} | values)
        seconds = round(time.perf_counter() - start, 3)
        append_record(self.directory / TIMES, {"epoch": epoch, "seconds": seconds})
        self.checkpoints.save(epoch, state)


def _share_records(directory: Path) -> None:
    """Of several processes gives each what the writer has recorded, for reports to read."""
    if not are_several():
        return
    for name in (METRICS, TIMES):
        path = directory / name
        text = text_from_writer(path.read_text(encoding="utf-8") if is_writer() else "")
        if not is_writer():
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


@contextmanager
def _files(directory: Path, settings: dict[str, Any], label: str) -> Iterator[_Files | None]:
    """The run directory, closed at the end; None for processes that do not write."""
    if not is_writer():
        yield None
        return
    files = _Files(directory, settings, label)
    try:
        yield files
    except KeyboardInterrupt:
        print(
            f"\n{label}: stopped. Every finished epoch is saved in {directory}; "
            "the same command continues from there.",
            file=sys.stderr,
        )
        raise
    finally:
        files.checkpoints.close()


def restore(training: Training, directory: Path) -> TrainState | None:
    """Returns the newest intact state in `directory` without training; None if there is none."""
    if not (Path(directory) / "checkpoints").is_dir():
        return None
    checkpoints = Checkpoints(Path(directory) / "checkpoints")
    restored = checkpoints.restore_newest(jax.jit(training.init)(jax.random.key(0)))
    checkpoints.close()
    return restored[1] if restored else None


def claim_directory(directory: Path, settings: dict[str, Any]) -> None:
    """Writes settings.json, or checks that the one which is there says the same.

    Raises:
      SettingsMismatchError: it says something else; the message names the differences.
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
                f"{directory} was begun with other settings ({differences}). "
                "Choose another directory, or delete this one to begin anew."
            )
        return
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(settings, indent=2) + "\n").encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)
