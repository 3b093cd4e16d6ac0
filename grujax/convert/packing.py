"""What the conversions share: reading arrays, packing gates, and refusing what does not fit."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.params import GRUParams, check_params

GATES = "rzn"  # the order in `GRUParams`


def read_array(name: str, value: Any, axes: str, **sizes: int) -> Array:
    """`value` as an array; raises ValueError unless it is floating and has these axes.

    Args:
        name: what the framework calls it.
        value: anything that JAX takes for an array.
        axes: its axes, as in "I 3H". A letter fits any size at first, the same one thereafter.
        sizes: the letters whose size is known.
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"`{name}` must have a floating dtype, got {array.dtype.name}.")
    found, names = dict(sizes), axes.split()
    if len(names) != array.ndim or not all(
        _fits(found, axis, size) for axis, size in zip(names, array.shape, strict=True)
    ):
        known = " and ".join(f"{letter} = {size}" for letter, size in sizes.items())
        raise ValueError(
            f"`{name}` has shape {list(array.shape)}, expected [{', '.join(names)}]"
            f"{f' with {known}' if known else ''}."
        )
    return array


def _fits(found: dict[str, int], axis: str, size: int) -> bool:
    """Whether an axis "3H" can have this size; notes that of its letter."""
    factor, letter = re.fullmatch(r"(\d*)(\D*)", axis).groups()  # type: ignore[union-attr]
    multiple = int(factor or 1)
    return size == multiple * (found.setdefault(letter, size // multiple) if letter else 1)


def check_names(what: str, got: Any, required: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Raises ValueError unless a mapping `got` has the required names, and no unknown ones."""
    missing = [name for name in required if name not in got]
    unknown = [str(name) for name in got if name not in (*required, *optional)]
    if missing or unknown:
        raise ValueError(
            f"{what} must hold {quote(required)}"
            + (f", and may hold {quote(optional)}" if optional else "")
            + (f"; missing: {quote(missing)}" if missing else "")
            + (f"; not of a GRU: {quote(unknown)}" if unknown else "")
            + "."
        )


def quote(names: Sequence[str]) -> str:
    """The names in a message; of many, the first ones."""
    shown = ", ".join(f"`{name}`" for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def split_gates(packed: Array, order: str = GATES) -> Array:
    """`[..., 3H]` with the gates in a framework's `order` -> `[3, ..., H]`."""
    gates = jnp.split(packed, 3, axis=-1)
    return jnp.stack([gates[order.index(gate)] for gate in GATES])


def join_gates(gates: Array, order: str = GATES) -> Array:
    """`[3, ..., H]` -> `[..., 3H]` with the gates in a framework's `order`."""
    return jnp.concatenate([gates[GATES.index(gate)] for gate in order], axis=-1)


def negate_update(gates: Array) -> Array:
    """The weights of a framework whose update gate is 1 − z: σ(−a) = 1 − σ(a)."""
    z = GATES.index("z")
    return gates.at[z].set(-gates[z])


def check_form(params: Any, reset_after: bool, framework: str) -> GRUParams:
    """`params` with JAX arrays; raises ValueError unless they have the framework's reset form."""
    check_params(params)
    if params.reset_after != reset_after:
        acts = "after" if reset_after else "before"
        raise ValueError(
            f"{framework} has the reset gate act {acts} the recurrent product, so it needs "
            f"`reset_after={reset_after}`; `params` have `reset_after={params.reset_after}`, "
            "which is another function."
        )
    return jax.tree.map(jnp.asarray, params)


def directions_of(layers: Any) -> list[tuple[GRUParams, ...]]:
    """The directions of each layer, one or two; raises ValueError unless they make a stack."""
    if not isinstance(layers, (list, tuple)) or not layers:
        raise ValueError(
            "`layers` must be a non-empty list of GRUParams or pairs of them, got "
            f"{type(layers).__name__}."
        )
    stack: list[tuple[GRUParams, ...]] = []
    for index, layer in enumerate(layers):
        directions = _directions(index, layer)
        if index > 0:
            width = sum(params.hidden_size for params in stack[-1])
            if directions[0].input_size != width:
                raise ValueError(
                    f"`layers[{index}]` has `w_x` of shape {list(directions[0].w_x.shape)}, "
                    f"expected input size {width}, the width of the layer below."
                )
        stack.append(directions)
    return stack


def _directions(index: int, layer: Any) -> tuple[GRUParams, ...]:
    directions = (layer,) if isinstance(layer, GRUParams) else as_pair(f"layers[{index}]", layer)
    for params in directions:
        check_params(params)
    if len({params.input_size for params in directions}) > 1:
        sizes = [params.input_size for params in directions]
        raise ValueError(f"The directions of `layers[{index}]` have input sizes {sizes}.")
    return directions


def as_pair(name: str, value: Any) -> tuple[GRUParams, GRUParams]:
    """`value` as a pair; raises ValueError unless it is one."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        got = f"{len(value)} items" if isinstance(value, (list, tuple)) else type(value).__name__
        raise ValueError(
            f"`{name}` must be a GRUParams or a pair (forward, backward) of them, got {got}."
        )
    return value[0], value[1]


def check_uniform(stack: list[tuple[GRUParams, ...]], framework: str) -> None:
    """Raises ValueError unless all layers have one hidden size and one number of directions."""
    sizes = [params.hidden_size for directions in stack for params in directions]
    if len(set(sizes)) > 1:
        raise ValueError(f"{framework} has one hidden size for all layers, `layers` have {sizes}.")
    counts = [len(directions) for directions in stack]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{framework} has as many directions in every layer, `layers` have {counts}."
        )


def require(module: str) -> Any:
    """Imports a framework; an ImportError names the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"`{module}` is not installed: pip install 'grujax[convert]'. ({error})"
        ) from error
