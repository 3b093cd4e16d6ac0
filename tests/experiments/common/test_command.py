"""The command line: the name in `--help` and errors, one-line errors, the former command."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from experiments.common.command import InputError, program_name
from experiments.common.durable import DamagedFileError, DirectoryInUseError
from experiments.common.execution import execute, output_folder
from experiments.common.outputs import write_results
from experiments.common.training.checkpoints import CheckpointError
from experiments.common.training.scale import Scale
from tests.helpers import ROOT


@dataclass(frozen=True)
class Command:
    """A command."""

    number: int = 1  # a number


def run(main, number: int = 1) -> None:
    execute(main, Command(number), "python -m experiments.example")


def run_module(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_program_is_named_as_the_user_types_it():
    name = "python -m experiments.translation"
    assert program_name("experiments.translation.train") == name
    shown, refused = (run_module("experiments.translation", x) for x in ("--help", "--nonsense"))
    assert [shown.returncode, refused.returncode] == [0, 2]
    assert f"usage: {name} [-h]" in shown.stdout
    assert f"{name} --help" in refused.stderr
    assert "__main__.py" not in shown.stdout + refused.stderr


def test_a_wrong_input_is_one_line_and_has_status_2(capsys):
    def main(command: Command) -> None:
        raise InputError(f"{command.number} is too much.")

    with pytest.raises(SystemExit) as caught:
        run(main, 7)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: 7 is too much.\n"


def test_flags_that_do_not_fit_the_devices_are_wrong_input(capsys):
    def main(command: Command) -> None:
        Scale(accumulate=3).check(rows=16)

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: A batch of 16 rows cannot be cut into 3 equal"
    )


@pytest.mark.parametrize(
    "error",
    [
        CheckpointError("The checkpoint x cannot be read."),
        DamagedFileError("x is damaged."),
        DirectoryInUseError("x is in use."),
    ],
)
def test_files_that_cannot_be_used_are_one_line(error, capsys):
    def main(command: Command) -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EIO", "EMFILE", "EACCES", "EISDIR", "ENOENT"])
def test_what_the_system_refuses_is_one_line_with_the_file(code, capsys):
    def main(command: Command) -> None:
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number), "runs/x")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    reason = os.strerror(getattr(errno, code))
    assert capsys.readouterr().err == f"error: cannot read or write runs/x: {reason}\n"


def test_a_report_that_cannot_be_written_is_printed(tmp_path, capsys):
    (tmp_path / "out").write_text("a file where a folder should be")

    def main(command: Command) -> None:
        write_results(tmp_path / "out" / "results.json", {})
        print("the results")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == "the results\n"
    sentence = f"cannot write to {tmp_path / 'out'}: a file is where a folder should be"
    assert printed.err.splitlines() == [f"warning: {sentence}", f"error: {sentence}"]


def test_a_quick_run_has_a_folder_of_its_own():
    @dataclass(frozen=True)
    class Quick:
        quick: bool
        out: Path = Path("runs/example")

    folders = []
    for quick in (False, True):
        execute(lambda command: folders.append(command.out), Quick(quick), "example")
    assert folders == [Path("runs/example"), Path("runs/example/quick")]


def test_a_rival_cell_has_a_folder_of_its_own():
    @dataclass(frozen=True)
    class Settings:
        cell: str

    @dataclass(frozen=True)
    class Celled:
        settings: Settings
        quick: bool = False
        out: Path = Path("runs/example")

    lstm = Celled(Settings("lstm"))
    assert output_folder(Celled(Settings("gru"))) == Path("runs/example")
    assert output_folder(lstm) == Path("runs/example/lstm")
    assert output_folder(replace(lstm, quick=True)) == Path("runs/example/quick/lstm")


def test_ctrl_c_exits_with_its_status():
    def main(command: Command) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 130


def test_the_former_name_of_summarization_is_still_a_command():
    result = run_module("experiments.summarisation", "--help")
    assert "python -m experiments.summarization" in result.stdout
    assert "--summarise" in result.stdout  # the former flag
    assert "--summarize" in result.stdout
