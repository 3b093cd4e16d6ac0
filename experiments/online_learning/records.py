"""Results of finished trainings, so that an interrupted command goes on where it was."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.common.durable import read_json, write_json

RECORD = "result.json"  # in the folder of a training


class Records:
    """The records below one folder, and the processor time that they took."""

    def __init__(self, directory: Path):
        self._directory = directory
        self.seconds = 0.0  # of all records that were made or read, on one core

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The result in the folder `name`, JSON values; `make()` makes it if there is none."""
        path = self._directory / name / RECORD
        if not path.exists():
            start = time.process_time()
            result = make()
            write_json(path, {"result": result, "seconds": time.process_time() - start})
        record = read_json(path)
        self.seconds += record["seconds"]
        return record["result"]
