"""Checks that the conversions share: arrays, names, reset form, and the layers of a stack."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax import Array

from grujax.checks import (
    as_array,
    as_floating,
    check_callable,
    check_instance,
    check_sequence,
    describe,
)
from grujax.meshes import gather
from grujax.params import GRUParams, check_params


def read_array(name: str, value: Any, axes: str, **sizes: int) -> Array:
    """Converts `value` to a JAX array on every device, and checks its dtype and axes.

    Args:
        name: the framework's name for it.
        value: anything that JAX accepts as an array, or a box of Flax around it.
        axes: its axes, as in "I 3H" or "H H+I". A letter stands for the same size everywhere.
        sizes: the letters whose size is known.

    Raises:
        ValueError: if it is no array, is empty, its dtype is not floating or the axes do not match.
    """
    array = as_floating(name, value.unbox() if hasattr(value, "unbox") else value)
    expected = f"[{', '.join(axes.split())}]".replace("+", " + ")
    if array.size == 0:
        raise ValueError(
            f"`{name}` has shape {list(array.shape)}, expected {expected} without zeros."
        )
    if measure(axes, array.shape, sizes) is None:
        known = " and ".join(f"{letter} = {size}" for letter, size in sizes.items())
        raise ValueError(
            f"`{name}` has shape {list(array.shape)}, expected {expected}"
            f"{f' with {known}' if known else ''}."
        )
    return gather(array)


def measure(axes: str, shape: Sequence[int], sizes: Mapping[str, int]) -> dict[str, int] | None:
    """The sizes of the letters in `axes`, those of `sizes` included; None if `shape` differs.

    All terms of a sum but the last must be known.
    """
    found, names = dict(sizes), axes.split()
    if len(names) != len(shape):
        return None
    for axis, size in zip(names, shape, strict=True):
        *known, term = axis.split("+")
        rest = size - sum(found[letter] for letter in known)
        factor, letter = re.fullmatch(r"(\d*)(\D*)", term).groups()  # type: ignore[union-attr]
        multiple = int(factor or 1)
        wanted = multiple * (found.setdefault(letter, rest // multiple) if letter else 1)
        if rest != wanted or rest < 1:
            return None
    return found


def quote(names: Sequence[str]) -> str:
    """Lists names in a message: the first eight, and how many more there are."""
    shown = ", ".join(f"`{name if len(name) <= 80 else f'{name[:76]} ...'}`" for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def check_activation(name: str, got: Any, expected: Callable[[Any], Any]) -> None:
    """Raises ValueError unless `got` computes the activation that is fixed in grujax."""
    check_callable(name, got, "(array)")
    points = np.linspace(-12, 12, 49, dtype="float32")
    try:
        fits = np.allclose(np.asarray(got(points)), expected(points), atol=1e-6)
    except Exception:  # a function of something else than arrays
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must be {expected.__name__}, which is fixed in grujax, got "
            f"{getattr(got, '__name__', got)!r}."
        )


def base_of(value: Any, package: str, name: str) -> type | None:
    """The class of this name and package that `value` is an instance of, or None."""
    for base in type(value).__mro__:
        if base.__name__ == name and base.__module__.split(".")[0] == package:
            return base
    return None


def check_class(argument: str, value: Any, package: str, name: str, method: str) -> None:
    """Raises ValueError unless `value` is of this class and runs the method of this class."""
    base = base_of(value, package, name)
    if base is None:
        raise ValueError(f"`{argument}` must be a {package} {name}, got {describe(value)}.")
    if getattr(type(value), method) is not getattr(base, method):
        raise ValueError(
            f"`{argument}` must run as {package}'s {name} does, but the class "
            f"{type(value).__name__} replaces its `{method}`."
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
    """Checked parameters with JAX arrays, each of them on every device."""
    names = ("w_x", "w_h", "b_x", "b_hn")
    arrays = (as_array(f"params.{name}", getattr(params, name)) for name in names)
    w_x, w_h, b_x, b_hn = map(gather, arrays)
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
