"""Generated pairs of dates: as people write them in many languages, and in ISO 8601.

The formats and names come from the Unicode CLDR, through Babel.
"""

from datetime import date
from typing import NamedTuple

import numpy as np
from babel.dates import format_date

LOCALES = (
    *("en", "de", "fr", "it", "es", "pt", "nl", "sv", "pl", "cs"),
    *("fi", "hu", "tr", "ro", "id", "vi", "el", "ru", "uk", "ja", "zh", "ko"),
)
# Not "short": it omits the century, and 03/04 is ambiguous.
FORMATS = ("medium", "long", "full")
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)


class Dates(NamedTuple):
    """N dates, each in one locale and format."""

    texts: list[str]
    iso: list[str]
    locales: list[str]


def draw_days(num_days: int, seed: int) -> np.ndarray:
    """Draws distinct days between `FIRST` and `LAST`, as proleptic ordinals [num_days]."""
    days = np.arange(FIRST.toordinal(), LAST.toordinal() + 1)
    return np.random.default_rng(seed).choice(days, num_days, replace=False)


def write_dates(days: np.ndarray, per_day: int, seed: int) -> Dates:
    """Writes every day in `per_day` random locales and formats."""
    random = np.random.default_rng(seed)
    rows = []
    for day in np.repeat(days, per_day):
        locale = str(random.choice(LOCALES))
        form = str(random.choice(FORMATS))
        when = date.fromordinal(int(day))
        rows.append((format_date(when, form, locale=locale), when.isoformat(), locale))
    return Dates(*map(list, zip(*rows, strict=True)))
