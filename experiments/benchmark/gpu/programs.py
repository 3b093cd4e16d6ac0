"""The programs that the GPU benchmark times: implementations of grujax, and cuDNN."""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import grujax

# By the names in the tables. "lax.scan" is the cell in a scan, which JAX differentiates.
IMPLEMENTATIONS = {"grujax": "cuda", "scan": "scan", "lax.scan": "plain"}
MODES = ("forward", "training", "jvp")

Call = Callable[[], Any]  # launches a program without waiting; its result can be waited for


class Shape(NamedTuple):
    """A sequence with as many inputs as units."""

    dtype: str
    steps: int
    batch: int
    units: int

    def __str__(self) -> str:
        return f"{self.dtype} T{self.steps} B{self.batch} H{self.units}"


@cache
def holds(dtype: str, units: int) -> bool:
    """Whether the CUDA kernel runs with this many units on the GPUs of this process."""
    params = grujax.init_gru(jax.random.key(0), 1, units)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    run = jax.jit(partial(grujax.gru, implementation="cuda"))
    try:
        run.trace(params, jnp.ones((1, 1), dtype)).lower(lowering_platforms=("cuda",))
    except ValueError:
        return False
    return True


def contestants(shape: Shape) -> dict[str, str]:
    """The implementations that run here, by their names in the tables."""
    return {
        name: implementation
        for name, implementation in IMPLEMENTATIONS.items()
        if implementation != "cuda" or holds(shape.dtype, shape.units)
    }


def make_function(run: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """A function of `(params, xs)`.

    Args:
      run: returns `hs` of `(params, xs)`.
      mode: "forward": `run` itself. "training": the gradients of Σ hs. "jvp": `hs` and its tangent
        along `(params, xs)`.
    """
    if mode == "training":
        return jax.grad(lambda *primals: run(*primals).astype(jnp.float32).sum(), argnums=(0, 1))
    if mode == "jvp":
        return lambda *primals: jax.jvp(run, primals, primals)
    return run


def run_gru(implementation: str, params: Any, xs: Any, **options: Any) -> Any:
    """`hs` by an implementation."""
    return grujax.gru(params, xs, implementation=implementation, **options)[1]


def draw(shape: Shape, reset_after: bool = True) -> tuple[grujax.GRUParams, Any]:
    """Parameters and inputs `[T, B, H]`; the larger arrays repeat their numbers."""
    dtype, steps, batch, units = shape
    params = grujax.init_gru(jax.random.key(0), units, units, reset_after=reset_after)
    noise = np.random.default_rng(0).normal(size=2**20).astype(dtype)
    xs = jnp.asarray(np.resize(noise, (steps, batch, units)))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params), xs


def compile_all(functions: Mapping[Any, Callable[..., Any]], *arguments: Any) -> dict[Any, Any]:
    """Compiles functions of the same arguments, several at a time."""

    def compile_one(function: Callable[..., Any]) -> Any:
        return jax.jit(function).lower(*arguments).compile()

    with ThreadPoolExecutor() as threads:
        compiled = threads.map(compile_one, functions.values())
        return dict(zip(functions, compiled, strict=True))


def count_launches(compiled: Any) -> int:
    """How often a program launches the CUDA kernel."""
    return len(re.findall(r'custom_call_target="[^"]*\.ptx"', compiled.as_text()))


def count_transposes(compiled: Any, numbers: int) -> int:
    """How many transposes of arrays with at least so many numbers a program has."""
    shapes = re.findall(r"= \w+\[([\d,]+)\]\S* transpose\(", compiled.as_text())
    sizes = [np.prod([int(size) for size in shape.split(",")]) for shape in shapes]
    return sum(int(size >= numbers) for size in sizes)
