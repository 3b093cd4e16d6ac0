"""The documented commands: each one is parsed, and the quick run of each experiment succeeds."""

import importlib
import os
import re
import shlex
import subprocess
import sys

import pytest

from experiments.common.parsing import parse
from tests.helpers import ROOT

PAGES = (ROOT / "README.md", ROOT / "experiments" / "README.md", *(ROOT / "docs").rglob("*.md"))
COMMANDS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py"))
# They have no quick run, but are short.
HAVE_NO_QUICK_RUN = {"analysis_benchmark", "newton_benchmark", "sentiment", "training_benchmark"}
NEED_A_MODEL = {"export", "interpret"}  # that of `experiments.sentiment`
LIMIT = 1200  # seconds of a quick run


def documented_commands() -> list[str]:
    """`NAME FLAGS` of the commands in the pages, and at line starts of the module docstrings."""
    texts = [page.read_text() for page in PAGES]
    found = re.findall(r"python -m experiments\.(\w+[^`|#\n]*)", "\n".join(texts))
    for name in COMMANDS:
        for path in (ROOT / "experiments" / name).glob("*.py"):
            found += re.findall(
                # A quotation may continue on the next line.
                r"^    python -m experiments\.(\w+(?:[^\"\n]|\"[^\"]*\")*)$",
                path.read_text(),
                flags=re.MULTILINE,
            )
    lines = {re.split(r" {2,}", re.sub(r"\n\s+", " ", line))[0] for line in found}
    return sorted(line for line in lines if not line.endswith(" N"))


@pytest.mark.parametrize("line", documented_commands())
def test_a_documented_command_is_parsed(line):
    name, *flags = shlex.split(line)
    name = {"summarisation": "summarization"}.get(name, name)  # its former name
    module = importlib.import_module(f"experiments.{name}.settings")
    assert isinstance(parse(module.Command, name, None, flags), module.Command)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NEED_A_MODEL])
def test_a_quick_run_succeeds(name, tmp_path):
    flags = [] if name in HAVE_NO_QUICK_RUN else ["--quick"]
    run = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *flags],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout
