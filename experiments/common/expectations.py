"""What a run with `--quick` is expected to reach, and what it is too short to judge.

If the dataclass `Command` in a `settings.py` has a method `expected`, it returns `Expectations` for
the figures in results.json. They hold for `--quick` alone, or with flags that are marked `ALWAYS`,
such as `--out`; after another flag that changes the results, nothing is expected. This file imports
no JAX.
"""

from dataclasses import fields
from typing import Any, NamedTuple

from experiments.common.flags import Always, Mode
from experiments.common.parsing import list_flags, recorded_flags
from experiments.common.report.tables import format_table


class Expected(NamedTuple):
    """A figure of a quick run."""

    figure: tuple[str | int, ...]  # its keys in the results, and indices of lists
    value: float  # measured by the quick run
    within: float  # how far a run on another machine may be from it
    judged: bool = True  # whether the run is long enough for the figure to mean something
    folder: str = ""  # of its results.json, if the run writes several


class Expectations(NamedTuple):
    """What a quick run reaches."""

    figures: tuple[Expected, ...] = ()
    too_short: tuple[str, ...] = ()  # what it cannot judge: "whether ..., as ..."


def expectations(command: Any) -> Expectations:
    """What the command with its flags is expected to reach."""
    if not (getattr(command, "quick", False) and hasattr(command, "expected")):
        return Expectations()
    modes = [flag for flag in list_flags(command) if flag.mark(Mode) and flag.value]
    if modes or _values(command) != _values(_as_quick(command)):
        return Expectations()
    return command.expected()


def compare(expected: Expectations, results: Any, folder: str) -> dict[str, Any]:
    """The figures of a run beside what was expected, as JSON values; {} if nothing was.

    Args:
      expected: what is expected.
      results: the results, as JSON values.
      folder: the name of the folder that they are written to.

    Raises:
      KeyError: the results do not have a figure.
    """
    rows = []
    for row in expected.figures:
        if row.folder in ("", folder):
            measured = results
            for key in row.figure:
                measured = measured[key]
            rows.append({**row._asdict(), "measured": measured})
    return {"figures": rows, "too short to judge": expected.too_short} if any(expected) else {}


def format_comparison(compared: list[dict[str, Any]]) -> str:
    """What `compare` returns as one table, and a sentence for what is too short to judge."""
    table = [
        [
            ", ".join(map(str, ([row["folder"]] if row["folder"] else []) + [*row["figure"]])),
            f"{row['value']:.4g} ±{row['within']:.2g}",
            f"{row['measured']:.4g}",
            _verdict(row),
        ]
        for part in compared
        for row in part["figures"]
    ]
    header = ["quick run", "expected", "measured", ""]
    lines = format_table(header, table).splitlines() if table else []
    lines += [f"Too short to judge {text}." for text in compared[0]["too short to judge"]]
    return "\n".join(line.rstrip() for line in lines)


def _verdict(row: dict[str, Any]) -> str:
    if not row["judged"]:
        return "too short to judge"
    is_near = abs(row["measured"] - row["value"]) <= row["within"]
    return "as expected" if is_near else "not as expected"


def _as_quick(command: Any) -> Any:
    """The command without other flags than those that say which model is meant."""
    kind = type(command)
    always = {flag.name for flag in list_flags(command) if flag.mark(Always)}
    chosen = {x.name: getattr(command, x.name) for x in fields(kind) if x.name in always}
    plain = kind(**chosen)
    return plain.presets() if hasattr(plain, "presets") else plain


def _values(command: Any) -> dict[str, Any]:
    return {flag.name: flag.value for flag in recorded_flags(command)}
