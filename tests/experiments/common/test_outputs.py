"""Files of a report that cannot be written."""

import errno
import json
import os
from pathlib import Path

import jax
import pytest

from experiments.common import outputs
from experiments.common.outputs import raise_late, reporting, write_results


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_results_are_written_with_their_folder(tmp_path):
    write_results(tmp_path / "out" / "results.json", {"accuracy": 0.5})
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["results"] == {"accuracy": 0.5}
    assert found["run"]["versions"]["jax"] == jax.__version__
    assert found["run"]["machine"]["cores"] >= 1


def test_a_full_disk_is_told_at_once_and_fails_at_the_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "results.json"

    @raise_late()
    def command():
        write_results(path, {})
        sentence = f"warning: cannot read or write {path}: No space left on device\n"
        assert capsys.readouterr().err == sentence
        write_results(tmp_path / "other.json", {})
        print("the end")

    with pytest.raises(OSError, match="No space left on device") as caught:
        command()
    assert capsys.readouterr().out == "the end\n"
    assert caught.value.filename == str(path)  # the first one


def test_outside_of_a_command_it_fails_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_results(tmp_path / "results.json", {})


def test_other_errors_are_not_put_off():
    with pytest.raises(ZeroDivisionError), raise_late(), reporting(Path("x")):
        raise ZeroDivisionError
    assert not outputs._noted
