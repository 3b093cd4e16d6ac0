"""Numbers and dates as spreadsheets of several countries write them."""

import numpy as np
import pytest

from experiments.common.data.cells import CellError, is_number, parse_numbers, parse_times


@pytest.mark.parametrize(
    ("cells", "spreadsheet", "values", "note"),
    [
        (["1.5", "-2e3", ".5", "7"], False, [1.5, -2000, 0.5, 7], None),
        (["1,234.50", "12"], False, [1234.5, 12], None),
        (["1.234,50 €", "−3,2 €"], True, [1234.5, -3.2], "'1.234,50' is read as 1234.5"),
        (["$1,234.50", "($3.20)", "- $ 1"], False, [1234.5, -3.2, -1], None),
        (["CHF 1'234.5", "1 234.5 CHF"], True, [1234.5, 1234.5], None),
        (["1\u00a0234,5", "1\u202f000"], True, [1234.5, 1000], "'1234,5' is read as 1234.5"),
        (["", "n/a", "#N/A", "–", "4"], False, [np.nan] * 4 + [4], None),
        (["0.123", "1.234"], True, [0.123, 1.234], None),  # no thousand begins with zero
        (["12.345.678"], False, [12345678], "'12.345.678' is read as 1.23457e+07"),
        # Cells that leave it open:
        (["1,234"], False, [1234], "'1,234' is read as 1234; with `--decimal ,` it is 1.234"),
        (["1,234"], True, [1.234], "'1,234' is read as 1.234; with `--decimal .` it is 1234"),
        (["1.234"], True, [1.234], "'1.234' is read as 1.234; with `--decimal ,` it is 1234"),
    ],
)
def test_numbers(cells, spreadsheet, values, note):
    column = parse_numbers(cells, None, spreadsheet)
    np.testing.assert_array_equal(column.values, values)
    assert column.note == note
    assert all(is_number(cell) for cell, value in zip(cells, values, strict=True) if value == value)


def test_the_decimal_mark_can_be_given():
    assert parse_numbers(["1.234"], ",", False).values == [1234]
    assert parse_numbers(["1,234"], ".", True).values == [1234]


@pytest.mark.parametrize(
    ("cells", "index", "message"),
    [
        (["1", "x"], 1, "not a number"),
        (["12,34,567"], 0, "not a number"),
        (["1.5", "2.5", "1,25"], 2, "not a number with a decimal point"),
        (["1e999"], 0, "not a number"),
        (["5 €", "$5"], 1, r"in \$, but the cells before it are in €"),
        (["+"], 0, "not a number"),
        (["50%"], 0, "not a number"),
    ],
)
def test_other_cells_are_refused(cells, index, message):
    with pytest.raises(CellError, match=message) as caught:
        parse_numbers(cells, None, False)
    assert caught.value.index == index


@pytest.mark.parametrize(
    ("cells", "form", "first"),
    [
        (["2024-02-01", "2024-02-02"], None, "2024-02-01"),
        (["01.02.2024", "02.02.2024"], None, "2024-02-01"),
        (["1.2.24", "11.2.24"], None, "2024-02-01"),
        (["01.02.2024 13:45"], None, "2024-02-01 13:45"),
        (["01/02/2024", "13/02/2024"], None, "2024-02-01"),
        (["01/02/2024", "01/13/2024"], None, "2024-01-02"),
        (["01/02/2024"], "%d/%m/%Y", "2024-02-01"),
        (["2024-01-01T01:00+02:00"], None, "2023-12-31 23:00"),
        (["Feb 2024", "Mar 2024"], None, "2024-02-01"),
    ],
)
def test_times(cells, form, first):
    column = parse_times(cells, form)
    assert column.values[0] == np.datetime64(first)
    assert column.note is None


def test_dates_that_leave_the_order_open_have_a_note():
    column = parse_times(["03/04/2024", "04/04/2024"], None)
    assert column.values[0] == np.datetime64("2024-03-04")
    assert column.note.startswith("'03/04/2024' is read with the month first; `--date-format`")
    assert column.note.endswith("such as '%d/%m/%Y'")


@pytest.mark.parametrize(
    ("cells", "form", "index", "message"),
    [
        (["2024-01-01", "soon"], None, 1, "not a time in the format of the rows before it"),
        (["31.12.2024", "31.02.2025"], None, 1, "not a time"),
        (["2024-01-01", ""], None, 1, "not a time"),
        (["2024-01-01"], "%d.%m.%Y", 0, "not a time in the format '%d.%m.%Y'"),
    ],
)
def test_other_times_are_refused(cells, form, index, message):
    with pytest.raises(CellError, match=message) as caught:
        parse_times(cells, form)
    assert caught.value.index == index
