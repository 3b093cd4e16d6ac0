"""The loop of a training on disk: progress bar, metrics.jsonl, checkpoints, exact resume.

A run directory holds

    settings.json   what was trained; a directory that belongs to other settings is refused
    metrics.jsonl   one line an epoch, reproducible to the last bit
    times.jsonl     seconds of each epoch
    checkpoints/    the state after the last two epochs, see `experiments.common.checkpoints`

Killing the process at any moment and running the same command again continues after the last
checkpoint and ends with the same metrics.jsonl, byte by byte, as a run that was left alone.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from experiments.common.checkpoints import Checkpoints
from experiments.common.metrics import append_record, truncate_records
from experiments.common.training import Training, TrainState

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
      KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.
    """
    directory = Path(directory)
    claim_directory(directory, settings)
    state = jax.jit(training.init)(key)
    checkpoints = Checkpoints(directory / "checkpoints")
    restored = checkpoints.restore_newest(state)
    epoch = 0
    if restored is not None:
        epoch, state = restored
    for name in (METRICS, TIMES):
        truncate_records(directory / name, epoch)
    if training.finished(state):
        print(
            f"{label}: already trained ({epoch} epochs in {directory}).",
            file=sys.stderr,
        )
        checkpoints.close()
        return state
    if epoch:
        print(f"{label}: going on after epoch {epoch} in {directory}.", file=sys.stderr)
    step = jax.jit(training.epoch, donate_argnums=0)
    try:
        with tqdm(total=training.epochs, initial=epoch, desc=label, unit="epoch") as bar:
            while not training.finished(state):
                start = time.perf_counter()
                state, metrics = step(state)
                record = {"epoch": epoch + 1} | {name: float(x) for name, x in metrics.items()}
                append_record(directory / METRICS, record)
                seconds = round(time.perf_counter() - start, 3)
                append_record(directory / TIMES, {"epoch": epoch + 1, "seconds": seconds})
                checkpoints.save(epoch + 1, state)
                epoch += 1
                bar.set_postfix({name: f"{float(x):.3f}" for name, x in metrics.items()})
                bar.update()
    except KeyboardInterrupt:
        print(
            f"\n{label}: stopped. Every finished epoch is saved in {directory}; "
            "the same command continues from there.",
            file=sys.stderr,
        )
        raise
    finally:
        checkpoints.close()
    return state


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
