"""The command line: the name in `--help` and errors, one-line errors, the former command."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from experiments.common.command import InputError, program_name, run_command
from experiments.common.durable import DamagedFileError, DirectoryInUseError
from experiments.common.outputs import write_results
from experiments.common.training.checkpoints import CheckpointError
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


@pytest.mark.parametrize(
    "error",
    [
        CheckpointError("The checkpoint x cannot be read."),
        DamagedFileError("x is damaged."),
        DirectoryInUseError("x is in use."),
    ],
)
def test_files_that_cannot_be_used_are_one_line(monkeypatch, error):
    def main(command: Command) -> None:
        raise error

    with pytest.raises(SystemExit, match=f"^error: {error}$"):
        run(monkeypatch, main)


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EIO", "EMFILE", "EACCES", "EISDIR", "ENOENT"])
def test_what_the_system_refuses_is_one_line_with_the_file(monkeypatch, code):
    def main(command: Command) -> None:
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number), "runs/x")

    reason = os.strerror(getattr(errno, code))
    with pytest.raises(SystemExit, match=f"^error: cannot read or write runs/x: {reason}$"):
        run(monkeypatch, main)


def test_a_report_that_cannot_be_written_is_printed(monkeypatch, tmp_path, capsys):
    (tmp_path / "out").write_text("a file where a folder should be")

    def main(command: Command) -> None:
        write_results(tmp_path / "out" / "results.json", {})
        print("the results")

    sentence = f"cannot write to {tmp_path / 'out'}: a file is where a folder should be"
    with pytest.raises(SystemExit, match=f"^error: {sentence}$"):
        run(monkeypatch, main)
    printed = capsys.readouterr()
    assert printed.out == "the results\n"
    assert printed.err == f"warning: {sentence}\n"


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
