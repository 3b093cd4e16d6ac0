"""Cells of a user's table as numbers and times, in the notations that spreadsheets write.

Numbers may have a currency sign, thousands in groups of three (1,234.5 or 1.234,5 or 1 234,5 or
1'234.5), and a decimal comma. Dates with points (31.12.2024) begin with the day. All cells of a
column have one notation; if they leave it open, a note says how they were read.
"""

import re
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

Decimal = Literal[".", ","]


class Notation(NamedTuple):
    """How the cells of a table are written; None: as the cells show."""

    decimal: Decimal | None = None  # the decimal mark of numbers
    dates: str | None = None  # the format of dates, as for `strptime`


AS_SHOWN = Notation()


MISSING = {"", "-", "–", "—", "na", "n/a", "#n/a", "nan", "nat", "null", "none"}
_GROUP_SPACE = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f'’](?=\d{3}(?!\d))")
_CODE = re.compile(r"^([A-Z]{3})\s+(?=[-+\d])|(?<=[\d)])\s*([A-Z]{3})$")  # such as EUR
_NUMERIC_DATE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})\b")


def _number_pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    whole = rf"[1-9]\d{{0,2}}(?:{thousands}\d{{3}})+|\d+"
    return re.compile(rf"[-+]?(?:(?:{whole})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][-+]?\d+)?")


_FORMS = {".": _number_pattern(r"\.", ","), ",": _number_pattern(",", r"\.")}  # by decimal mark


class CellError(ValueError):
    """A cell is not what its column holds; the message says what it is not."""

    def __init__(self, index: int, problem: str, share: float = 0.0):
        super().__init__(problem)
        self.index = index  # the first such cell
        self.share = share  # of such cells


class Column(NamedTuple):
    """The N cells of a column as numbers or times."""

    values: np.ndarray | pd.DatetimeIndex  # float [N], NaN where a cell is missing
    note: str | None  # how the cells were read, if that is not plain


def parse_numbers(cells: Sequence[str], decimal: Decimal | None, spreadsheet: bool) -> Column:
    """Reads the cells of a column as numbers.

    Args:
      cells: [N].
      decimal: the decimal mark; None: what the cells show.
      spreadsheet: whether the table has semicolons or tabs. There, 1,234 has a decimal comma; in a
        table with commas it is a thousand.

    Raises:
      CellError: a cell is no number, or has another currency than those before it.
    """
    texts, currency = [], ""
    for i, cell in enumerate(cells):
        text, sign = _split_currency(cell)
        if sign and currency and sign != currency:
            raise CellError(i, f"in {sign}, but the cells before it are in {currency}")
        currency = currency or sign
        texts.append("" if text.lower() in MISSING else text)
    by_point, by_comma = (
        np.array([bool(form.fullmatch(text)) for text in texts], bool) for form in _FORMS.values()
    )
    readable = zip(texts, by_point | by_comma, strict=True)
    marked = [text for text, fits in readable if fits and ("." in text or "," in text)]
    note = None
    if decimal is None and marked:
        only_point, only_comma = (by_point & ~by_comma).sum(), (by_comma & ~by_point).sum()
        is_open = only_point == only_comma == 0
        prefers_comma = spreadsheet and all("," in text for text in marked)
        decimal = "," if only_comma > only_point or (is_open and prefers_comma) else "."
        example = next((text for text in marked if "," in text), marked[0])
        if is_open or decimal == ",":
            note = f"{example!r} is read as {_to_float(example, decimal):g}"
        if is_open:
            other = "." if decimal == "," else ","
            note += f"; with `--decimal {other}` it is {_to_float(example, other):g}"
    by_mark = by_comma if decimal == "," else by_point
    values = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if text and by_mark[i]:
            values[i] = _to_float(text, decimal or ".")
        if text and not np.isfinite(values[i]):
            mark = "comma" if decimal == "," else "point"
            is_other = by_point[i] or by_comma[i]
            raise CellError(i, f"not a number{f' with a decimal {mark}' if is_other else ''}")
    return Column(values, note)


def is_number(cell: str) -> bool:
    """Whether a cell is a number in some notation."""
    text, _ = _split_currency(cell)
    return any(form.fullmatch(text) for form in _FORMS.values())


def parse_times(cells: Sequence[str], form: str | None) -> Column:
    """Reads the cells of a column as times; those with an offset from UTC are converted to UTC.

    Args:
      cells: [N].
      form: the format of the dates, as for `strptime`; None: what the cells show.

    Raises:
      CellError: a cell is no time in the format of the others.
    """
    note, day_first = None, False
    if form is None:
        day_first, note = _day_comes_first(cells)
    options = {"format": form} if form else {"dayfirst": day_first}
    series = pd.Series([None if cell.lower() in MISSING else cell for cell in cells], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about cells that are no times
        times = pd.to_datetime(series, errors="coerce", utc=True, **options)
        if times.isna().any() and form is None:  # ISO times, some with fractions of seconds
            iso = pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601")
            times = times if iso.isna().any() else iso
    if times.isna().any():
        i = int(np.flatnonzero(times.isna())[0])
        wanted = f"the format {form!r}" if form else "the format of the rows before it"
        raise CellError(i, f"not a time in {wanted}", float(times.isna().mean()))
    return Column(pd.DatetimeIndex(times).tz_localize(None), note)


def _split_currency(cell: str) -> tuple[str, str]:
    """A number without its currency, group spaces, and the brackets of a negative amount."""
    text = cell.strip().replace("\u2212", "-")
    code = _CODE.search(text)
    signs = [character for character in text if unicodedata.category(character) == "Sc"]
    if code:
        signs.append(code[1] or code[2])
        text = _CODE.sub("", text, count=1)
    text = "".join(c for c in text if unicodedata.category(c) != "Sc").strip()
    if text.startswith("(") and text.endswith(")"):
        text = f"-{text[1:-1].strip()}"
    text = re.sub(r"^([-+])\s+", r"\1", text)
    return _GROUP_SPACE.sub("", text), "".join(signs)


def _to_float(text: str, decimal: str) -> float:
    groups = "." if decimal == "," else ","
    return float(text.replace(groups, "").replace(decimal, "."))


def _day_comes_first(cells: Sequence[str]) -> tuple[bool, str | None]:
    """Whether dates such as 03/04/2024 begin with the day; a note if the cells leave it open."""
    matches = [match for match in map(_NUMERIC_DATE.match, cells) if match]
    if not matches or matches[0][2] == ".":
        return bool(matches), None
    first, second = (max(int(match[group]) for match in matches) for group in (1, 3))
    if first > 12 or second > 12:
        return first > 12, None
    text = matches[0][0]
    return False, (
        f"{text!r} is read with the month first; `--date-format` names another order, such as "
        f"'%d{matches[0][2]}%m{matches[0][2]}%Y'"
    )
