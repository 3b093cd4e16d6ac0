"""CSV and JSON lines: what the files hold, and what replaces what."""

import json

import numpy as np
import pytest

from grujax.sweep import CSVLogger, JSONLinesLogger
from tests.fixtures.loggers.logged import read_csv


def record(logger, run, metrics=None, *, values=(1.0, 2.0), step=0, **hyperparameters) -> None:
    logger.start(run, hyperparameters, step)
    logger.log(step, {"losses": np.array(values)})
    if metrics is not None:
        logger.end(metrics, failed=False)


def curves(folder) -> list[tuple[str, int, float]]:
    rows = read_csv(folder / "curves.csv")
    return [(row["run"], int(row["step"]), float(row["value"])) for row in rows]


def test_columns_that_later_runs_have_are_added(tmp_path):
    record(CSVLogger(tmp_path), "a", {"loss": 0.5}, rate=0.1)
    record(CSVLogger(tmp_path), "b", {"loss": 0.25, "extra": 3}, rate=0.2, cell="gru")
    record(CSVLogger(tmp_path), "c", {"loss": 1.0})
    assert (tmp_path / "runs.csv").read_text() == (
        "run,failed,rate,loss,cell,extra\n"
        "a,False,0.1,0.5,,\n"
        "b,False,0.2,0.25,gru,3\n"
        "c,False,,1.0,,\n"
    )


def test_a_metric_with_the_name_of_a_hyperparameter_has_a_column_of_its_own(tmp_path):
    record(CSVLogger(tmp_path), "a", {"rate": 0.5}, rate=0.1)
    (row,) = read_csv(tmp_path / "runs.csv")
    assert (row["rate"], row["metric.rate"]) == ("0.1", "0.5")


def test_any_text_stays_one_row(tmp_path):
    text = 'a "quoted", long\ntext\r\nof lines'
    record(CSVLogger(tmp_path), "a", {}, text=text)
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 2
    (row,) = read_csv(tmp_path / "runs.csv")
    assert row["text"] == 'a "quoted", long text of lines'


def test_numbers_survive_exactly(tmp_path):
    values = [0.1, 1e-300, float("inf"), float("nan"), -0.0, 1 / 3]
    record(CSVLogger(tmp_path), "a", {}, values=values)
    np.testing.assert_array_equal([x for _, _, x in curves(tmp_path)], values)


@pytest.mark.parametrize("name", ["a", "run"])  # the second one is the header's first word
def test_csv_replaces_runs_and_steps(tmp_path, name):
    logger = CSVLogger(tmp_path)
    record(logger, name, {"loss": 1.0}, rate=0.1)
    record(logger, "other", {"loss": 2.0}, rate=0.2)
    with (tmp_path / "curves.csv").open("a") as file:
        file.write("other,2,los")  # a killed program's last line
    logger = CSVLogger(tmp_path)
    logger.discard({name})
    assert curves(tmp_path) == [("other", 0, 1.0), ("other", 1, 2.0)]
    assert [row["run"] for row in read_csv(tmp_path / "runs.csv")] == ["other"]
    record(logger, name, {"loss": 3.0}, rate=0.1)
    record(logger, name, {"loss": 4.0}, values=(7.0,), step=1, rate=0.1)
    assert curves(tmp_path)[2:] == [(name, 0, 1.0), (name, 1, 7.0)]
    assert [row["loss"] for row in read_csv(tmp_path / "runs.csv")] == ["2.0", "4.0"]


def read_json(folder) -> list[dict]:
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    lines = (folder / "runs.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_json_lines_are_json(tmp_path):
    record(JSONLinesLogger(tmp_path), "a", {"loss": float("nan")}, values=(np.inf, -np.inf))
    assert read_json(tmp_path) == [
        {"run": "a", "hyperparameters": {}},
        {"run": "a", "step": 0, "curves": {"losses": ["Infinity", "-Infinity"]}},
        {"run": "a", "metrics": {"loss": "NaN"}, "failed": False},
    ]


def test_json_lines_replace_runs_and_steps(tmp_path):
    logger = JSONLinesLogger(tmp_path)
    record(logger, "a", {"loss": 1.0})
    record(logger, "b", values=(1.0,))
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"run": "b", "ste')
    logger = JSONLinesLogger(tmp_path)
    logger.discard({"a"})
    assert [entry["run"] for entry in read_json(tmp_path)] == ["b", "b"]
    record(logger, "b", values=(5.0,), step=1)
    record(logger, "b", {"loss": 6.0}, values=(6.0,), step=1)
    assert [entry.get("curves") for entry in read_json(tmp_path)] == [
        None,
        {"losses": [1.0]},
        {"losses": [6.0]},
        None,
    ]
