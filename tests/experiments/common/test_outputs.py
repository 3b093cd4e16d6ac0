"""Files of a report that cannot be written."""

import errno
import json
import math
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest
from matplotlib.figure import Figure

from experiments.common import outputs
from experiments.common.outputs import raise_late, reporting, write_figure, write_results
from experiments.common.provenance import use_run


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_results_are_written_with_their_folder(tmp_path):
    write_results(tmp_path / "out" / "results.json", {"accuracy": 0.5})
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["results"] == {"accuracy": 0.5}
    assert found["run"]["versions"]["jax"] == jax.__version__
    assert found["run"]["machine"]["cores"] >= 1


def test_a_figure_is_a_png_and_a_pdf(tmp_path):
    figure = Figure((2, 2))
    figure.subplots().plot([0, 1])
    contents = []
    for name in ("first", "second"):
        write_figure(tmp_path / f"{name}.png", figure, dpi=50)
        contents.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("png", "pdf")])
    assert [content[:4] for content in contents[0]] == [b"\x89PNG", b"%PDF"]
    assert contents[0] == contents[1]


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


@dataclass(frozen=True)
class Command:
    epochs: int = 3
    out: Path = Path("runs/x")


def test_results_say_how_they_were_made_and_are_kept_if_they_are_the_same(tmp_path):
    path = tmp_path / "results.json"

    def write(results, **flags):
        with use_run(Command(**flags), "python -m experiments.x"):
            write_results(path, results)
        return path.read_bytes()

    first = write([0.5, math.nan])
    run = json.loads(first)["run"]
    assert run["command"] == "python -m experiments.x"
    assert run["settings"] == {"epochs": 3, "out": "runs/x"}
    assert run["processor seconds"] >= 0
    assert run["seconds"] >= 0
    assert run["commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", run["commit"])
    config = tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))
    assert config == run["settings"]
    path.write_bytes(first.replace(b'"seconds": ', b'"seconds": 9'))  # as another run would take
    assert b'"seconds": 9' in write([0.5, math.nan])
    assert b'"seconds": 9' not in write([0.6, math.nan])
    assert json.loads(write([0.6, math.nan], epochs=4))["run"]["settings"]["epochs"] == 4
