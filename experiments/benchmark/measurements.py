"""What the benchmark measured, as rows of a CSV file."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from experiments.benchmark.peers import Setting


@dataclass(frozen=True)
class Measurement(Setting):
    """One row of the CSV: a library at a point, in one mode."""

    library: str = ""
    mode: str = ""
    median_ms: float = 0.0
    lower_ms: float = 0.0  # lower quartile
    upper_ms: float = 0.0
    rounds: int = 0
    roofline_ms: float = 0.0
    compile_s: float | None = None  # tracing and compiling; empty for torch
    temporaries_mb: float | None = None  # beside arguments and results; empty for torch
    matmul_gflops: float = 0.0  # per second, of this machine while the point was measured
    stream_gbytes: float = 0.0

    @property
    def setting(self) -> Setting:
        return Setting(*(getattr(self, field.name) for field in fields(Setting)))


FIELDS = fields(Measurement)


def read_csv(path: Path) -> list[Measurement]:
    """Reads what `write_csv` wrote; nothing where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Measurement(**{field.name: _parse(row[field.name], field.type) for field in FIELDS})
            for row in csv.DictReader(file)
        ]


def _parse(text: str, kind: Any) -> Any:
    if kind is str or kind is int:
        return kind(text)
    return float(text) if text else None


def write_csv(path: Path, measurements: list[Measurement]) -> None:
    """Writes all rows anew and moves them into place in one step."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in FIELDS])
        writer.writeheader()
        writer.writerows(asdict(m) for m in measurements)
    temporary.replace(path)
