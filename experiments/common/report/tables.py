"""Tables of results as text. This file imports no NumPy, for `--help`."""

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float]) -> str:
    """Formats fractions as a percentage: "65.1", or "65.1 ±0.8" (sample sd) for several."""
    percent = [100 * float(value) for value in values]
    deviation = f" ±{statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{statistics.fmean(percent):.1f}{deviation}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a table in columns: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))
        for row in [header, *rows]
    )
