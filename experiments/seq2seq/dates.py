"""Generated pairs of dates: as people write and type them, and in ISO 8601.

The written formats and names, in many languages, come from the Unicode CLDR, through Babel. The
typed ones are English and numeric. Between slashes the month comes first, unless that number is
above 12; between dots the day does. Years of two digits are in 1970 to 2069.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from babel.dates import format_date, get_month_names

LOCALES = (
    *("en", "de", "fr", "it", "es", "pt", "nl", "sv", "pl", "cs"),
    *("fi", "hu", "tr", "ro", "id", "vi", "el", "ru", "uk", "ja", "zh", "ko"),
)
# Not "short": it omits the century, and 03/04 is ambiguous.
FORMATS = ("medium", "long", "full")
TYPED = "typed"  # in the place of a locale
TYPED_SHARE = 0.25
MONTHS = tuple(get_month_names(locale="en").values())
_NUMERIC = re.compile(r"(?<!\d)(\d{1,2})([/.])\s*(\d{1,2})\2\s*(\d{2}|\d{4})(?!\d)")
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)


class Dates(NamedTuple):
    """N dates, each in one locale and format, or `TYPED`."""

    texts: list[str]
    iso: list[str]
    locales: list[str]


def draw_days(num_days: int, seed: int) -> np.ndarray:
    """Draws distinct days between `FIRST` and `LAST`, as proleptic ordinals [num_days]."""
    days = np.arange(FIRST.toordinal(), LAST.toordinal() + 1)
    return np.random.default_rng(seed).choice(days, num_days, replace=False)


def write_dates(days: np.ndarray, per_day: int, seed: int) -> Dates:
    """Writes every day in `per_day` random formats, some typed, most in a random locale."""
    random = np.random.default_rng(seed)
    rows = []
    for day in np.repeat(days, per_day):
        when = date.fromordinal(int(day))
        if random.random() < TYPED_SHARE:
            rows.append((_type_date(when, random), when.isoformat(), TYPED))
            continue
        locale = str(random.choice(LOCALES))
        form = str(random.choice(FORMATS))
        rows.append((format_date(when, form, locale=locale), when.isoformat(), locale))
    return Dates(*map(list, zip(*rows, strict=True)))


def _type_date(when: date, random: np.random.Generator) -> str:
    """A date as people type it."""

    def choose(*options: str) -> str:
        return options[random.integers(len(options))]

    month, day = when.month, when.day
    short = 1970 <= when.year < 2070 and random.random() < 0.5
    year = f"{when.year % 100:02}" if short else f"{when.year}"
    month_first = f"{month}/{day}/{year}", f"{month:02}/{day:02}/{year}"
    day_first = f"{day}/{month}/{year}", f"{day:02}/{month:02}/{year}"
    name = MONTHS[month - 1]
    name = choose(name, name.lower(), name[:3], name[:3].lower())
    ending = "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    number = choose(f"{day}", f"{day}{ending}")
    comma = choose("", ",")
    return choose(
        f"{name} {number}{comma} {when.year}",
        f"{number} {name}{comma} {when.year}",
        f"{day}{ending} of {name}{comma} {when.year}",
        choose(when.isoformat(), f"{when.year}/{month:02}/{day:02}", f"{when.year}/{month}/{day}"),
        choose(*month_first, *(day_first if day > 12 else month_first)),
        choose(f"{day}.{month}.{year}", f"{day:02}.{month:02}.{year}"),
    )


def agrees(text: str, iso: str) -> bool:
    """Whether the numbers of a text are those of a date: day and year, or day, month and year.

    A year may have its last two digits alone.
    """
    try:
        when = date.fromisoformat(iso)
    except ValueError:
        return False
    numbers = Counter(int(digits) for digits in re.findall(r"[0-9]+", text))
    years: Sequence[int] = (when.year, when.year % 100)
    return any(
        numbers in (Counter((when.day, year)), Counter((when.day, when.month, year)))
        for year in years
    )


def describe_reading(text: str, iso: str) -> str | None:
    """How a text was read that can also mean another day; None: it cannot."""
    found = _NUMERIC.search(text)
    if found is None:
        return None
    first, second, year = int(found[1]), int(found[3]), found[4]
    parts = []
    if max(first, second) <= 12 and first != second:
        when = date.fromisoformat(iso)
        order = "month" if when.month == first else "day"
        other = date(when.year, when.day, when.month)
        parts.append(f"with the {order} first; in the other order it is {other.isoformat()}")
    if len(year) == 2:
        parts.append("with a year in 1970 to 2069")
    return f"{found[0]} is read {' and '.join(reversed(parts))}." if parts else None
