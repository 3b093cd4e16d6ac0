"""The door: names and objects, what they need, and what is not installed."""

import sys

import pytest

from grujax import sweep
from grujax.sweep.loggers import CSVLogger, choose_loggers
from tests.fixtures.loggers.logged import Notes
from tests.fixtures.sweep_trainings import run

PACKAGES = {
    "tensorboard": (
        "tensorboardX",
        r"`TensorBoardLogger` needs .*: pip install 'grujax\[loggers\]",
    ),
    "wandb": ("wandb", r"`WandbLogger` needs wandb: pip install wandb\."),
    "mlflow": ("mlflow", r"`MLflowLogger` needs mlflow: pip install mlflow\."),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_not_installed_is_named_before_anything_runs(
    tmp_path, monkeypatch, name, chunks_run
):
    package, message = PACKAGES[name]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=message):
        run(log_to=name, directory=tmp_path)
    assert chunks_run == []


@pytest.mark.parametrize(
    ("log_to", "message"),
    [
        ("nonsense", "`log_to` must be a `Logger`, one of 'csv', .*, got 'nonsense'"),
        (3, "`log_to` must be .*, got 3"),
        ([CSVLogger, "csv"], "`log_to` must be .*, got "),
        ("csv", "`log_to` is 'csv', which writes to the `directory` .*: pass a `directory`"),
    ],
)
def test_bad_loggers_are_refused(log_to, message):
    with pytest.raises(ValueError, match=message):
        run(log_to=log_to)


def test_bad_folders_are_refused():
    for kind in (sweep.CSVLogger, sweep.JSONLinesLogger):
        with pytest.raises(ValueError, match="`folder` must be a path, got 3"):
            kind(3)


def test_several_loggers(tmp_path):
    notes = Notes()
    first, second = choose_loggers(["csv", notes], tmp_path)
    assert first == CSVLogger(tmp_path)
    assert second is notes
    assert choose_loggers(None, None) == []
