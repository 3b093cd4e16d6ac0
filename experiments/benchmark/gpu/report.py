"""The GPU benchmark's points, their tables, and their CSV file."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from experiments.benchmark.peers import MODES
from experiments.common.report import format_table

DTYPES = ("float32", "bfloat16")
COLUMNS = ("cuda", "cuDNN", "lax.scan", "flax")


@dataclass(frozen=True)
class Point:
    """One row of the CSV: microseconds per step."""

    dtype: str
    batch: int
    units: int
    mode: str
    contestant: str
    microseconds: float
    limit: float  # microseconds


def format_points(points: Sequence[Point], dtype: str) -> str:
    """The table for one dtype: forward / training, in microseconds per step."""
    by_key = {(p.batch, p.units, p.mode, p.contestant): p for p in points if p.dtype == dtype}
    rows = []
    for units, batch in dict.fromkeys((units, batch) for batch, units, *_ in by_key):
        times = {
            name: [by_key[batch, units, mode, name].microseconds for mode in MODES]
            for name in COLUMNS
        }
        limits = [by_key[batch, units, mode, "cuda"].limit for mode in MODES]
        rows.append(
            [
                str(units),
                str(batch),
                *(" / ".join(f"{time:.2f}" for time in times[name]) for name in COLUMNS),
                *(_quotients(times[name], times["cuda"], ".1f") for name in ("cuDNN", "lax.scan")),
                _quotients(limits, times["cuda"], ".0%"),
            ]
        )
    header = ["H", "B", "grujax", *COLUMNS[1:], "to cuDNN", "to scan", "limit"]
    return f"{dtype}, forward / training, µs per step:\n\n{format_table(header, rows)}"


def _quotients(numerators: Sequence[float], denominators: Sequence[float], form: str) -> str:
    pairs = zip(numerators, denominators, strict=True)
    return " / ".join(format(numerator / denominator, form) for numerator, denominator in pairs)


def summarize(points: Sequence[Point]) -> str:
    """The kernel's speedup over cuDNN and the scan: geometric mean and minimum."""
    times = {(p.dtype, p.batch, p.units, p.mode, p.contestant): p.microseconds for p in points}
    lines = []
    for dtype in DTYPES:
        for peer in ("cuDNN", "lax.scan"):
            for mode in MODES:
                ratios = [
                    times[*key, peer] / time
                    for (*key, name), time in times.items()
                    if name == "cuda" and key[0] == dtype and key[3] == mode and key[2] <= 256
                ]
                mean, least = np.exp(np.log(ratios).mean()), min(ratios)
                lines.append(
                    f"{dtype}, H ≤ 256, {mode}: {mean:.2f} times {peer}'s speed in the geometric "
                    f"mean, at least {least:.2f}"
                )
    return "\n".join(lines)


def write_csv(path: Path, points: Sequence[Point]) -> None:
    """Writes one row per point."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(points[0])))
        writer.writeheader()
        writer.writerows(map(asdict, points))
