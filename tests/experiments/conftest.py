"""Runs of whole commands that several tests look at."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.experiments.quick_runs import Ran, locked, quick_form, run_once
from tests.fixtures.user_files import write_user_files


@pytest.fixture(scope="session")
def users_folder(tmp_path_factory) -> Path:
    """A folder with the files that the pages name, in which all documented commands run."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder in that of the session.
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = session / "commands"
    folder.mkdir(exist_ok=True)
    with locked(session / "files"):
        write_user_files(folder)
    return folder


@pytest.fixture(scope="session")
def typed(users_folder) -> Callable[[str], Ran]:
    """A function: runs a command line, or returns how it ran before, in these tests."""
    return partial(run_once, folder=users_folder)


@pytest.fixture(scope="session")
def quick_run(typed) -> Callable[[str], Ran]:
    """A function: the quick run of an experiment, which runs once for all tests.

    `quick_run("flip_flop")` runs `python -m experiments.flip_flop --quick`; its results are in
    `ran.folder / "runs" / "flip_flop" / "quick"`.
    """
    return lambda name: typed(quick_form(f"python -m experiments.{name}"))
