"""Every function and method refuses, by name, what an argument cannot be, before it works."""

import inspect
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest

from grujax import sweep

KEY = jax.random.key(0)


class Thing:
    """A class, where none is expected."""


def function(*_args: Any, **_options: Any) -> None:
    """A function, where none is expected."""


BAD: dict[str, Any] = {
    "None": None,
    "3": 3,
    "0": 0,
    "-1": -1,
    "2**70": 2**70,
    "1.5": 1.5,
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "1j": 1j,
    "True": True,
    "False": False,
    "numpy bool": np.True_,
    "numpy -5": np.int64(-5),
    "date": np.datetime64("2020"),
    "text": "x",
    "no text": "",
    "zero byte": "a\0b",
    "bytes": b"x",
    "[]": [],
    "()": (),
    "{}": {},
    "set": {1},
    "iterator": iter([]),
    "[None]": [None],
    "ragged": [[1], [1, 2]],
    "{1: 2}": {1: 2},
    "dict": {"rate": 1},
    "strings": np.array(["a"]),
    "objects": np.array([None, 1]),
    "matrix": np.ones((2, 2)),
    "jax array": jnp.ones(3),
    "two keys": jax.random.split(KEY),
    "wrong key": np.zeros(3, np.uint32),
    "object": object(),
    "module": np,
    "function": function,
    "class": Thing,
    "int": int,
    "float": float,
    "object class": object,
    "dict class": dict,
}


def train(key, rate):
    return {"loss": rate}


TRIALS = {"rate": np.array([0.1, 0.2])}
POPULATION = {
    "init": lambda key, rate: rate,
    "step": lambda key, state, rate: state,
    "evaluate": lambda key, state, rate: {"loss": state},
    "trials": TRIALS,
    "key": KEY,
    "metric": "loss",
    "rounds": 1,
    "progress": False,
}
RESULT = sweep.SweepResult(
    TRIALS, {"loss": np.ones(2), "curve": np.ones((2, 3))}, np.zeros(2, bool)
)
PARENTS = sweep.SweepResult({}, {"parent_by_round": [[0], [1]]}, np.zeros(2, bool))
ARRAYS = {"trials": TRIALS, "metrics": {"loss": np.ones(2)}, "diverged": np.zeros(2, bool)}
BOOL = ("True", "False", "numpy bool")
RUN = {
    "strategy": ("None",),
    "devices": ("None",),
    "directory": ("None", "text"),
    "progress": BOOL,
}
LOG = {"log_to": ("None", "[]", "()")}
EXECUTOR = {"executor": ("None",), "retries": ("3", "0")} | LOG
TEXT = ("text", "no text", "zero byte")


class Door(NamedTuple):
    """A function, a right call, and the values of BAD that an argument takes."""

    call: Callable[..., Any]
    arguments: dict[str, Any]
    good: dict[str, tuple[str, ...]] = {}  # noqa: RUF012


