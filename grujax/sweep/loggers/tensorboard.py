"""A logger that writes TensorBoard's event files."""

from __future__ import annotations

import shutil
import socket
import struct
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grujax.checks import check_path
from grujax.sweep.loggers.lines import append_bytes
from grujax.sweep.loggers.logger import Logger, missing_package, rows_of


@dataclass
class TensorBoardLogger(Logger):
    """Writes a folder of events for each run, for `tensorboard --logdir FOLDER`.

    The hyperparameters and the scalar metrics `[]` are a row of the table HParams, where a run that
    failed says so. The curves `[n]` and the scalars are in Scalars. Needs tensorboardX.

    Args:
        folder: where the folders of the runs are; created if it does not exist.

    Raises:
        ValueError: the folder is no path.
        ImportError: without tensorboardX.

    Example:
        >>> logger = TensorBoardLogger("runs/logs")  # doctest: +SKIP
    """

    folder: str | Path
    _file: Path = field(default=Path(), init=False, repr=False)
    _hyperparameters: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _logged: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = check_path("folder", self.folder)
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise missing_package(self, "tensorboardX", "loggers") from error

    def discard(self, runs: Collection[str]) -> None:
        """Removes the folders of these runs."""
        for run in runs:
            shutil.rmtree(Path(self.folder) / run, ignore_errors=True)

    def start(self, run: str, hyperparameters: Mapping[str, Any], step: int = 0) -> None:
        """Names a file in the folder of the run."""
        from tensorboardX.proto.event_pb2 import SessionLog

        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{uuid.uuid4().hex}"
        self._file = Path(self.folder) / run / name
        self._hyperparameters, self._logged = dict(hyperparameters), set()
        self._write([{"file_version": "brain.Event:2"}])
        if step:  # TensorBoard ignores what earlier files have at this step and later
            self._write([{"session_log": SessionLog(status=SessionLog.START)}], step)

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Writes scalars."""
        self._logged |= curves.keys()
        self._write(({"summary": _scalars(values)} for values in rows_of(curves)), step)

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Writes the row of the table."""
        new = {name: value for name, value in metrics.items() if name not in self._logged}
        row = _table_row(self._hyperparameters, metrics, failed)
        for summary in (_scalars(new), *row):
            self._write([{"summary": summary}])

    def _write(self, contents: Iterable[dict[str, Any]], step: int = 0) -> None:
        """Appends events of consecutive steps.

        `SummaryWriter` of tensorboardX has a thread and a queue of processes for each file, and
        waits for the disk: it takes ten times longer.
        """
        from tensorboardX.proto.event_pb2 import Event

        events = (
            Event(wall_time=time.time(), step=step + index, **content)
            for index, content in enumerate(contents)
        )
        append_bytes(self._file, b"".join(_frame(event.SerializeToString()) for event in events))


def _frame(data: bytes) -> bytes:
    """A record of the format TFRecord: its length and its content, each with a checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + sums[0] + data + sums[1]


def _scalars(values: Mapping[str, Any]) -> Any:
    """The summary of one step."""
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=x) for name, x in values.items()])


def _table_row(
    hyperparameters: Mapping[str, Any], metrics: Mapping[str, Any], failed: bool
) -> list[Any]:
    """The summaries that make a row of the table HParams."""
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo
    from tensorboardX.summary import hparams

    experiment, start, end = hparams(dict(hyperparameters), dict(metrics))
    if failed:
        info = SessionEndInfo(status=Status.Value("STATUS_FAILURE"))
        content = HParamsPluginData(session_end_info=info, version=0)
        end.value[0].metadata.plugin_data.content = content.SerializeToString()
    return [experiment, start, end]
