"""The documented commands: each one is parsed, and each one runs, as do those that it prints."""

import re
from pathlib import Path

import pytest

from experiments.common.command import InputError
from experiments.common.flags import Needs
from experiments.common.parsing import list_flags, spell
from tests.experiments.documented import documented_lines
from tests.experiments.quick_runs import (
    COMMAND,
    SHORTER,
    USE_THE_MODEL_OF,
    parse_line,
    quick_form,
    run_once,
    tries,
)
from tests.fixtures.user_files import FILES
from tests.helpers import ROOT

PAGES = documented_lines()
LINES = sorted({line for lines in PAGES.values() for line in lines})
COMMANDS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py"))
# Documented commands that no test here runs, and why.
NOT_RUN = {
    ".venv/bin/pre-commit install": "changes the clone",
    ".venv/bin/python -m pytest tests/grujax/test_contract.py": "is part of `make test`",
    "make docs": "continuous integration runs it",
    "make format": "changes the clone",
    "make lint types": "continuous integration runs it",
    "make test": "continuous integration runs it",
    "mpiexec -n 3 python -m mpi4py.futures on_mpi.py": (
        "tests/grujax/sweep/executors/test_engines.py runs it where MPI is installed"
    ),
    "pip install '.[convert]'": "installs packages",
    "pip install '.[flax]'": "installs packages",
    "pip install '.[search]'": "installs packages",
    "pip install '.[sweep]'": "installs packages",
    "pip install .": "tests/test_packaging.py installs the package",
    "python -m experiments.benchmark --gpu": "needs an NVIDIA GPU",
    "python docs/tables.py": "changes the clone; tests/docs/test_tables.py calls it",
    "python my_sweep.py $SLURM_ARRAY_TASK_ID": "needs SLURM and the reader's program",
    "srun python -m experiments.translation --distributed "
    "--out $SLURM_SUBMIT_DIR/runs/translation": "needs SLURM",
}
SAME_AS = {"make demo": "python -m experiments.sentiment"}
USES_A_MODEL = re.compile(" --(ask|export|play|predict|sample|summarize|translate) ?")
OF_THE_USER = re.compile(" --(csv|model|train) ")


def commands_of(line: str) -> list[tuple[str, str]]:
    """The name and the flags of the experiment that a line runs, if it does."""
    found = COMMAND.fullmatch(line)
    return [(found[2], found[3])] if found else []


def test_tables_name_documented_commands_alone():
    assert set(NOT_RUN) | set(SAME_AS) <= set(LINES)
    assert all(any(flags in line for line in LINES) for flags in SHORTER)
    makefile = (ROOT / "Makefile").read_text()
    for target, line in SAME_AS.items():
        recipe = re.search(rf"^{target.removeprefix('make ')}:.*\n\t(.*)", makefile, re.MULTILINE)
        assert recipe
        assert recipe[1] == line.replace("python", "$(BIN)/python", 1)


@pytest.mark.parametrize("line", LINES)
def test_a_documented_command_is_known(line):
    """Its flags are those of the experiment, and its files those that the long test makes."""
    if line.startswith("make "):
        makefile = (ROOT / "Makefile").read_text()
        for target in line.split()[1:]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    elif extra := re.fullmatch(r"pip install '\.\[(\w+)\]'", line):
        assert re.search(rf"^{extra[1]} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    elif commands := commands_of(line):
        for name, flags in commands:
            for flag in list_flags(parse_line(name, flags)):
                if isinstance(flag.value, Path) and flag.name != "out":
                    path = str(flag.value)
                    assert path in FILES or path.startswith("runs/"), f"no test makes {path}"
    else:
        assert line in NOT_RUN or re.fullmatch(r"python -m grujax(\.kernels| build| --time)?", line)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_experiment_is_documented_in_its_script(name):
    scripts = {page for page in PAGES if page.startswith(f"experiments/{name}/")}
    assert scripts
    assert any(f"python -m experiments.{name}" in line for page in scripts for line in PAGES[page])


def test_quick_forms():
    line = "python -m experiments.exercises --predict runs/exercises/example.csv"
    assert quick_form(line) == f"{line.replace('/example', '/quick/example')} --quick"
    line = "python -m experiments.summarization --train articles.jsonl"  # takes no --quick
    assert quick_form(line) == line
    line = "python -m experiments.benchmark --cells"  # nor does this
    assert quick_form(line) == f"{line} --seconds 0.1"
    line = 'python -m experiments.sentiment --predict "good"'
    assert quick_form(f".venv/bin/{line}") == line


@pytest.mark.parametrize("name", COMMANDS)
def test_quick_is_refused_with_a_model_of_the_user(name):
    """The folder of `--model` says which model is meant."""
    flags = {flag.name: flag for flag in list_flags(parse_line(name, ""))}
    if not {"quick", "model"} <= flags.keys():
        return
    (mode, *_) = flags["model"].mark(Needs).names
    parse_line(name, f"{spell(mode)} text --model folder")
    with pytest.raises(InputError, match="--quick has no effect"):
        parse_line(name, f"{spell(mode)} text --model folder --quick")


def training_before(line: str) -> list[str]:
    """The quick training whose model a line uses; the user's own is on the same page."""
    for name, flags in commands_of(line):
        trained = USE_THE_MODEL_OF.get(name, name)
        if trained != name or (USES_A_MODEL.search(flags) and not OF_THE_USER.search(flags)):
            return [quick_form(f"python -m experiments.{trained}")]
    return []


def test_a_model_is_trained_before_it_is_used():
    train, use = "python -m experiments.images", "python -m experiments.images --predict digit.png"
    assert in_order([use]) == [f"{train} --quick", f"{use} --quick"]
    assert in_order(["make demo", "make test"]) == in_order(["python -m experiments.sentiment"])
    line = "python -m experiments.sweep_adding --quick --distributed --process"
    both = f"{line} 0 --out runs/apart & {line} 1 --out runs/apart && wait $!"
    assert in_order([f"{line} 0", f"{line} 1"]) == [both]


def in_order(lines: list[str]) -> list[str]:
    """What is typed to follow a page: without what is not run, processes together."""
    typed: list[str] = []
    for line in lines:
        if line in NOT_RUN:
            continue
        line = quick_form(SAME_AS.get(line, line))
        typed += training_before(line)
        if "--process 1" in line:
            typed[-1] = f"{typed[-1]} & {line} && wait $!"
        else:
            typed.append(line)
    return typed


@pytest.mark.long
@pytest.mark.parametrize(
    "page", [page for page, lines in PAGES.items() if set(lines) - set(NOT_RUN)]
)
def test_the_commands_of_a_page_succeed_and_so_do_those_that_they_print(page, typed):
    for line in in_order(PAGES[page]):
        for tried in tries(typed(line)):
            typed(tried)


@pytest.mark.slow
def test_a_run_elsewhere_is_used_as_it_says_and_repeated_by_its_config(tmp_path):
    sizes = "--quick --seeds 1 --epochs 1 --num-examples 64 --hidden-size 4"
    ran = run_once(f"python -m experiments.flip_flop {sizes} --out 'my runs'", tmp_path)
    (tried,) = tries(ran)
    run_once(tried, tmp_path)
    out = tmp_path / "my runs" / "quick"
    results = (out / "results.json").read_bytes()
    again = run_once(f"python -m experiments.flip_flop --config '{out}/config.toml'", tmp_path)
    assert "already trained (1 epochs" in again.stderr
    assert (out / "results.json").read_bytes() == results
