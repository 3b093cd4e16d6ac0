"""The documented commands: each one is parsed, and the quick run of each experiment succeeds."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.common.parsing import parse
from tests.helpers import ROOT

PAGES = (ROOT / "README.md", ROOT / "experiments" / "README.md", *(ROOT / "docs").rglob("*.md"))
COMMANDS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py"))
# They have no quick run, but are short.
HAVE_NO_QUICK_RUN = {
    *("analysis_benchmark", "newton_benchmark", "sentiment", "training_benchmark", "tutorial"),
}
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


def run_in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user types it."""
    python = Path(sys.executable).parent
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{python}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def run_with_its_try_lines(line: str, folder: Path) -> list[str]:
    """Runs a command, then every command that it prints, and returns those."""
    ran = run_in_shell(line, folder)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout
    tried = re.findall(r"Try: (.+)", ran.stdout)
    for line in tried:
        use = run_in_shell(line, folder)
        assert use.returncode == 0, f"{line}\n{use.stderr[-2000:]}"
        assert use.stdout
    return tried


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NEED_A_MODEL])
def test_a_quick_run_and_the_command_that_it_prints_succeed(name, tmp_path):
    flag = "" if name in HAVE_NO_QUICK_RUN else " --quick"
    run_with_its_try_lines(f"python -m experiments.{name}{flag}", tmp_path)


@pytest.mark.long
def test_the_commands_that_use_the_sentiment_model_succeed(tmp_path):
    small = "--epochs 1 --hidden-size 8 --embedding-size 8"
    for line in (f"sentiment {small}", "export --seconds 1", "interpret"):
        run_with_its_try_lines(f"python -m experiments.{line}", tmp_path)


@pytest.mark.slow
def test_a_run_elsewhere_is_used_as_it_says_and_repeated_by_its_config(tmp_path):
    sizes = "--quick --seeds 1 --epochs 1 --num-examples 64 --hidden-size 4"
    line = f"python -m experiments.flip_flop {sizes} --out 'my runs'"
    assert len(run_with_its_try_lines(line, tmp_path)) == 1
    out = tmp_path / "my runs" / "quick"
    results = (out / "results.json").read_bytes()
    again = run_in_shell(f"python -m experiments.flip_flop --config '{out}/config.toml'", tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "already trained (1 epochs" in again.stderr
    assert (out / "results.json").read_bytes() == results
