"""Quick runs reach what their settings expect."""

import importlib
import json

import pytest

from experiments.common.expectations import expectations
from experiments.common.parsing import parse
from tests.experiments.quick_runs import COMMAND, quick_form
from tests.helpers import ROOT


def expected_of(line: str):
    """What a command line with `--quick` is expected to reach."""
    _, name, flags = COMMAND.fullmatch(line).groups()
    module = importlib.import_module(f"experiments.{name}.settings")
    return expectations(parse(module.Command, name, None, [*flags.split(), "--quick"]))


NAMES = sorted(
    path.parent.name
    for path in (ROOT / "experiments").glob("*/settings.py")
    if "def expected(" in path.read_text()
)
LINES = [f"python -m experiments.{name}" for name in NAMES]


@pytest.mark.parametrize("line", LINES)
def test_a_quick_run_has_expectations(line):
    expected = expected_of(line)
    assert any(expected)
    assert all(row.within > 0 for row in expected.figures)
    assert all(
        sentence.startswith(("whether ", "which ", "how ")) for sentence in expected.too_short
    )


@pytest.mark.long
@pytest.mark.parametrize("line", LINES)
def test_a_quick_run_reaches_what_is_expected(typed, line):
    ran = typed(quick_form(line))
    quick = ran.folder / "runs" / COMMAND.fullmatch(line)[2] / "quick"
    found = [json.loads(path.read_text()) for path in quick.rglob("results.json")]
    rows = [row for content in found for row in content.get("expected", {}).get("figures", [])]
    measured = {(row["folder"], *row["figure"]): row["measured"] for row in rows}
    for row in expected_of(line).figures:
        figure = row.folder, *row.figure
        assert measured[figure] == pytest.approx(row.value, abs=row.within), figure
    assert all(sentence in ran.stdout for sentence in expected_of(line).too_short)
