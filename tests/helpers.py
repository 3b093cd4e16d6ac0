"""What the tests share: the implementations, one table of cases, tolerances."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import grujax
from grujax.implementations.native.compiling import COMPILERS
from tests.reference import Inputs

ROOT = Path(__file__).parents[1]  # of the repository

# The dtypes of each implementation, the most exact one first.
DTYPES_OF = {
    "plain": ("float64", "float32", "bfloat16", "float16"),
    "scan": ("float64", "float32", "bfloat16", "float16"),
    "native": ("float32", "bfloat16"),
    "newton": ("float64", "float32", "bfloat16", "float16"),
}
# Every test of the contract runs these. Newton's programs compile for long: its picked cases are in
# `tests/grujax/implementations/newton/test_contract.py`.
IMPLEMENTATIONS = ("plain", "scan", "native")


def best_dtype(implementation: str) -> str:
    return DTYPES_OF[implementation][0]


def _slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def _forms_and_directions(*fast: tuple[bool, bool]) -> pytest.MarkDecorator:
    """All pairs of `reset_after` and `reverse`; those that are not `fast` are slow."""
    pairs = [(True, False), (False, True), (True, True), (False, False)]
    return pytest.mark.parametrize(
        ("reset_after", "reverse"),
        [pair if pair in fast else _slow(*pair) for pair in pairs],
        ids=["after", "before-reverse", "after-reverse", "before"],
    )


# Each reset form and each direction once.
form_and_direction = _forms_and_directions((True, False), (False, True))
# For dear tests: the form of cuDNN, forward in time.
one_form_and_direction = _forms_and_directions((True, False))

# What builds the native kernel; without one, its tests are skipped (tests/conftest.py).
COMPILER = next((path for name in COMPILERS if (path := shutil.which(name))), None)

# Relative to the largest entry of the array.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 4e-2}


@dataclass(frozen=True)
class Case:
    """A shape, and what of lengths, resets, mask and initial state is given."""

    name: str
    steps: int = 7
    batch: tuple[int, ...] = (3,)
    lengths: tuple[int, ...] | None = None  # in the order of the flattened batch
    resets: bool = False
    mask: bool = False
    h0: str = "random"  # "random", "zeros" for None, or "learned" for [H]
    input_size: int = 4
    hidden_size: int = 5
    small: bool = False  # an edge where the two reset forms are the same code

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("bare", h0="zeros"),
    Case("lengths", lengths=(4, 0, 7)),
    Case("resets", resets=True),
    Case("lengths and resets", lengths=(5, 0, 7), resets=True),
    Case("mask, lengths and resets", lengths=(5, 0, 7), resets=True, mask=True),
    Case("unbatched", batch=(), lengths=(5,), resets=True),
    Case("two batch axes", batch=(2, 2), lengths=(5, 0, 7, 1), resets=True),
    Case("one step", steps=1, lengths=(1, 0, 1), resets=True, small=True),
    Case("no steps", steps=0, lengths=(0, 0, 0), resets=True, small=True),
    Case("no rows", batch=(0,), lengths=(), resets=True, small=True),
    Case("long", steps=67, batch=(2,), lengths=(67, 34), resets=True, h0="learned"),
    Case("size one", steps=4, batch=(2,), lengths=(4, 2), input_size=1, hidden_size=1, small=True),
]
BOTH = next(case for case in CASES if case.name == "lengths and resets")
MASKED = next(case for case in CASES if case.name == "mask, lengths and resets")


@dataclass
class Draw:
    """Random NumPy arrays of one dtype, the same in every run."""

    seed: str
    dtype: Any = "float64"
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(zlib.crc32(self.seed.encode()))

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * self.rng.normal(size=shape)).astype(jnp.dtype(self.dtype))

    def bools(self, *shape: int, rate: float = 0.4) -> np.ndarray:
        return self.rng.random(shape) < rate

    def params(self, input_size: int, hidden_size: int, reset_after: bool = True):
        """Random weights and random biases: zero biases would hide a lost or swapped one."""
        return grujax.GRUParams(
            w_x=self.normal(3, input_size, hidden_size, scale=0.6),
            w_h=self.normal(3, hidden_size, hidden_size, scale=0.6),
            b_x=self.normal(3, hidden_size, scale=0.5),
            b_hn=self.normal(hidden_size, scale=0.5),
            reset_after=reset_after,
        )


def one_array(array: Callable[[], Any]) -> Any:
    """The state of a cell whose state is one array, from what draws one."""
    return array()


class CellCase(NamedTuple):
    """A recurrent cell other than the GRU, over time, and the reference for one step of it."""

    draw_params: Callable[[Draw, int, int], Any]  # (draw, I, H) -> random weights and biases
    run: Callable[..., Any]  # the arguments of `gru` -> (state_last, states)
    reference: Callable[..., Any]  # (params, state of one row, x [I], numpy) -> state
    make_state: Callable[[Callable[[], Any]], Any] = one_array


def inputs_of(
    case: Case, reset_after: bool = True, dtype: Any = "float64", cell: CellCase | None = None
) -> Inputs:
    """Of the GRU; of another cell where one is given."""
    draw = Draw(case.name, dtype)
    I, H, T, batch = case.input_size, case.hidden_size, case.steps, case.batch  # noqa: E741
    shapes: dict[str, tuple[int, ...]] = {"random": (*batch, H), "learned": (H,)}
    state = cell.make_state if cell else one_array
    return Inputs(
        params=cell.draw_params(draw, I, H) if cell else draw.params(I, H, reset_after),
        xs=draw.normal(T, *batch, I),
        h0=None if case.h0 == "zeros" else state(lambda: draw.normal(*shapes[case.h0])),
        lengths=None if case.lengths is None else np.reshape(np.int32(case.lengths), batch),
        resets=draw.bools(T, *batch) if case.resets else None,
        h_last_bar=state(lambda: draw.normal(*batch, H)),
        hs_bar=state(lambda: draw.normal(T, *batch, H)),
        mask=draw.bools(T, *batch, rate=0.6) if case.mask else None,
    )


def replace_unread(inputs: Inputs, value: float) -> Inputs:
    """Another value in the padding and at skipped steps."""
    steps = np.arange(inputs.xs.shape[0]).reshape(-1, *(1,) * inputs.lengths.ndim)
    reads = steps < inputs.lengths
    if inputs.mask is not None:
        reads = reads & inputs.mask
    xs = np.where(reads[..., None], inputs.xs, inputs.xs.dtype.type(value))
    return inputs._replace(xs=xs)


@partial(jax.jit, static_argnames=("reverse", "implementation"))
def outputs_and_gradients(inputs: Inputs, reverse: bool, implementation: str | None):
    """`(h_last, hs)` and the gradients of (params, xs, h0), compiled, all arguments traced."""
    return pull_back_through(partial(grujax.gru, implementation=implementation), inputs, reverse)


def pull_back_through(run: Callable[..., Any], inputs: Inputs, reverse: bool):
    """The outputs of `run`, which has the arguments of `gru`, and the gradients."""

    def run_on(params, xs, h0):
        time = {"lengths": inputs.lengths, "mask": inputs.mask, **resets_to(h0, inputs.resets)}
        return run(params, xs, h0, **time, reverse=reverse)

    outputs, pull_back = jax.vjp(run_on, inputs.params, inputs.xs, inputs.h0)
    return outputs, pull_back((inputs.h_last_bar, inputs.hs_bar))


def resets_to(h0: Any, resets: Any) -> dict[str, Any]:
    """Resets that go back to the initial state; an `h0` that is None means zeros."""
    return {} if resets is None else {"resets": resets, "reset_state": h0}


def share_unless_mapped(
    models: list[Inputs], mapped: set[str]
) -> tuple[list[Inputs], Inputs, Inputs]:
    """For a `vmap` over models: what is not `mapped` is that of the first model.

    Returns the models, the arguments of the mapped function, and their axes.
    """
    first = models[0]
    models = [
        Inputs(*(getattr(model if name in mapped else first, name) for name in Inputs._fields))
        for model in models
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    arguments = Inputs(
        *(getattr(stacked if name in mapped else first, name) for name in Inputs._fields)
    )
    axes = Inputs(*(0 if name in mapped else None for name in Inputs._fields))
    return models, arguments, axes


def as_jax(inputs: Inputs) -> Inputs:
    """Arrays of JAX for all but the masks, which the reference reads in Python."""
    arrays = jax.tree.map(jnp.asarray, inputs)
    return arrays._replace(lengths=inputs.lengths, resets=inputs.resets, mask=inputs.mask)


def assert_close(got, want, dtype: str, tolerance: float | None = None) -> None:
    """Equal trees and shapes, and each array within the tolerance of its largest entry."""
    got_leaves, got_tree = jax.tree.flatten(got)
    want_leaves, want_tree = jax.tree.flatten(want)
    assert got_tree == want_tree
    for a, b in zip(got_leaves, want_leaves, strict=True):
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        assert a.shape == b.shape
        scale = np.max(np.abs(b), initial=0.0) or 1.0
        np.testing.assert_allclose(
            a, b, rtol=0, atol=scale * (TOLERANCE[dtype] if tolerance is None else tolerance)
        )


def assert_equal(got, want) -> None:
    """Equal trees, dtypes, and every bit of every array, but for the sign of zero."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def equations_of(jaxpr):
    """Every equation of a jaxpr, those of inner jaxprs and of tangents and gradients included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations_of(inner)
        if "computation" in equation.params:
            operands = (operand.aval for operand in equation.invars)
            yield from equations_of(jax.make_jaxpr(equation.params["computation"])(*operands).jaxpr)


def chunk_times(folder: Path) -> dict[str, int]:
    """When each saved chunk of a sweep below `folder` was written, in nanoseconds, by its path."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("chunk-*.npz")}


def read_results(path: Path) -> Any:
    """The results in a results.json."""
    return json.loads(path.read_text(encoding="utf-8"))["results"]


def run_on_eight_devices(path: str, *options: str) -> None:
    """Runs a file of `tests/fixtures` in a new process, as JAX fixes the devices at its start.

    Args:
        path: of the file in that folder.
        *options: of pytest, which select tests.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    result = subprocess.run(
        [*command, str(ROOT / "tests" / "fixtures" / path)],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 0, result.stdout