NUMBERS = ("3", "0", "-1", "1.5", "numpy -5")
DOORS = {
    "run": Door(
        sweep.run,
        {"train": train, "trials": TRIALS, "key": KEY, "progress": False},
        RUN
        | EXECUTOR
        | {"chunk": ("None", "3"), "static": ("[]", "()")}
        | {"processes": ("None",), "process": ("None",)},
    ),
    "search": Door(
        sweep.search,
        {"train": train, "space": {"rate": sweep.uniform(0, 1)}, "trials": 1, "batch": 1}
        | {"key": KEY, "metric": "loss", "progress": False},
        RUN
        | EXECUTOR
        | {"trials": ("3",), "batch": ("3",), "static": ("[]", "()")}
        | {"sampler": ("None",), "study": ("None",)},
    ),
    # A function that returns None is a state without arrays, or wrong only for `evaluate`.
    "population": Door(
        sweep.population,
        POPULATION | {"explore": {}},
        RUN | {"explore": ("{}",), "exploit": ("None",), "rounds": ("3",), "init": ("function",)},
    ),
    "successive_halving": Door(
        sweep.successive_halving,
        POPULATION,
        RUN | {"rounds": ("3",), "factor": ("3",), "init": ("function",)},
    ),
    "grid": Door(sweep.grid, {"a": [1]}, {"a": ("strings", "jax array", "wrong key")}),
    "sample": Door(
        sweep.sample, {"key": KEY, "n": 2, "a": sweep.uniform(0, 1)}, {"n": ("3",), "sobol": BOOL}
    ),
    "uniform": Door(sweep.uniform, {"lo": -6, "hi": 9.0}, {"lo": NUMBERS, "hi": NUMBERS}),
    "log_uniform": Door(
        sweep.log_uniform, {"lo": 0.1, "hi": 9}, {"lo": ("3", "1.5"), "hi": ("3", "1.5")}
    ),
    "integer": Door(
        sweep.integer,
        {"lo": -6, "hi": 9},
        dict.fromkeys(("lo", "hi"), ("3", "0", "-1", "numpy -5")),
    ),
    "choice": Door(
        sweep.choice, {"values": [1]}, {"values": ("strings", "jax array", "wrong key")}
    ),
    "perturb": Door(sweep.perturb, {"lo": -6, "hi": 9.0}, {"lo": NUMBERS, "hi": NUMBERS}),
    "resample": Door(
        sweep.resample, {"distribution": sweep.uniform(0, 1)}, {"distribution": ("function",)}
    ),
    "truncation": Door(sweep.truncation, {}),
    "lineage": Door(sweep.lineage, {"result": PARENTS, "member": 0}, {"member": ("0",)}),
    "trial_key": Door(sweep.trial_key, {"key": KEY, "index": 0}, {"index": ("3", "0")}),
    "SweepResult": Door(sweep.SweepResult, ARRAYS, {"trials": ("{}",), "metrics": ("{}",)}),
    "PopulationResult": Door(
        sweep.PopulationResult,
        ARRAYS,
        {"trials": ("{}",), "metrics": ("{}",), "states": ("{}", "{1: 2}")},
    ),
    "SearchResult": Door(
        sweep.SearchResult,
        ARRAYS | {"study": optuna.create_study(), "numbers": np.arange(2)},
        {"trials": ("{}",), "metrics": ("{}",)},
    ),
    "plot_parallel": Door(sweep.plot_parallel, {"result": RESULT, "metric": "loss"}),
    "plot_marginals": Door(sweep.plot_marginals, {"result": RESULT, "metric": "loss"}),
    "CSVLogger": Door(sweep.CSVLogger, {"folder": "logs"}, {"folder": ("text",)}),
    "JSONLinesLogger": Door(sweep.JSONLinesLogger, {"folder": "logs"}, {"folder": ("text",)}),
    "TensorBoardLogger": Door(sweep.TensorBoardLogger, {"folder": "logs"}, {"folder": ("text",)}),
    "WandbLogger": Door(
        sweep.WandbLogger,
        {"project": "mine"},
        {"project": TEXT, "group": ("None", *TEXT), "folder": ("text",)}
        | {"options": ("{}", "dict")},
    ),
    "MLflowLogger": Door(
        sweep.MLflowLogger,
        {"experiment": "mine"},
        {"experiment": TEXT, "tracking_uri": ("None", *TEXT), "group": ("None", *TEXT)},
    ),
    "log": Door(RESULT.log, {"log_to": []}, LOG),
    "best": Door(RESULT.best, {"metric": "loss"}),
    "scalar": Door(RESULT.scalar, {"metric": "loss"}),
    "plot": Door(RESULT.plot, {"metric": "loss"}),
    "save": Door(RESULT.save, {"path": "result.npz"}, {"path": ("text",)}),
    "load": Door(sweep.SweepResult.load, {"path": "result.npz"}),
}


def test_every_public_function_has_a_door():
    assert set(sweep.__all__) - {"Logger"} <= set(DOORS)  # which is abstract


@pytest.mark.parametrize("name", DOORS)
def test_no_bad_value_passes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for package in ("mlflow", "tensorboardX", "wandb"):  # which may not be installed
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    RESULT.save("result.npz")
    door = DOORS[name]
    door.call(**door.arguments)
    files = {path.name for path in tmp_path.iterdir()}
    parameters = inspect.signature(door.call).parameters.values()
    for argument in {p.name for p in parameters if p.kind != p.VAR_KEYWORD} | {*door.arguments}:
        for label in BAD.keys() - door.good.get(argument, ()):
            why = refusal(door, argument, BAD[label])
            assert re.search(rf"`({argument}|rate)\b", why), f"{argument} = {label}: {why}"
    assert {path.name for path in tmp_path.iterdir()} == files


def refusal(door: Door, argument: str, value: Any) -> str:
    """The message with which a function refuses a value; "" if it accepts it."""
    try:
        door.call(**door.arguments | {argument: value})
    except ValueError as error:
        return str(error)
    return ""
