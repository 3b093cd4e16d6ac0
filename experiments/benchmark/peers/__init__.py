"""One GRU computation in grujax and in six other libraries, with the same weights.

`make_problem(setting)` draws weights, inputs and masks; `compile_program(name, problem, mode)`
returns a library's program for it, ready to be timed. Weights and inputs are converted to each
library's layout beforehand; inputs are time-major if the library supports it. The modes are

    forward     xs, h0 -> the last states, hs
    training    the gradient of Σ hs∘c + Σ h_last∘c_last with respect to all weights, xs and h0, for
                fixed random c, which is zero in the padding

Haiku's cell applies the reset gate before the recurrent product, and NNX's has no `b_hn`: with the
same weights they compute a slightly different GRU, at the same cost.
"""

import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from experiments.benchmark.peers import on_jax
from experiments.benchmark.peers.problem import Problem, Program, Setting, make_problem
from grujax import GRUParams

MODES = ("forward", "training")

__all__ = [
    "LIBRARIES",
    "MODES",
    "Library",
    "Problem",
    "Program",
    "Setting",
    "can_run",
    "compile_program",
    "make_problem",
    "why_missing",
]


class Library(NamedTuple):
    """A library to compare grujax with."""

    module: str  # to import
    direction: Callable[[GRUParams], on_jax.Direction] | None  # None: torch, which is not JAX
    masks: tuple[str, ...] = ()  # which of "lengths" and "resets" it supports
    batch_major: bool = False  # whether inputs and outputs are [B, T, ...]


LIBRARIES = {
    "flax.linen": Library("flax.linen", on_jax.linen_direction, ("lengths",)),
    "flax.nnx": Library("flax.nnx", on_jax.nnx_direction, ("lengths",)),
    "haiku": Library("haiku", on_jax.haiku_direction, ("resets",)),
    "equinox": Library("equinox", on_jax.equinox_direction),
    "keras": Library("keras", on_jax.keras_direction, ("lengths",), batch_major=True),
    "torch": Library("torch", None, ("lengths",)),
}


def why_missing(name: str) -> str | None:
    """Imports a library. Returns: why it cannot take part, or None if it can."""
    if name == "keras":
        os.environ["KERAS_BACKEND"] = "jax"
    try:
        module = importlib.import_module(LIBRARIES[name].module)
    except ImportError as error:
        return f"not installed ({error})"
    if name == "keras" and module.backend.backend() != "jax":
        return f"running on {module.backend.backend()}, not on JAX"
    return None


def can_run(name: str, kind: str) -> bool:
    """Whether a library, or "grujax IMPLEMENTATION", supports this kind of setting."""
    if name.startswith("grujax ") or kind not in ("lengths", "resets"):
        return True
    return kind in LIBRARIES[name].masks


def compile_program(name: str, problem: Problem, mode: str) -> Program:
    """Compiles the program of a library, or of "grujax IMPLEMENTATION", in one of the MODES."""
    if name == "torch":
        from experiments.benchmark.peers import on_torch

        return on_torch.compile_program(problem, mode)
    if name.startswith("grujax "):
        implementation = name.removeprefix("grujax ")
        direction = partial(on_jax.grujax_direction, implementation=implementation)
        return on_jax.compile_program(direction, problem, mode, batch_major=False)
    library = LIBRARIES[name]
    assert library.direction is not None
    return on_jax.compile_program(library.direction, problem, mode, library.batch_major)
