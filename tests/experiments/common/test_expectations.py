"""What a quick run is expected to reach, in results.json and at the end of the output."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest

from experiments.common.execution import execute
from experiments.common.expectations import Expectations, Expected, compare, format_comparison
from experiments.common.flags import ALWAYS, MODE, Flat, Given, MonitorFlags, override_each
from experiments.common.outputs import write_results
from experiments.common.parsing import parse

EXPECTED = Expectations(
    (Expected(("right", "GRU"), 0.9, 0.05), Expected(("right", "RNN"), 0.5, 0.1, judged=False)),
    ("whether the GRU is better, as one seed differs from the next",),
)


@dataclass(frozen=True)
class Settings:
    epochs: int = 9
    rate: float = 0.1


PRESETS = {"gru": Settings(epochs=1), "rnn": Settings(epochs=2)}


@dataclass(frozen=True)
class Command:
    settings: Flat[Settings] = Settings()
    tests: int = 5
    data: Annotated[str, ALWAYS] = "words"
    quick: Annotated[bool, ALWAYS] = False
    out: Annotated[Path, ALWAYS] = Path("runs")
    search: Annotated[bool, MODE] = False
    common: Flat[MonitorFlags] = MonitorFlags()

    def presets(self):
        return replace(self, settings=PRESETS["gru"]) if self.quick else self

    def expected(self):
        return EXPECTED if self.data == "words" else Expectations()


@dataclass(frozen=True)
class ManyNetworks(Command):
    given: Given = frozenset()

    def trainings(self):
        return override_each(PRESETS, self.settings, self.given)


def run(tmp_path, capsys, *flags, kind=Command, measured=0.93):
    def main(command):
        write_results(command.out / "results.json", {"right": {"GRU": measured, "RNN": 0.2}})
        print("Try: this")

    command = parse(kind, "python -m experiments.x", None, [*flags, "--out", str(tmp_path)])
    execute(main, command, "python -m experiments.x")
    [path] = tmp_path.rglob("results.json")
    return json.loads(path.read_text()).get("expected"), capsys.readouterr().out


@pytest.mark.parametrize("kind", [Command, ManyNetworks])
def test_a_quick_run_ends_with_what_was_expected_and_measured(tmp_path, capsys, kind):
    written, printed = run(tmp_path, capsys, "--quick", "--quiet", kind=kind)
    assert printed.splitlines() == [
        "Try: this",
        "",
        "quick run    expected  measured",
        "right, GRU  0.9 ±0.05      0.93         as expected",
        "right, RNN   0.5 ±0.1       0.2  too short to judge",
        "Too short to judge whether the GRU is better, as one seed differs from the next.",
    ]
    figure = {"figure": ["right", "GRU"], "value": 0.9, "within": 0.05, "judged": True}
    assert written["figures"][0] == figure | {"folder": "", "measured": 0.93}
    assert written["too short to judge"] == list(EXPECTED.too_short)


def test_a_figure_far_from_the_expected_one_is_told(tmp_path, capsys):
    _, printed = run(tmp_path, capsys, "--quick", measured=0.84)
    assert "0.84     not as expected\n" in printed


@pytest.mark.parametrize("kind", [Command, ManyNetworks])
@pytest.mark.parametrize(
    "flags",
    [
        ["--quick", "--epochs", "3"],
        ["--quick", "--rate", "0.2"],
        ["--quick", "--tests", "6"],
        ["--quick", "--data", "pictures"],
        ["--quick", "--search"],
        [],
    ],
)
def test_after_other_flags_it_says_nothing(tmp_path, capsys, flags, kind):
    written, printed = run(tmp_path, capsys, *flags, kind=kind)
    assert written is None
    assert printed == "Try: this\n"


def test_a_flag_for_all_networks_is_another_run_even_if_one_has_its_value(tmp_path, capsys):
    flags = ["--quick", "--epochs", "1"]
    assert run(tmp_path, capsys, *flags, kind=ManyNetworks)[0] is None
    assert run(tmp_path, capsys, *flags, kind=Command)[0] is not None


def test_a_config_file_of_a_quick_run_is_that_quick_run(tmp_path, capsys):
    first, _ = run(tmp_path, capsys, "--quick")
    again, _ = run(tmp_path, capsys, "--config", str(tmp_path / "quick" / "config.toml"))
    assert first == again


def test_a_figure_that_the_results_do_not_have_is_an_error():
    with pytest.raises(KeyError, match="RNN"):
        compare(EXPECTED, {"right": {"GRU": 0.9}}, "")


def test_each_folder_of_a_run_has_its_figures():
    first, second = (Expected(("bits",), bits, 0.1, folder=f"of {bits}") for bits in (2, 3))
    expected = Expectations((first, second))
    compared = [compare(expected, {"bits": bits}, f"of {bits}") for bits in (2, 3)]
    assert [len(part["figures"]) for part in compared] == [1, 1]
    assert format_comparison(compared).splitlines()[1:] == [
        "of 2, bits    2 ±0.1         2  as expected",
        "of 3, bits    3 ±0.1         3  as expected",
    ]
