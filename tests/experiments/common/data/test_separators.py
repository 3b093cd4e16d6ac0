"""What separates the cells of a table, in files that spreadsheets and people write."""

import pytest

from experiments.common.data.separators import find_separator


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("text,label\nhello; world,good\nso; so; so,bad\n", ","),
        ("date;value\n2024-01-01;1,5\n2024-01-02;2,5\n", ";"),
        ("date;value, net\n2024-01-01;1,5\n2024-01-02;2,5\n", ";"),  # as many cells with commas
        ("a\tb, c\n1\t2, 3\n", "\t"),
        ("a|b\n1,2|3\n4|5,6\n", "|"),
        ('"a;b",c\n"d;e",f\n', ","),
        ('"one\ntwo, three";x\nfour;y\n', ";"),  # a cell of two lines
        ("a,b\n1,2,3\n4,5,6\n", ","),  # a faulty table, whose header says what is meant
        ("value\n1,5\n2,5\n", None),  # one column
        ("", None),
    ],
)
def test_most_rows_have_as_many_cells_as_the_first(text, separator):
    assert find_separator(text, width=2) == separator


def test_a_separator_makes_enough_cells():
    text = "a,b;c,d\n" * 3
    assert find_separator(text, width=3) == ","
    assert find_separator(text, width=4) is None


def test_a_large_file_is_read_in_part():
    assert find_separator("a;b\n" + "1;2\n" * 300_000 + "x,y\n" * 300_000, width=2) == ";"
