"""One GRU computation in grujax and in eight other libraries, with the same weights.

`make_problem(setting)` draws weights, inputs and masks; `compile_program(name, problem, mode)`
returns a library's program for it, ready to be timed. Weights and inputs are converted to each
library's layout beforehand; inputs are time-major if the library supports it. The modes are

    forward     xs, h0 -> the last states, hs
    training    the gradient of Σ hs∘c + Σ h_last∘c_last with respect to all weights, xs and h0, for
                fixed random c, which is zero in the padding

onnxruntime and OpenVINO have the forward pass alone, and onnxruntime's GRU has no bfloat16. Haiku's
cell applies the reset gate before the recurrent product, and NNX's has no `b_hn`: with the same
weights they compute a slightly different GRU, at the same cost.
"""

import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from experiments.benchmark.peers import on_jax, on_onnx, on_torch
from experiments.benchmark.peers.problem import Problem, Program, Setting, make_problem

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

    modules: tuple[str, ...]  # to import
    compile_program: Callable[[Problem, str], Program]  # for a problem, in one of the MODES
    masks: tuple[str, ...] = ()  # which of "lengths" and "resets" it supports
    modes: tuple[str, ...] = MODES
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


def _on_jax(direction: on_jax.MakeDirection, batch_major: bool = False) -> Callable[..., Program]:
    return partial(on_jax.compile_program, direction, batch_major=batch_major)


LIBRARIES = {
    "flax.linen": Library(("flax.linen",), _on_jax(on_jax.linen_direction), ("lengths",)),
    "flax.nnx": Library(("flax.nnx",), _on_jax(on_jax.nnx_direction), ("lengths",)),
    "haiku": Library(("haiku",), _on_jax(on_jax.haiku_direction), ("resets",)),
    "equinox": Library(("equinox",), _on_jax(on_jax.equinox_direction)),
    "keras": Library(("keras",), _on_jax(on_jax.keras_direction, batch_major=True), ("lengths",)),
    "torch": Library(("torch",), on_torch.compile_program, ("lengths",)),
    "onnxruntime": Library(
        ("onnx", "onnxruntime"),
        on_onnx.compile_onnxruntime,
        ("lengths",),
        modes=("forward",),
        dtypes=("float32",),
    ),
    "openvino": Library(
        ("onnx", "openvino"), on_onnx.compile_openvino, ("lengths",), modes=("forward",)
    ),
}


def why_missing(name: str) -> str | None:
    """Imports a library. Returns: why it cannot take part, or None if it can."""
    if name == "keras":
        os.environ["KERAS_BACKEND"] = "jax"
    try:
        *_, module = map(importlib.import_module, LIBRARIES[name].modules)
    except ImportError as error:
        return f"not installed ({error})"
    if name == "keras" and module.backend.backend() != "jax":
        return f"running on {module.backend.backend()}, not on JAX"
    return None


def can_run(name: str, setting: Setting, mode: str) -> bool:
    """Whether a library, or "grujax IMPLEMENTATION", supports this setting in this mode."""
    if name.startswith("grujax "):
        return True
    library = LIBRARIES[name]
    is_masked = setting.kind in ("lengths", "resets")
    return (
        mode in library.modes
        and setting.dtype in library.dtypes
        and (setting.kind in library.masks or not is_masked)
    )


def compile_program(name: str, problem: Problem, mode: str) -> Program:
    """Compiles the program of a library, or of "grujax IMPLEMENTATION", in one of the MODES."""
    if name.startswith("grujax "):
        implementation = name.removeprefix("grujax ")
        direction = partial(on_jax.grujax_direction, implementation=implementation)
        return on_jax.compile_program(direction, problem, mode)
    return LIBRARIES[name].compile_program(problem, mode)
