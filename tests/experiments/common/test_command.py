"""The command line: the name in `--help` and errors, one-line errors, the former command."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from experiments.common.command import InputError, program_name, run_command
from experiments.translation.train import main as translate
from tests.helpers import ROOT


@dataclass(frozen=True)
class Command:
    """A command."""

    number: int = 1  # a number


def run(monkeypatch, main, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["__main__.py", *flags])
    run_command(main, Command, "What the command does.")


def test_the_program_is_named_as_the_user_types_it(monkeypatch, capsys):
    assert program_name(translate) == "python -m experiments.translation"
    assert program_name(run) is None

    def main(command: Command) -> None:
        raise AssertionError

    main.__module__ = "experiments.example.train"
    for flags in (["--help"], ["--nonsense"]):
        with pytest.raises(SystemExit):
            run(monkeypatch, main, *flags)
        captured = capsys.readouterr()
        assert "python -m experiments.example" in captured.out + captured.err
        assert "__main__.py" not in captured.out + captured.err


def test_errors_of_the_user_are_one_line(monkeypatch):
    def main(command: Command) -> None:
        raise InputError(f"{command.number} is too much.")

    with pytest.raises(SystemExit, match=r"^error: 7 is too much\.$"):
        run(monkeypatch, main, "--number", "7")


def test_ctrl_c_exits_with_its_status(monkeypatch):
    def main(command: Command) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, main)
    assert caught.value.code == 130


def test_the_former_name_of_summarization_is_still_a_command():
    result = subprocess.run(
        [sys.executable, "-m", "experiments.summarisation", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "python -m experiments.summarization" in result.stdout
    assert "--summarise" in result.stdout  # the former flag
    assert "--summarize" in result.stdout
