"""Measures all libraries at one setting, and keeps the measurements in a CSV file."""

import csv
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.grid import roofline_ms
from experiments.benchmark.peers import MODES, Setting, can_run, compile_program, make_problem
from experiments.common.durable import DamagedFileError, write_durably
from experiments.common.report.timing import machine_runs, time_interleaved


@dataclass(frozen=True)
class Measurement(Setting):
    """One row of the CSV: a library at one setting, in one mode."""

    library: str = ""
    mode: str = ""
    median_ms: float = 0.0
    lower_ms: float = 0.0  # lower quartile
    upper_ms: float = 0.0
    rounds: int = 0
    roofline_ms: float = 0.0
    compile_s: float | None = None  # all work before the first call; empty for torch
    temporaries_mb: float | None = None  # without arguments and results; only of XLA's programs
    matmul_gflops: float = 0.0  # of this machine, per second, while the point was measured
    stream_gbytes: float = 0.0

    @property
    def setting(self) -> Setting:
        """The fields of `Setting` alone."""
        return Setting(*(getattr(self, field.name) for field in fields(Setting)))


FIELDS = fields(Measurement)
CHECKSUM = "crc32"  # the column after them


def contestants(setting: Setting, columns: list[str]) -> dict[tuple[str, str], tuple[str, bool]]:
    """The rows to measure: by name and mode (library, whether it gets the setting's mask)."""
    rows = {name: (name, True) for name in columns}
    if setting.kind in ("lengths", "resets"):
        rows[f"{columns[0]} unmasked"] = (columns[0], False)
    return {
        (row, mode): (library, is_masked)
        for row, (library, is_masked) in rows.items()
        for mode in MODES
        if can_run(library, setting, mode)
    }


def measure(setting: Setting, columns: list[str], seconds: float) -> list[Measurement]:
    """Compiles all programs for one point, then times them in turns."""
    problem = make_problem(setting)
    unmasked = problem._replace(lengths=None, resets=None)
    programs = {
        (row, mode): compile_program(library, problem if is_masked else unmasked, mode)
        for (row, mode), (library, is_masked) in contestants(setting, columns).items()
    }
    machine = machine_runs()
    runs = {f"{row}/{mode}": program.run for (row, mode), program in programs.items()}
    times = time_interleaved(runs | {name: run for name, (run, _) in machine.items()}, seconds)
    flops, bytes_ = (work / np.median(times[name]) for name, (_, work) in machine.items())
    measurements = []
    for (row, mode), program in programs.items():
        lower, median, upper = 1e3 * np.percentile(times[f"{row}/{mode}"], (25, 50, 75))
        megabytes = None if program.temporaries is None else program.temporaries / 1e6
        measurements.append(
            Measurement(
                **asdict(setting),
                library=row,
                mode=mode,
                median_ms=round(median, 5),
                lower_ms=round(lower, 5),
                upper_ms=round(upper, 5),
                rounds=len(times[f"{row}/{mode}"]),
                roofline_ms=round(roofline_ms(setting, mode, flops, bytes_), 5),
                compile_s=program.compile_seconds and round(program.compile_seconds, 3),
                temporaries_mb=megabytes,
                matmul_gflops=round(flops / 1e9, 1),
                stream_gbytes=round(bytes_ / 1e9, 2),
            )
        )
    return measurements


def read_csv(path: Path) -> list[Measurement]:
    """Reads what `write_csv` wrote; returns an empty list if there is no file.

    Raises:
      DamagedFileError: a row is not as it was written.
      OSError: the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_read_row(row) for row in csv.DictReader(file, strict=True)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DamagedFileError(
            f"{path} is damaged ({error}). Move it away, or measure everything anew with --fresh."
        ) from error


def _read_row(row: dict[str, str]) -> Measurement:
    cells = [row[field.name] for field in FIELDS]
    if row.get(CHECKSUM, _checksum(cells)) != _checksum(cells):  # earlier versions wrote none
        raise ValueError(f"a row of {row['library']} has the wrong checksum")
    parsed = {field.name: _parse(row[field.name], field.type) for field in FIELDS}
    return Measurement(**parsed)


def _parse(text: str, kind: Any) -> Any:
    if kind is str or kind is int:
        return kind(text)
    return float(text) if text else None


def write_csv(path: Path, measurements: list[Measurement]) -> None:
    """Replaces the file atomically. The last column is a checksum of the others."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*(field.name for field in FIELDS), CHECKSUM])
    for measurement in measurements:
        values = asdict(measurement).values()
        cells = ["" if value is None else str(value) for value in values]
        writer.writerow([*cells, _checksum(cells)])
    write_durably(path, text.getvalue().encode())


def _checksum(cells: Sequence[str]) -> str:
    return f"{zlib.crc32(json.dumps(cells).encode()):08x}"
