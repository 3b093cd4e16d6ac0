"""The command lines of the documentation, in the order of each page."""

import re
from pathlib import Path

from tests.helpers import ROOT

PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "experiments/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").glob("*/*.py")),
    ROOT / "grujax" / "__main__.py",
)
SHELLS = ("", "bash", "console", "sh")  # the languages of blocks of commands
INLINE = re.compile(r"`((?:\.venv/bin/)?python -m (?:experiments\.[a-z]|grujax\b)[^`]*)`")
# In a docstring, two spaces are before a remark. A quotation may continue on the next line.
IN_DOCSTRING = re.compile(
    r"^(?:    )?(python -m (?:experiments\.[a-z]|grujax\b)(?:[^\"\n]|\"[^\"]*\")*)$", re.MULTILINE
)


def documented_lines() -> dict[str, list[str]]:
    """The command lines of each page, or docstring of a module, that has any."""
    lines = {str(path.relative_to(ROOT)): command_lines(path) for path in PAGES}
    return {page: list(dict.fromkeys(found)) for page, found in lines.items() if found}


def command_lines(path: Path) -> list[str]:
    """The command lines of a page: those of its blocks, and those inside its sentences."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        joined = (re.sub(r"\n\s+", " ", line) for line in IN_DOCSTRING.findall(text))
        return [re.split(r" {2,}", line)[0] for line in joined]
    found: list[str] = []
    language: str | None = None  # of the block that a line is in
    for line in map(str.strip, text.splitlines()):
        if line.startswith("```"):
            language = line.removeprefix("```") if language is None else None
        elif language is None:
            indented = re.findall(r"^python -m experiments\..*", line)
            found += indented or INLINE.findall(line)
        elif language in SHELLS and line and not line.startswith("#"):
            if language != "console":
                found.append(without_remark(line))
            elif line.startswith("$ "):
                found.append(without_remark(line[2:]))
    return found


def without_remark(line: str) -> str:
    return re.split(r"\s{2,}#", line)[0].strip()
