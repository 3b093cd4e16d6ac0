"""Files of a report. One that cannot be written does not keep the results from being printed."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.common.durable import describe, naming, write_durably
from experiments.common.provenance import (
    compare_with_expected,
    current_config,
    describe_run,
)

_noted: list[list[OSError]] = []  # per `raise_late`, the innermost one last


@contextmanager
def raise_late() -> Iterator[None]:
    """Inside, `reporting` prints and notes errors; the first of them is raised at the end."""
    errors: list[OSError] = []
    _noted.append(errors)
    try:
        yield
    finally:
        _noted.pop()
    if errors:
        raise errors[0]


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Inside, `path` is written. If it cannot be, the command goes on, and fails when it ends.

    Raises:
      OSError: it cannot be written, and no `raise_late` is around.
    """
    try:
        with naming(path):
            yield
    except OSError as error:
        if not _noted:
            raise
        print(f"warning: {describe(error)}", file=sys.stderr)
        _noted[-1].append(error)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file of a report, see `reporting`; its folder is created if it does not exist.

    A file with this content is left as it is, so that a report can be repeated on a read-only disk.
    """
    with reporting(path):
        _write_if_changed(path, content)


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_durably(path, content)


def write_text(path: Path, text: str) -> None:
    """Writes a text of a report as UTF-8, see `write_bytes`."""
    write_bytes(path, text.encode())


def write_results(path: Path, results: Any) -> None:
    """Writes the results of a report as JSON, see `write_bytes`, and config.toml beside it.

    The file has "results" and "run": how they were made, see `experiments.common.provenance`; after
    `--quick` also "expected", see `experiments.common.expectations`. If it has the same results of
    the same settings already, it is left as it is, with the time and the machine that made them.

    Args:
      path: the file.
      results: JSON values; numbers are numbers, not text.
    """
    made = json.loads(json.dumps({"results": results, "run": describe_run()}))
    if compared := compare_with_expected(made["results"], path.parent.name):
        made["expected"] = compared
    config = current_config()
    with reporting(path):
        if not _has_results(path, made):
            write_durably(path, (json.dumps(made, indent=2) + "\n").encode())
        if config is not None:
            _write_if_changed(path.with_name("config.toml"), config.encode())


def _has_results(path: Path, made: dict[str, Any]) -> bool:
    """Whether a file has these results, of a run with these settings."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        both = [(x["results"], x["run"].get("settings"), x.get("expected")) for x in (found, made)]
        return json.dumps(both[0]) == json.dumps(both[1])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def write_figure(path: Path, figure: Any, **options: Any) -> None:
    """Writes a Matplotlib figure as PNG, and as PDF beside it, see `write_bytes`.

    Args:
      path: the PNG.
      figure: the figure.
      **options: of the PNG, those of `savefig`.
    """
    undated = {"metadata": {"CreationDate": None}}  # the same figure gives the same file
    for suffix, arguments in ((".png", options), (".pdf", undated)):
        content = io.BytesIO()
        figure.savefig(content, format=suffix[1:], **arguments)
        write_bytes(path.with_suffix(suffix), content.getvalue())
