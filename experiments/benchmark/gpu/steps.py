"""Steps of a measurement in order of importance, whose results outlive a stop and a crash.

`Results` is a JSON file that is written before and after each step. A step that ends without a
result, because it raised or because the process ended, gets a second attempt after all others.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from experiments.common.command import InputError
from experiments.common.durable import describe, read_json, write_json
from experiments.common.monitoring import shows_progress

ATTEMPTS = 2
ENDED = "the process ended during this step"


class Step(NamedTuple):
    """A measurement of some seconds; `run` returns a JSON value."""

    name: str
    run: Callable[[], Any]


class Unmeasured(Exception):  # noqa: N818
    """There is no figure; the message says why."""


@dataclass
class Record:
    """What became of a step, and when it ran last."""

    attempts: int = 0
    day: str = ""
    seconds: float = 0.0
    result: Any = None
    error: str = ""


class Results:
    """The records of all steps by name, and what they hold for."""

    def __init__(self, path: Path, about: Mapping[str, Any], fresh: bool = False):
        """Reads the file if there is one.

        Args:
          path: the file.
          about: the device, the versions, the settings: JSON values.
          fresh: begin anew.

        Raises:
          InputError: the file is about something else.
          DamagedFileError: the file does not hold what was written.
        """
        self.path, self.about = path, dict(about)
        self._records: dict[str, Record] = {}
        if fresh or not path.exists():
            return
        kept = read_json(path)
        differing = [
            name
            for name in sorted(about.keys() | kept["about"].keys())
            if about.get(name) != kept["about"].get(name)
        ]
        if differing:
            raise InputError(
                f"{path} has the results of another {' and '.join(differing)}. Measure everything "
                "anew with --fresh, or choose another folder with --out."
            )
        self._records = {name: Record(**record) for name, record in kept["records"].items()}

    def __getitem__(self, name: str) -> Any:
        """The result of a step.

        Raises:
          Unmeasured: there is none.
        """
        record = self._records.get(name, Record())
        if record.result is None:
            raise Unmeasured(record.error or f'the time was over before the step "{name}"')
        return record.result

    def get(self, name: str) -> Any:
        """The result of a step; None if there is none."""
        return self._records.get(name, Record()).result

    def error(self, name: str) -> str:
        """Why a step that was begun has no result; "" if it has one, or was not begun."""
        return self._records.get(name, Record()).error

    def attempts(self, name: str) -> int:
        """How often a step was begun."""
        return self._records.get(name, Record()).attempts

    def is_open(self, name: str) -> bool:
        """Whether a step may still get a result."""
        return self.get(name) is None and self.attempts(name) < ATTEMPTS

    def begin(self, name: str) -> None:
        """Notes an attempt. If the process ends now, that is the error."""
        self._set(name, Record(self.attempts(name) + 1, _today(), error=ENDED))

    def end(self, name: str, seconds: float, result: Any = None, error: str = "") -> None:
        """Notes the result of the attempt, or what it raised."""
        self._set(name, Record(self.attempts(name), _today(), round(seconds, 1), result, error))

    @property
    def days(self) -> list[str]:
        """The days on which steps ran."""
        return sorted({record.day for record in self._records.values()})

    def _set(self, name: str, record: Record) -> None:
        self._records[name] = record
        records = {name: asdict(record) for name, record in self._records.items()}
        write_json(self.path, {"about": self.about, "records": records})


def _today() -> str:
    return date.today().isoformat()


def run_steps(
    steps: Sequence[Step], results: Results, seconds: float, is_healthy: Callable[[], bool]
) -> None:
    """Runs the steps that have no result yet. An error is recorded, and the rest goes on.

    Args:
      steps: the most important one first.
      results: where results are kept.
      seconds: no step begins after this time.
      is_healthy: whether the device still works. It is asked after an error; if the device does
        not, no other step begins.
    """
    start = time.monotonic()
    todo = [step for step in steps if results.is_open(step.name)]
    todo.sort(key=lambda step: results.attempts(step.name))
    with tqdm(todo, unit="step", disable=not (todo and shows_progress())) as progress:
        for step in progress:
            begun = time.monotonic()
            if begun - start > seconds:
                break
            progress.set_description(step.name)
            results.begin(step.name)
            try:
                result = step.run()
            except Exception as error:
                what = f"{type(error).__name__}: {describe(error)}".splitlines()[0][:300]
                results.end(step.name, time.monotonic() - begun, error=what)
                progress.write(f"{step.name} failed: {what}")
                if not is_healthy():
                    progress.write("The device no longer works in this process: call again.")
                    break
            else:
                results.end(step.name, time.monotonic() - begun, result)
