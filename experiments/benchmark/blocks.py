"""A GRU in blocks: `grujax.baselines.block_gru` compared with a dense GRU, and with Flax.

All three compute the same. The dense GRU, `grujax.gru`, has block-diagonal recurrent matrices, and
multiplies their zeros. Flax runs its layer for each block, all of them under one `jax.vmap`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jax import Array
from jax.scipy.linalg import block_diag

import grujax
from experiments.benchmark.peers import MODES
from experiments.common.report import format_table
from experiments.common.report.timing import Run, time_interleaved
from grujax import convert
from grujax.baselines import BlockGRUParams, block_gru, init_block_gru


@dataclass(frozen=True)
class Shape:
    """Two rows of the table."""

    steps: int  # T
    batch: int  # B
    input_size: int  # I
    hidden_size: int  # H
    blocks: int  # K

    def __str__(self) -> str:
        return f"T{self.steps} B{self.batch} I{self.input_size} H{self.hidden_size} K{self.blocks}"


SHAPES = (Shape(64, 16, 64, 256, 4), Shape(64, 16, 64, 512, 8), Shape(64, 16, 64, 1024, 8))


def join(leaf: Array) -> Array:
    """[K, ..., P] -> [..., H]."""
    return jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], -1)


def dense_params(params: BlockGRUParams) -> grujax.GRUParams:
    """The dense GRU that equals the GRU in blocks."""
    w_h = jnp.stack([block_diag(*params.w_h[:, gate]) for gate in range(3)])
    return grujax.GRUParams(join(params.w_x), w_h, join(params.b_x), join(params.b_hn))


def flax_variables(params: BlockGRUParams) -> Any:
    """The variables of Flax's layer, with a leading axis for the blocks."""
    leaves = zip(params.w_x, params.w_h, params.b_x, params.b_hn, strict=True)
    blocks = [convert.to_linen(grujax.GRUParams(*of_block)) for of_block in leaves]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *blocks)
    return {"params": {"cell": stacked["params"]}}


def make_contestants(shape: Shape) -> dict[str, tuple[Callable[[Any, Array], Array], Any]]:
    """By name, a function (params, xs) -> hs [T, B, H] and its parameters; all compute the same."""
    params = init_block_gru(jax.random.key(0), shape.input_size, shape.hidden_size, shape.blocks)
    layer = linen.RNN(linen.GRUCell(shape.hidden_size // shape.blocks), time_major=True)

    def flax(variables: Any, xs: Array) -> Array:
        hs = jax.vmap(layer.apply, in_axes=(0, None), out_axes=-2)(variables, xs)
        return hs.reshape(*hs.shape[:-2], -1)

    return {
        "block_gru": (lambda params, xs: block_gru(params, xs)[1], params),
        "dense": (lambda params, xs: grujax.gru(params, xs)[1], dense_params(params)),
        "flax.linen": (flax, flax_variables(params)),
    }


def compile_programs(shape: Shape, mode: str) -> dict[str, Run]:
    """Compiles "forward", all states, or "training", the gradients of the mean of their squares."""
    xs = jax.random.normal(jax.random.key(1), (shape.steps, shape.batch, shape.input_size))

    def compiled(run: Callable[[Any, Array], Array], params: Any) -> Run:
        function: Callable[..., Any] = run
        if mode == "training":
            function = jax.grad(lambda *primals: jnp.mean(run(*primals) ** 2), argnums=(0, 1))
        program = jax.jit(function).lower(params, xs).compile()
        return lambda: jax.block_until_ready(program(params, xs))

    return {name: compiled(*pair) for name, pair in make_contestants(shape).items()}


def report_blocks(seconds: float, shapes: Sequence[Shape] = SHAPES) -> str:
    """A table of the median milliseconds, and of the others' times divided by `block_gru`'s.

    Args:
        seconds: of timing for each row.
        shapes: two rows of the table for each, see MODES.
    """
    rows = []
    for shape in shapes:
        for mode in MODES:
            times = time_interleaved(compile_programs(shape, mode), seconds)
            ours, *others = (1e3 * float(np.median(values)) for values in times.values())
            cells = [f"{ms:.3g}" for ms in (ours, *others)] + [f"{ms / ours:.2f}" for ms in others]
            rows.append([f"{shape}, {mode}", *cells])
    header = ["block_gru ms", "dense ms", "flax.linen ms", "dense / it", "flax.linen / it"]
    return format_table(["a GRU in blocks", *header], rows)
