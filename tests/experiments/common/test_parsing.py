"""Flags: which value comes first, files of flags, what a run records, and how it is repeated."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest

from experiments.common.command import InputError
from experiments.common.flags import (
    ALWAYS,
    MODE,
    CommonFlags,
    Flat,
    Given,
    NoFlag,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
    override,
)
from experiments.common.parsing import format_config, list_flags, parse
from experiments.common.provenance import command_line, use_run


class Noise(NamedTuple):
    level: PositiveFloat = 0.5


NOISE = Noise()


@dataclass(frozen=True)
class Settings:
    name: NoFlag[str] = "first"
    epochs: PositiveInt = 10
    size: PositiveInt | None = 8
    widths: tuple[tuple[PositiveInt, PositiveInt], ...] = ((1, 2), (3, 4))
    noise: Flat[Noise] = NOISE


@dataclass(frozen=True)
class Part:
    epochs: PositiveInt = 3


@dataclass(frozen=True)
class Command:
    settings: Flat[Settings] = Settings()
    part: Part = Part()
    quick: Annotated[bool, ALWAYS] = False
    out: Annotated[Path, ALWAYS] = Path("runs/x")
    predict: Annotated[str | None, MODE] = None
    scale: Flat[ScaleFlags] = ScaleFlags()
    common: Flat[CommonFlags] = CommonFlags()

    def presets(self) -> "Command":
        return replace(self, settings=Settings(epochs=2, size=None)) if self.quick else self


@dataclass(frozen=True)
class Two(Command):
    given: Given = frozenset()


def read(line: str, kind=Command):
    return parse(kind, "python -m x", None, shlex.split(line))


def test_a_flag_comes_before_the_file_before_quick_before_the_default(tmp_path):
    file = tmp_path / "flags.toml"
    file.write_text("size = 5\n[part]\nepochs = 9\n")
    config = f"--config {file}"
    assert read("").settings == Settings()
    assert read("--quick").settings == Settings(epochs=2, size=None)
    assert read(f"--quick {config}").settings == Settings(epochs=2, size=5)
    assert read(f"--quick {config} --size 6 --epochs 10").settings == Settings(size=6)
    assert read(config).part == Part(9)
    assert read(f"{config} --part.epochs 7").part == Part(7)
    file.write_text("quick = true")
    assert read(config).settings == Settings(epochs=2, size=None)
    assert read(f"{config} --no-quick").settings == Settings()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "sizes = 3",
            "has 'sizes', which is no flag that a file can set. These are: epochs,",
        ),
        ("config = 'x'", "has 'config', which is no flag"),
        ("size = 0", "^--size must be at least 1, got 0.$"),
        ("size", "cannot be read as TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(tmp_path, text, sentence):
    file = tmp_path / "flags.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read(f"--config {file}")


@pytest.mark.parametrize("line", ["", "--quick --widths 5 6 --level 0.25 --out 'a \"b\"'"])
def test_what_a_run_records_repeats_it(tmp_path, line):
    command = read(f"{line} --quiet")
    file = tmp_path / "config.toml"
    file.write_text(format_config(command, "python -m x"))
    assert "quiet" not in file.read_text()
    again = read(f"--config {file} --quiet")
    assert replace(again, common=command.common) == command


def test_flags_that_were_given_hold_for_all_networks(tmp_path):
    command = read("--epochs 10 --level 2", Two)
    assert command.given == {"epochs", "level"}
    other = Settings(name="second", epochs=4, size=None)
    expected = Settings(name="second", epochs=10, size=None, noise=Noise(2.0))
    assert override(other, command.settings, command.given) == expected
    recorded = format_config(command, "python -m x")
    assert "epochs = 10" in recorded
    assert "size" not in recorded  # the networks differ in it
    assert "devices = 1" in recorded
    assert "name" not in {flag.name for flag in list_flags(command)}


def test_a_command_to_try_names_the_run_and_is_quoted():
    command = read("--quick --out 'my runs'", Two)
    with use_run(command, "python -m x"):
        line = command_line("python -m x", "--predict", 'it\'s "so" -')
        other = command_line("python -m y", "--predict", "a")
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "x"]
    tried = parse(Two, "x", None, words[3:])
    assert (tried.quick, tried.out, tried.predict) == (True, Path("my runs"), 'it\'s "so" -')
    assert other == "python -m y --predict a"


@pytest.mark.parametrize("text", ["-bad", "- bad", "--help me", "-"])
def test_a_command_to_try_with_a_text_that_begins_like_a_flag(text):
    line = command_line("python -m x", "--predict", text, "--out", "a")
    tried = parse(Two, "x", None, shlex.split(line)[3:])
    assert (tried.predict, tried.out) == (text, Path("a"))
