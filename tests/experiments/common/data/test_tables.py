"""A column of a user's table: what is read, and what is refused by which name."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.common.command import InputError
from experiments.common.data import tables
from experiments.common.data.cells import Notation
from experiments.forecasting import user_table

DATES = pd.date_range("2020-01-01", periods=200, freq="D")


@pytest.fixture
def write(tmp_path):
    def write_text(text: str):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def daily(values, dates=DATES) -> str:
    rows = [f"{date:%Y-%m-%d},{value}" for date, value in zip(dates, values, strict=True)]
    return "\n".join(["day,level", *rows]) + "\n"


def test_a_complete_table(write):
    series = tables.read_series(write(daily(range(200))), "level", None)
    assert series.values.tolist() == list(range(200))
    assert series.times[0] == np.datetime64("2020-01-01")
    assert series.notes == []
    assert list(user_table.times_after(series, series.times[-1], 2)) == ["2020-07-19", "2020-07-20"]


def test_missing_cells_and_rows_become_nan(write):
    lines = daily(range(200)).splitlines()
    lines[5] = lines[5].split(",")[0] + ","  # the value 4
    del lines[11]  # the value 10
    series = tables.read_series(write("\n".join(lines)), "level", None)
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [4, 10]
    assert series.times[10] == np.datetime64("2020-01-11")
    assert series.notes == ["Rows are missing for 1 of the 200 steps."]


def test_rows_are_sorted_by_time(write):
    header, *rows = daily(range(200)).splitlines()
    series = tables.read_series(write("\n".join([header, *reversed(rows)])), "level", "day")
    assert series.values.tolist() == list(range(200))
    assert series.notes == ["The rows are sorted by 'day'."]


@pytest.mark.parametrize(("frequency", "ahead"), [("B", "2020-10-07"), ("MS", "2036-09-01")])
def test_steps_of_business_days_and_months(write, frequency, ahead):
    dates = pd.date_range("2020-01-01", periods=200, freq=frequency)
    series = tables.read_series(write(daily(range(200), dates)), "level", None)
    assert len(series.values) == 200
    assert list(user_table.times_after(series, series.times[-1], 1)) == [ahead]


def test_unequal_steps_are_rows_one_by_one(write):
    dates = DATES[np.sort(np.random.default_rng(0).choice(200, 100, replace=False))]
    series = tables.read_series(write(daily(range(100), dates)), "level", None)
    assert len(series.values) == 100
    [note] = series.notes
    assert note == "The steps of 'day' have unequal lengths: each row counts as one step."
    assert list(user_table.times_after(series, series.times[-1], 1)) == [
        f"{dates[-1]:%Y-%m-%d} + 1"
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_separators_quotes_and_a_byte_order_mark(write, separator):
    text = "\ufeff" + f'note{separator}x\n"a"{separator}"1.5"\n\n'
    series = tables.read_series(write(text), "x", None)
    assert series.values.tolist() == [1.5]
    assert list(user_table.times_after(series, series.times[-1], 2)) == ["row 3", "row 4"]
    assert series.notes == ["There is no time column: each row is one step."]


def test_a_table_of_a_german_spreadsheet(tmp_path):
    """Semicolons, CRLF, Windows-1252, decimal commas, euros, dates with points, a cell missing."""
    path = tmp_path / "Umsätze.csv"
    rows = [f"{day:02d}.03.2024;{1000 + day},50 €;{day % 3};Müller" for day in range(1, 31)]
    rows[4] = rows[4].replace("1005,50 €", "")
    path.write_bytes("\r\n".join(["Datum;Umsatz, netto;Aktion;Wer", *rows, ""]).encode("cp1252"))
    series = tables.read_series(path, "Umsatz, netto", None, ["Aktion"])
    assert series.times[0] == np.datetime64("2024-03-01")
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [4]
    assert series.values[0] == 1001.5
    np.testing.assert_array_equal(series.covariates["Aktion"], np.arange(1, 31) % 3)
    assert series.notes == ["Column 'Umsatz, netto': '1001,50' is read as 1001.5."]


def test_dates_in_a_given_format(write):
    text = "when,x\n03/04/2024,1\n04/04/2024,2\n05/04/2024,3\n"
    series = tables.read_series(write(text), "x", None)
    assert series.times[0] == np.datetime64("2024-03-04")
    assert "read with the month first" in series.notes[0]
    notation = Notation(dates="%d/%m/%Y")
    series = tables.read_series(write(text), "x", None, notation=notation)
    assert list(series.times) == list(pd.date_range("2024-04-03", periods=3).to_numpy())
    with pytest.raises(InputError, match=r"holds '03/04/2024' in row 2, .* format '%Y-%m-%d'"):
        tables.read_series(write(text), "x", "when", notation=Notation(dates="%Y-%m-%d"))


@pytest.mark.parametrize(
    ("text", "target", "time", "message"),
    [
        ("a,b\n1,2\n", "c", None, "`--target` is 'c'; .*table.csv has the columns a, b"),
        ("a,b\n1,2\n", None, None, "`--target` is missing; .* has the columns a, b"),
        ("a,b\n1,2\n", "b", "when", "`--time` is 'when'; .* has the columns a, b"),
        ("a,b\n1,2\n", "b", "b", "`--target`, `--time` and `--covariates` must name different"),
        ("a,b\n1,2\n1,?\n", "b", None, r"Column 'b' of .* holds '\?' in row 3, .* not a number"),
        ("a,b\n1,inf\n", "b", None, "holds 'inf' in row 2"),
        ("a,b\n1,2\n1\n", "b", None, "Row 3 of .* has 1 cell, but the header has 2"),
        ("a,a\n1,2\n", "a", None, "has the column 'a' more than once in row 1"),
        ("", "a", None, "has no header: row 1"),
        ("t,b\n2020-01-01,1\nsoon,2\n2020-01-03,2\n", "b", "t", "'t' of .* holds 'soon' in row 3"),
        ("t,b\n2020-01-01,1\nsoon,2\n2020-01-03,2\n", "b", None, "holds 'soon' in row 3"),
        ("t,b\n2020-01-01,1\n2020-01-02,2\n2020-01-01,3\n", "b", None, "repeats a time in row 4"),
    ],
)
def test_bad_tables_are_refused_by_column_and_row(write, text, target, time, message):
    with pytest.raises(InputError, match=message):
        tables.read_series(write(text), target, time)


def test_what_is_no_file_or_no_text(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        tables.read_series(tmp_path / "none.csv", "a", None)
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not a text file in UTF-16"):
        tables.read_series(tmp_path / "image.csv", "a", None)


def test_cells_and_headers_of_any_length_make_short_messages(write):
    long = "x" * 200_000
    for text, target, message in (
        (
            f"a,b\n1,2\n1,{long}\n",
            "b",
            r"Row 3 of .* is not readable: field larger than field limit",
        ),
        (f"a,b\n1,{'y' * 100_000}\n", "b", "Column 'b' of .* holds 'y{60} ...' in row 2"),
        (",".join(f"c{i}" for i in range(50_000)) + "\n", "b", "c18, c19, and 49980 more"),
        (f"{'n' * 100_000},b\n1,2\n", "c", r"columns n{60} \.\.\., b"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            tables.read_series(write(text), target, None)
        assert len(str(caught.value)) < 1500


def test_a_table_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(tables.LIMIT + 1)
    with pytest.raises(InputError, match="has 250,000,001 bytes; at most 250,000,000 are read"):
        tables.read_columns(path, ["a"])


def series_of(values, **covariates) -> tables.Series:
    times = DATES.to_numpy()[: len(values)]
    return tables.Series(np.asarray(values, float), times, DATES.freq, [], covariates)


def test_how_many_rows_are_needed():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"'level' is too short: .* needs (\d+) rows") as error:
        user_table.make_problem(series_of(rng.normal(size=40)), "level", 7, 28)
    needed = int(str(error.value).split(" needs ")[1].split()[0])
    for rows, enough in ((needed - 1, False), (needed, True)):
        series = series_of(rng.normal(size=rows))
        if enough:
            problem, _ = user_table.make_problem(series, "level", 7, 28)
            _, counts = np.unique(problem.parts[problem.split.train], return_counts=True)
            assert min(*counts, len(problem.split.test)) >= user_table.MIN_ORIGINS
        else:
            with pytest.raises(InputError, match="too short"):
                user_table.make_problem(series, "level", 7, 28)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(200, 3.0), "'level' holds 3 in every row"),
        (np.full(200, np.nan), "'level' holds no number"),
        (np.r_[np.arange(190.0), np.full(8, np.nan), [1.0, 2.0]], "a gap of more than 5 steps"),
    ],
)
def test_what_cannot_be_forecast(values, message):
    with pytest.raises(InputError, match=message):
        user_table.make_problem(series_of(values), "level", 7, 28)
    with pytest.raises(InputError, match="`--horizon` is 0"):
        user_table.make_problem(series_of(values), "level", 0, 28)


@settings(max_examples=8)  # each makes a whole problem
@given(
    st.sets(st.integers(1, 198), max_size=40),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_no_forecast_knows_what_comes(missing, horizon, seed):
    """What changes after an origin changes nothing that its forecast sees."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=200).cumsum()
    other = rng.normal(size=200)
    values[list(missing)] = np.nan
    other[list(missing)[::2]] = np.nan
    try:
        problem, _ = user_table.make_problem(series_of(values, x=other), "level", horizon, 28)
    except InputError:
        return
    row = problem.split.test[len(problem.split.test) // 2]
    place = int(np.flatnonzero(DATES.to_numpy() == problem.origins[row])[0])
    assert np.isfinite(values[place])
    changed = values.copy()
    changed[place + 1 :] += 100
    other[place + 1 :] -= 9
    new, _ = user_table.make_problem(series_of(changed, x=other), "level", horizon, 28)
    for name in ("inputs", "linear", "origins"):
        before, after = (getattr(p, name)[: row + 1] for p in (problem, new))
        np.testing.assert_array_equal(before, after)
    known = np.isfinite(problem.targets[row])
    assert np.all((new.targets - problem.targets)[row][known] == pytest.approx(100))


@given(st.sets(st.integers(1, 198), max_size=20), st.integers(1, 9))
def test_parts_do_not_overlap(missing, horizon):
    values = np.random.default_rng(0).normal(size=200).cumsum()
    values[list(missing)] = np.nan
    try:
        problem, notes = user_table.make_problem(series_of(values), "level", horizon, 28)
    except InputError:
        return
    assert bool(notes) == bool(missing)
    day = np.timedelta64(1, "D")
    parts = [problem.origins[problem.parts == part] for part in range(1, user_table.PARTS + 1)]
    parts.append(problem.origins[problem.split.test])
    for before, after in pairwise(parts):
        assert before.max() + horizon * day <= after.min()
    assert set(problem.parts[problem.split.validation]) == set(range(1, len(parts)))
    assert set(problem.parts[problem.split.test]) == {0}
    at = dict(zip(DATES.to_numpy(), values, strict=True))
    for row in (0, len(problem.origins) // 2, len(problem.origins) - 1):
        came = [at.get(problem.origins[row] + (k + 1) * day, np.nan) for k in range(horizon)]
        np.testing.assert_array_equal(problem.targets[row], came)


def test_a_covariate_that_tells_the_future_is_used():
    """The value follows the covariate with a delay of two steps."""
    rng = np.random.default_rng(0)
    cause = rng.normal(size=200)
    values = np.concatenate([[0.0, 0.0], cause[:-2]]) + 0.01 * rng.normal(size=200)
    errors = {}
    for name, covariates in (("with", {"cause": cause}), ("without", {})):
        problem, _ = user_table.make_problem(series_of(values, **covariates), "level", 2, 28)
        test = problem.split.test
        errors[name] = np.nanmean(np.abs(problem.linear - problem.targets)[test])
    assert errors["with"] < 0.3 * errors["without"]


def test_gaps_are_filled_and_counted():
    values = np.random.default_rng(0).normal(size=200)
    price = np.ones(200)
    price[100:] = 2
    values[[50, 51, *range(80, 88)]] = np.nan
    price[[0, 120]] = np.nan
    _, notes = user_table.make_problem(series_of(values, price=price), "level", 2, 28)
    assert notes == [
        "10 of 200 values are missing: 2 in gaps of at most 5 steps are filled by linear "
        "interpolation, the other 8 are not filled, and 37 starting points in or after gaps are "
        "left out.",
        "Column 'price': 2 of 200 values are missing; each has the last one before it, or the "
        "mean if there is none.",
    ]
    with pytest.raises(InputError, match="'price' holds 3 in every row before the test"):
        user_table.make_problem(series_of(values, price=np.full(200, 3.0)), "level", 2, 28)


def test_where_a_forecast_starts():
    values = np.random.default_rng(0).normal(size=200)
    problem, _ = user_table.make_problem(series_of(values), "level", 2, 28)
    last = len(problem.origins) - 1
    for text, form, row in (
        ("end", None, last),
        ("2020-07-18", None, last),
        ("17.07.2020", None, last - 1),
        ("2020/17/07", "%Y/%d/%m", last - 1),
    ):
        assert user_table.origin_at(problem, text, form) == row
    for text, message in (
        ("soon", "must be a date, or `end`"),
        ("2021-01-01", "start at values without a long gap .* from 2020-01-28 to 2020-07-18"),
    ):
        with pytest.raises(InputError, match=message):
            user_table.origin_at(problem, text, None)
    rows = problem._replace(origins=np.arange(2, 2 + len(problem.origins)))
    assert user_table.origin_at(rows, "3", None) == 1
    with pytest.raises(InputError, match="must be the number of a row, or `end`"):
        user_table.origin_at(rows, "2020-01-01", None)


def test_only_the_newest_steps_of_a_long_series_are_used(monkeypatch):
    monkeypatch.setattr(user_table, "MAX_STEPS", 150)
    values = np.random.default_rng(0).normal(size=200)
    problem, notes = user_table.make_problem(series_of(values), "level", 2, 28)
    assert notes == ["The newest 150 steps are used."]
    assert problem.origins[-1] == DATES[-1]
    assert len(problem.origins) == 150 - 28 + 1


def test_the_calendar_has_the_periods_that_the_steps_resolve():
    hours = pd.date_range("2020-01-01", periods=24 * 30, freq="h").to_numpy()
    waves = user_table.calendar(hours)
    assert waves.shape == (720, 12)  # the day and the week
    np.testing.assert_allclose(waves[:24, :6], waves[24:48, :6], atol=1e-9)
    assert user_table.calendar(DATES.to_numpy()).shape == (200, 6)  # the week alone
    assert user_table.calendar(np.arange(200)).shape == (200, 0)
