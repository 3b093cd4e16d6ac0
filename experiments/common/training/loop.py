"""The training loop: progress, metrics.jsonl, checkpoints, loggers, exact resume.

If the process is killed at any moment, the same command resumes from the last checkpoint and ends
with the same metrics.jsonl, byte for byte, as an undisturbed run.

In this folder, `run_directory` says what a run writes, and `scale` on how many devices it trains.
With several processes all of them train, and only the writer has the directory, see `processes`.
"""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments.common.monitoring import shows_progress
from experiments.common.outputs import reporting
from experiments.common.training.checkpoints import with_typed_keys, without_typed_keys
from experiments.common.training.functional import Training, TrainState
from experiments.common.training.metrics import read_records
from experiments.common.training.processes import (
    broadcast_from_writer,
    check_same_everywhere,
    detect_lost_processes,
)
from experiments.common.training.recording import RunLog, open_log
from experiments.common.training.run_directory import (
    METRICS,
    TIMES,
    RunDirectory,
    SettingsMismatchError,
    open_run_directory,
    share_records,
)
from experiments.common.training.scale import (
    current_scale,
    local_copy,
    replicate,
    replicated_outputs,
    use_mesh,
)
from grujax.sweep.progress import progress_bar

__all__ = ["METRICS", "TIMES", "SettingsMismatchError", "run"]


def run(
    training: Training,
    key: jax.Array,
    directory: Path,
    settings: dict[str, Any],
    label: str,
) -> TrainState:
    """Trains in `directory`, resuming where an earlier run of the same settings stopped.

    Args:
      training: the training.
      key: its random key; unused when there is a checkpoint.
      directory: the run directory, created if it does not exist.
      settings: everything that determines the result, as JSON values.
      label: the title of the progress.

    Returns: the final state (use its `best_params`).

    Raises:
      SettingsMismatchError: `directory` belongs to a training with other settings.
      DirectoryInUseError: another process trains in `directory`.
      DamagedFileError: settings.json has a wrong checksum.
      CheckpointError: the newest checkpoint cannot be restored, see `Checkpoints.restore_newest`.
      OSError: `directory` cannot be read or written.
      ScaleError: batches do not divide over the devices, or processes differ.
      LostProcessError: another process has ended.
      KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.
    """
    scale = current_scale()
    scale.check(training.rows)
    mesh = scale.mesh()
    settings = settings | scale.settings()
    check_same_everywhere("settings", settings)
    local = jax.jit(training.init)(key)
    with open_run_directory(Path(directory), settings, label) as files:
        if files is not None:
            local = files.restore(training, local)
        arrays = broadcast_from_writer(without_typed_keys(local))
        state = with_typed_keys(replicate(arrays, mesh), local)
        local = local_copy(state, mesh)
        with open_log(None if files is None else files.path, settings) as log:
            for record in () if files is None else read_records(files.path / METRICS):
                log.record(record.pop("epoch"), record)
            if not training.finished(local):
                local = _train(training, state, files, log, label)
            log.end()
    share_records(Path(directory))
    return local


def _train(
    training: Training, state: TrainState, files: RunDirectory | None, log: RunLog, label: str
) -> TrainState:
    """Trains to the end from a replicated state; returns the local copy of the final one."""
    scale = current_scale()
    mesh = scale.mesh()
    epoch = jax.jit(
        partial(training.epoch, scale=scale), donate_argnums=0, **replicated_outputs(mesh)
    )
    local = local_copy(state, mesh)
    is_shown, epochs = files is not None and shows_progress(), int(local.epoch)
    with progress_bar(is_shown, training.epochs, epochs, "epoch", label, seconds=0) as update:
        while not training.finished(local):
            start = time.perf_counter()
            with detect_lost_processes(), use_mesh(mesh):
                state, metrics = epoch(state)
                values = {name: float(x) for name, x in metrics.items()}
            local = local_copy(state, mesh)
            if files is not None:
                # The result of the last epoch is reported even if the disk is full.
                with reporting(files.path) if training.finished(local) else nullcontext():
                    files.record(local, values, start)
                log.record(int(local.epoch), values)
            update(1, values)
    return local
