"""The ledger: what a logger has is not sent again, and what the ledger lacks is sent anew."""

import json

import numpy as np
import pytest

from grujax.sweep.loggers import CSVLogger, Recorders
from tests.fixtures.loggers.logged import Notes, read_csv

VALUES = np.arange(6.0)


def send(logger, folder, until=6, end=True) -> None:
    """Sends a run with steps 0 to 5, as after a kill everything is sent again."""
    recorders = Recorders([logger], folder)
    recorders.expect(["a"])
    recorders.start("a", {"rate": 0.1})
    for step in range(until):
        recorders.log(step, {"loss": VALUES[step : step + 1]})
    if end:
        recorders.end({"loss": 5.0}, False)
    recorders.close()


def expected(until=6) -> list[tuple]:
    return [("loss", step, float(step)) for step in range(until)]


def test_a_run_continues_at_the_step_that_the_logger_lacks(tmp_path):
    notes = Notes()
    send(notes, tmp_path, until=2, end=False)
    assert notes.runs["a"]["steps"] == expected(2)
    notes.calls.clear()
    send(notes, tmp_path)
    assert notes.runs["a"]["steps"] == expected()
    assert notes.calls[0] == ("start", "a", 2)
    notes.calls.clear()
    send(notes, tmp_path)
    assert notes.calls == [("close",)]


def test_a_block_of_which_the_logger_has_a_part_is_cut(tmp_path):
    notes = Notes()
    send(notes, tmp_path, until=2, end=False)
    recorders = Recorders([notes], tmp_path)
    recorders.start("a", {})
    recorders.log(1, {"loss": VALUES[1:], "short": VALUES[1:2]})
    assert notes.runs["a"]["steps"] == expected()


@pytest.mark.parametrize("content", [None, b"", b"[1]\n{}\nnonsense\n", b'{"logger": "No'])
def test_without_a_ledger_the_run_is_discarded_and_sent_anew(tmp_path, content):
    notes = Notes()
    send(notes, tmp_path)
    ledger = tmp_path / "logged.jsonl"
    ledger.unlink()
    if content is not None:
        ledger.write_bytes(content)
    notes.calls.clear()
    send(notes, tmp_path)
    assert notes.calls[0] == ("discard", frozenset("a"))
    assert notes.runs["a"]["steps"] == expected()


def test_a_step_that_a_killed_program_did_not_note_is_replaced(tmp_path):
    logger = CSVLogger(tmp_path)
    send(logger, tmp_path, until=3, end=False)
    ledger = tmp_path / "logged.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:-1]) + lines[-1][:10])  # killed while it noted step 2
    send(CSVLogger(tmp_path), tmp_path)
    rows = read_csv(tmp_path / "curves.csv")
    assert [(int(row["step"]), float(row["value"])) for row in rows] == [
        (step, value) for _, step, value in expected()
    ]
    assert len(read_csv(tmp_path / "runs.csv")) == 1


def test_each_logger_has_its_own_entries(tmp_path):
    one, other = CSVLogger(tmp_path / "one"), CSVLogger(tmp_path / "other")
    send(one, tmp_path)
    send(other, tmp_path)
    for logger in (one, other):
        assert len(read_csv(logger.folder / "curves.csv")) == 6
    names = {json.loads(line)["logger"] for line in (tmp_path / "logged.jsonl").open()}
    assert len(names) == 2
    assert not any("one" in name for name in names)  # a place may have a password in it


def test_a_ledger_that_cannot_be_used_stops_nothing(tmp_path):
    (tmp_path / "logged.jsonl").mkdir()
    for folder in (tmp_path, None):
        notes = Notes()
        send(notes, folder)
        assert notes.runs["a"]["steps"] == expected()
