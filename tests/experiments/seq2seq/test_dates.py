"""Dates as people type them, and whether an answer agrees with the text."""

from datetime import date

import numpy as np
import pytest

from experiments.seq2seq import dates


def test_typed_dates_agree_with_their_day_and_have_their_forms():
    days = np.arange(date(1965, 1, 1).toordinal(), date(1975, 1, 1).toordinal())
    written = dates.write_dates(days, 4, seed=0)
    rows = list(zip(written.texts, written.iso, written.locales, strict=True))
    typed = [(text, iso) for text, iso, locale in rows if locale == dates.TYPED]
    assert 0.2 < len(typed) / len(rows) < 0.3
    assert all(dates.agrees(text, iso) for text, iso in typed)
    assert all(dates.agrees(text, iso) for text, iso, _ in rows)
    meanings: dict[str, str] = {}
    assert all(meanings.setdefault(text, iso) == iso for text, iso, _ in rows)
    texts = dict(typed)
    for form in ("march", "mar ", "Mar ", "3rd", "1st", "2nd", "11th", " of ", ", 1970", "1970-"):
        assert any(form in text for text in texts), form
    for text, iso in typed:
        if "/" in text and not text.startswith("19"):
            first, second, _ = map(int, text.split("/"))
            assert (first, second) in ((int(iso[5:7]), int(iso[8:])), (int(iso[8:]), int(iso[5:7])))
            assert first == int(iso[5:7]) or first > 12
        if "." in text:
            assert int(text.split(".")[0]) == int(iso[8:])


@pytest.mark.parametrize(
    ("text", "iso", "expected"),
    [
        ("march 3rd, 2021", "2021-03-03", True),
        ("3/4/21", "2021-03-04", True),
        ("неділя, 2 серпня 2065 р.", "2065-08-02", True),
        ("2021年3月3日", "2021-03-03", True),
        ("march 3rd, 2021", "2021-10-04", False),
        ("the weather is nice", "1903-10-04", False),
        ("", "1901-01-01", False),
        ("march 2021", "2021-03-01", False),
        ("3/4/5/21", "2021-03-04", False),
        ("30 February 2021", "2021-02-30", False),
        ("3 March 2021", "no date", False),
    ],
)
def test_the_numbers_of_a_text_are_those_of_its_date(text, iso, expected):
    assert dates.agrees(text, iso) == expected


@pytest.mark.parametrize(
    ("text", "iso", "expected"),
    [
        (
            "due 3/4/2021",
            "2021-03-04",
            "3/4/2021 is read with the month first; in the other order it is 2021-04-03.",
        ),
        (
            "3/4/2021",
            "2021-04-03",
            "3/4/2021 is read with the day first; in the other order it is 2021-03-04.",
        ),
        (
            "3.4.21",
            "2021-04-03",
            "3.4.21 is read with a year in 1970 to 2069 and with the day first; in the other order "
            "it is 2021-03-04.",
        ),
        ("25/12/21", "2021-12-25", "25/12/21 is read with a year in 1970 to 2069."),
        ("5/5/2021", "2021-05-05", None),
        ("13/4/2021", "2021-04-13", None),
        ("2021-03-04", "2021-03-04", None),
        ("3 March 2021", "2021-03-03", None),
    ],
)
def test_an_ambiguous_date_says_how_it_is_read(text, iso, expected):
    assert dates.describe_reading(text, iso) == expected
