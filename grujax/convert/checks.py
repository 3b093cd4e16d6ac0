"""Checks that the conversions share: arrays, names, reset form, and the layers of a stack."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jax import Array

from grujax.checks import (
    as_array,
    as_floating,
    check_instance,
    check_mapping,
    check_sequence,
    describe,
)
from grujax.params import GRUParams, check_params

# How many modules may hold a GRU as `cell`, one in the other, before a conversion gives up. A tree
# that contains itself has no end.
MAX_CELLS = 16


def read_array(name: str, value: Any, axes: str, **sizes: int) -> Array:
    """Converts `value` to a JAX array and checks its dtype and axes.

    Args:
        name: the framework's name for it.
        value: anything that JAX accepts as an array.
        axes: its axes, as in "I 3H". A letter matches any size once, and then only that size.
        sizes: the letters whose size is known.

    Raises:
        ValueError: if it is no array, is empty, its dtype is not floating or the axes do not match.
    """
    array = as_floating(name, value)
    found, names = dict(sizes), axes.split()
    if array.size == 0:
        raise ValueError(
            f"`{name}` has shape {list(array.shape)}, expected [{', '.join(names)}] without zeros."
        )
    if len(names) != array.ndim or not all(
        _matches(found, axis, size) for axis, size in zip(names, array.shape, strict=True)
    ):
        known = " and ".join(f"{letter} = {size}" for letter, size in sizes.items())
        raise ValueError(
            f"`{name}` has shape {list(array.shape)}, expected [{', '.join(names)}]"
            f"{f' with {known}' if known else ''}."
        )
    return array


def _matches(found: dict[str, int], axis: str, size: int) -> bool:
    """Whether an axis such as "3H" can have this size; records the size of its letter."""
    factor, letter = re.fullmatch(r"(\d*)(\D*)", axis).groups()  # type: ignore[union-attr]
    multiple = int(factor or 1)
    return size == multiple * (found.setdefault(letter, size // multiple) if letter else 1)


def check_names(name: str, got: Any, required: Sequence[str]) -> Mapping[str, Any]:
    """Returns `got`; raises ValueError unless it is a mapping with exactly the required names."""
    check_mapping(name, got, "of the parameters of a GRU")
    missing = [name for name in required if name not in got]
    unknown = [name for name in got if name not in required]
    if missing or unknown:
        raise ValueError(
            f"`{name}` must hold {quote(required)}"
            + (f"; missing: {quote(missing)}" if missing else "")
            + (f"; not of a GRU: {quote(unknown)}" if unknown else "")
            + "."
        )
    return got


def quote(names: Sequence[str], count: int | None = None) -> str:
    """Lists names in a message: the first eight, and how many more of this `count` there are."""
    count = len(names) if count is None else count
    shown = ", ".join(f"`{name if len(name) <= 80 else f'{name[:76]} ...'}`" for name in names[:8])
    return shown if count <= 8 else f"{shown} and {count - 8} more"


def too_many_cells(name: str) -> ValueError:
    """The error for a tree or a module that goes on after `MAX_CELLS` times `cell`."""
    return ValueError(
        f"`{name}` must hold a GRU, got more than {MAX_CELLS} times `cell`, one in the other."
    )


def check_form(params: Any, reset_after: bool, framework: str) -> GRUParams:
    """Returns `params` with JAX arrays; raises ValueError if the framework lacks its reset form."""
    check_params(params)
    if params.reset_after != reset_after:
        acts = "after" if reset_after else "before"
        raise ValueError(
            f"{framework} applies the reset gate {acts} the recurrent product, so it needs "
            f"`reset_after={reset_after}`; `params` have `reset_after={params.reset_after}`, "
            "which is another function."
        )
    return as_jax(params)


def as_jax(params: GRUParams) -> GRUParams:
    """Checked parameters with JAX arrays."""
    names = ("w_x", "w_h", "b_x", "b_hn")
    w_x, w_h, b_x, b_hn = (as_array(f"params.{name}", getattr(params, name)) for name in names)
    return GRUParams(w_x, w_h, b_x, b_hn, params.reset_after)


def split_directions(layers: Any) -> list[tuple[GRUParams, ...]]:
    """Lists the one or two directions of each layer; raises ValueError if they do not stack."""
    check_sequence("layers", layers, "GRUParams or pairs of them")
    stack: list[tuple[GRUParams, ...]] = []
    for index, layer in enumerate(layers):
        directions = _layer_directions(index, layer)
        if index > 0:
            width = sum(params.hidden_size for params in stack[-1])
            if directions[0].input_size != width:
                raise ValueError(
                    f"`layers[{index}]` has `w_x` of shape {list(directions[0].w_x.shape)}, "
                    f"expected input size {width}, the width of the layer below."
                )
        stack.append(directions)
    return stack


def _layer_directions(index: int, layer: Any) -> tuple[GRUParams, ...]:
    directions = (layer,) if isinstance(layer, GRUParams) else as_pair(f"layers[{index}]", layer)
    for params in directions:
        check_instance(f"layers[{index}]", params, GRUParams)
        check_params(params)
    if len({params.input_size for params in directions}) > 1:
        sizes = [params.input_size for params in directions]
        raise ValueError(f"The directions of `layers[{index}]` have input sizes {sizes}.")
    return directions


def as_pair(name: str, value: Any) -> tuple[GRUParams, GRUParams]:
    """Returns `value` as a pair (forward, backward); raises ValueError if it is not one."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(
            f"`{name}` must be a GRUParams or a pair (forward, backward) of them, got "
            f"{describe(value)}."
        )
    return value[0], value[1]


def check_uniform(stack: list[tuple[GRUParams, ...]], framework: str) -> None:
    """Raises ValueError unless all layers share one hidden size and one number of directions."""
    sizes = [params.hidden_size for directions in stack for params in directions]
    if len(set(sizes)) > 1:
        raise ValueError(f"{framework} has one hidden size for all layers, `layers` have {sizes}.")
    counts = [len(directions) for directions in stack]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{framework} has as many directions in every layer, `layers` have {counts}."
        )


def require(module: str) -> Any:
    """Imports a framework; if it is missing, the ImportError names the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"`{module}` is not installed: pip install 'grujax[convert]'. ({error})"
        ) from error
