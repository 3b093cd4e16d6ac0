"""Tables of results as text."""

from collections.abc import Sequence

import numpy as np


def mean_and_deviation(values: Sequence[float]) -> str:
    """Formats fractions as a percentage: "65.1", or "65.1 ±0.8" (sample sd) for several."""
    percent = 100 * np.asarray(values)
    return f"{percent.mean():.1f}" + (f" ±{percent.std(ddof=1):.1f}" if len(percent) > 1 else "")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a table in columns: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))
        for row in [header, *rows]
    )
