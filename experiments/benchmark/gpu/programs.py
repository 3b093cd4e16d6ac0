"""The programs that the GPU benchmark times: the CUDA kernel, `lax.scan`, Flax and cuDNN."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

import grujax
from experiments.benchmark.peers import MODES
from experiments.benchmark.peers.cudnn import cudnn_calls

STEPS = 1000
JAX_PROGRAMS = ("cuda", "lax.scan", "flax")

Call = Callable[[], Any]  # launches a program without waiting; its result can be waited for


class Shape(NamedTuple):
    """What is computed: as many inputs as units, and STEPS steps."""

    dtype: str
    batch: int
    units: int


def holds(dtype: str, units: int) -> bool:
    """Whether the kernel runs with this many units on the GPUs of this process."""
    params = grujax.init_gru(jax.random.key(0), 1, units)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    run = jax.jit(partial(grujax.gru, implementation="cuda"))
    try:
        run.trace(params, jnp.ones((1, 1), dtype)).lower(lowering_platforms=("cuda",))
    except ValueError:
        return False
    return True


def compile_programs(shapes: Sequence[Shape]) -> dict[tuple[Shape, str, str], Any]:
    """Compiles all JAX programs, several at a time, by (shape, mode, name)."""
    keys = [(shape, mode, name) for shape in shapes for mode in MODES for name in JAX_PROGRAMS]

    def compile_one(key: tuple[Shape, str, str]) -> Any:
        shape, mode, name = key
        run = _functions(shape.units)[name]
        if mode == "training":
            run = jax.grad(lambda *a, f=run: f(*a).astype(jnp.float32).sum(), argnums=(0, 1))
        return jax.jit(run).lower(*_arguments(name, shape)).compile()

    with ThreadPoolExecutor() as threads:
        compiled = threads.map(compile_one, keys)
        return dict(zip(keys, tqdm(compiled, desc="compile", total=len(keys)), strict=True))


def make_calls(programs: dict[Any, Any], shape: Shape, mode: str) -> dict[str, Call]:
    """One call per program for a shape and mode, including cuDNN in each of its dtypes."""
    noise = np.random.default_rng(0).normal(size=2**20, scale=shape.units**-0.5)

    def fill(leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.asarray(np.resize(noise.astype(leaf.dtype), leaf.shape))

    calls: dict[str, Call] = {}
    for name in JAX_PROGRAMS:
        arguments = jax.tree.map(fill, _arguments(name, shape))
        calls[name] = partial(programs[shape, mode, name], *arguments)
    return calls | cudnn_calls(shape.dtype, STEPS, shape.batch, shape.units, mode)


def _functions(units: int) -> dict[str, Callable[..., Any]]:
    """Functions of `(params, xs [T, B, H])`; Flax's are batch-major, its default."""
    module = _flax_module(units)

    def run_gru(implementation: str, params: Any, xs: Array) -> Array:
        return grujax.gru(params, xs, implementation=implementation)[1]

    return {
        "cuda": partial(run_gru, "cuda"),
        "lax.scan": partial(run_gru, "plain"),
        "flax": lambda variables, xs: module.apply(variables, xs),
    }


def _arguments(name: str, shape: Shape) -> Any:
    """The shapes and dtypes of a program's arguments `(params, xs)`."""
    dtype, batch, units = shape
    xs = jax.ShapeDtypeStruct((STEPS, batch, units), dtype)
    if name == "flax":
        xs = jax.ShapeDtypeStruct((batch, STEPS, units), dtype)
        params = jax.eval_shape(_flax_module(units).init, jax.random.key(0), xs)
    else:
        init = partial(grujax.init_gru, input_size=units, hidden_size=units)
        params = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params), xs


def _flax_module(units: int) -> Any:
    import flax.linen as nn

    return nn.RNN(nn.GRUCell(units, param_dtype=jnp.float32))
