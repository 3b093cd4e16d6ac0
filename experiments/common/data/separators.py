"""What separates the cells of a user's table."""

import csv
import io
from itertools import islice

SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}  # ties: the first
_CHARACTERS, _ROWS = 1_000_000, 200  # of a table that are looked at


def find_separator(text: str, width: int) -> str | None:
    """The separator for which most rows have as many cells as the first one, at least `width`.

    `csv.Sniffer` is not used: the commas within sentences mislead it.

    Returns: one of `SEPARATORS`, or None if the first row has fewer cells with all of them.
    """

    def count(separator: str) -> int:
        reader = csv.reader(io.StringIO(text[:_CHARACTERS], newline=""), delimiter=separator)
        try:
            sizes = [len(row) for row in islice(reader, _ROWS) if row]
        except csv.Error:
            return 0
        return sizes.count(sizes[0]) if sizes and sizes[0] >= width else 0

    best = max(SEPARATORS, key=count)
    return best if count(best) else None
