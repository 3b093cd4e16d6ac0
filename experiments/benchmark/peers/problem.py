"""The computation on which libraries are compared: a GRU with random weights and inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax import GRUParams

# "lengths" and "resets" are one layer with a mask.
KINDS = ("one layer", "bidirectional", "two layers", "lengths", "resets")


@dataclass(frozen=True)
class Setting:
    """The size and kind of the computation: one point of the benchmark's grid."""

    steps: int  # T
    batch: int  # B
    input_size: int  # I
    hidden_size: int  # H
    kind: str = "one layer"  # one of KINDS
    dtype: str = "float32"  # of weights, inputs and states

    def input_sizes(self) -> list[list[int]]:
        """The input size of each direction of each layer."""
        if self.kind == "bidirectional":
            return [[self.input_size] * 2]
        if self.kind == "two layers":
            return [[self.input_size], [self.hidden_size]]
        return [[self.input_size]]


class Problem(NamedTuple):
    """Weights and data; the inner lists have one item per direction of a layer."""

    layers: list[list[GRUParams]]
    h0: list[list[Array]]  # [B, H]
    xs: Array  # [T, B, I]
    lengths: Array | None  # [B] int32, between T/2 and T
    resets: Array | None  # [T, B] bool, true at 1 in 50 steps
    c: Array  # [T, B, directions · H], zero in the padding
    c_last: list[list[Array]]  # [B, H]

    @property
    def stack(self) -> list[GRUParams | tuple[GRUParams, GRUParams]]:
        """The layers as `grujax.convert` takes them."""
        return [(layer[0], layer[1]) if len(layer) == 2 else layer[0] for layer in self.layers]


class Program(NamedTuple):
    """A computation ready to be timed."""

    run: Callable[[], Any]  # returns when everything is computed
    compile_seconds: float | None = None  # all work before the first call; None: eager libraries
    temporaries: int | None = None  # bytes without arguments and results; None if unknown


def make_problem(setting: Setting, seed: int = 0) -> Problem:
    """Draws a problem. With resets h0 is zero, the only state to which all libraries reset."""
    rng = np.random.default_rng(seed)
    steps, batch, hidden = setting.steps, setting.batch, setting.hidden_size

    def draw(*shape: int) -> Array:
        return jnp.asarray(rng.standard_normal(shape, np.float32), setting.dtype)

    def draw_params(input_size: int) -> GRUParams:
        return GRUParams(
            w_x=draw(3, input_size, hidden) / input_size**0.5,
            w_h=draw(3, hidden, hidden) / hidden**0.5,
            b_x=draw(3, hidden) / 3,
            b_hn=draw(hidden) / 3,
        )

    sizes = setting.input_sizes()
    c, h0_scale, lengths, resets = draw(steps, batch, hidden * len(sizes[-1])), 1.0, None, None
    if setting.kind == "lengths":
        lengths = jnp.asarray(rng.integers((steps + 1) // 2, steps + 1, batch), jnp.int32)
        c = jnp.where((jnp.arange(steps)[:, None] < lengths)[..., None], c, 0)
    if setting.kind == "resets":
        resets, h0_scale = jnp.asarray(rng.random((steps, batch)) < 0.02), 0.0
    return Problem(
        layers=[[draw_params(size) for size in layer] for layer in sizes],
        h0=[[draw(batch, hidden) * h0_scale for _ in layer] for layer in sizes],
        xs=draw(steps, batch, setting.input_size),
        lengths=lengths,
        resets=resets,
        c=c,
        c_last=[[draw(batch, hidden) for _ in layer] for layer in sizes],
    )
