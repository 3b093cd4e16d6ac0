"""Flax Linen: `flax.linen.GRUCell`, alone, in `nn.RNN` and in `nn.Bidirectional`.

Linen has one dense layer per gate and operand: `ir`, `iz` and `in` with biases, `hr` and `hz`
without, and `hn` with one. `GRUParams` stores the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from grujax.checks import check_mapping
from grujax.convert.checks import (
    MAX_CELLS,
    as_pair,
    check_form,
    check_names,
    read_array,
    too_many_cells,
)
from grujax.convert.packing import GATES
from grujax.layers import Layer
from grujax.params import GRUParams

_DENSE = tuple(f"{operand}{gate}" for operand in "ih" for gate in GATES)
_WITH_BIAS = ("ir", "iz", "in", "hn")
_DIRECTIONS = ("forward_rnn", "backward_rnn")


def from_linen(variables: Mapping[str, Any]) -> Layer | list[Layer]:
    """Converts the variables of a Linen GRU to `GRUParams`.

    Args:
        variables: `{"params": tree}` or `tree`, of a `GRUCell`, of a module that holds one as
            `cell` (such as `nn.RNN`), of an `nn.Bidirectional` of two of these, or of a
            `grujax.linen.StackedGRU`.

    Returns:
        `GRUParams` with `reset_after=True`, which is Flax's form; a pair (forward, backward) for
        `nn.Bidirectional`; a list of these for a stack. A `grujax.linen` module with
        `reset_after=False` has the same tree: use its method `gru_params`, which knows the form.

    Raises:
        ValueError: if a name or shape does not belong to a GRU. This includes a learned `h0`,
            which `GRUParams` do not hold.

    Example:
        >>> import flax.linen as nn, jax
        >>> rnn = nn.RNN(nn.GRUCell(features=5))
        >>> from_linen(rnn.init(jax.random.key(0), jnp.ones((2, 7, 3)))).w_x.shape
        (3, 3, 5)
    """
    check_mapping("variables", variables, "of the parameters of a GRU")
    tree, path = _descend(variables.get("params", variables), "")
    if "layers_0" not in tree:
        return _read_layer(tree, path)
    names = [f"layers_{index}" for index in range(len(tree))]
    check_names(_name(path), tree, names)
    return [_read_layer(tree[name], f"{path}{name}/") for name in names]


def to_linen(params: Layer | list[Layer]) -> dict[str, Any]:
    """Converts `GRUParams` to the variables of a Linen GRU.

    Args:
        params: `GRUParams` with `reset_after=True`; or, for the modules of `grujax.linen`, a pair
            (forward, backward) or a list of layers.

    Returns:
        `{"params": tree}` for `flax.linen.GRUCell`. `nn.RNN` and `grujax.linen.GRU` expect this
        tree under `cell`: `{"params": {"cell": tree}}`. For a pair, the variables of
        `nn.Bidirectional` and `grujax.linen.BidirectionalGRU`; for a list, those of
        `grujax.linen.StackedGRU`.

    Raises:
        ValueError: if a shape does not match, or `reset_after` is False, which Flax does not
            support.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> variables = to_linen(init_gru(jax.random.key(0), input_size=3, hidden_size=5))
        >>> variables["params"]["ir"]["kernel"].shape
        (3, 5)
    """
    if isinstance(params, GRUParams):
        return {"params": _write(params)}
    if isinstance(params, list) and params:
        layers = {f"layers_{i}": (f"params[{i}]", layer) for i, layer in enumerate(params)}
        return {"params": {name: _write_layer(*layer) for name, layer in layers.items()}}
    return {"params": _write_layer("params", params)}


def _name(path: str) -> str:
    """The name of a part of the variables in a message."""
    return path.removesuffix("/") or "variables"


def _descend(tree: Any, path: str) -> tuple[Mapping[str, Any], str]:
    """The first tree under `cell`, `cell/cell`, … that holds something else, and its path."""
    for _ in range(MAX_CELLS):
        check_mapping(_name(path), tree, "of the parameters of a GRU")
        if "cell" not in tree:
            return tree, path
        check_names(_name(path), tree, ["cell"])
        tree, path = tree["cell"], f"{path}cell/"
    raise too_many_cells("variables")


def _read_layer(tree: Any, path: str) -> Layer:
    tree, path = _descend(tree, path)
    if "forward_rnn" not in tree and "backward_rnn" not in tree:
        return _read_cell(tree, path)
    check_names(_name(path), tree, _DIRECTIONS)
    forward, backward = (
        _read_cell(*_descend(tree[name], f"{path}{name}/")) for name in _DIRECTIONS
    )
    return forward, backward


def _read_cell(tree: Mapping[str, Any], path: str) -> GRUParams:
    check_names(_name(path), tree, _DENSE)
    for name in _DENSE:
        bias = ["bias"] if name in _WITH_BIAS else []
        check_names(f"{path}{name}", tree[name], ["kernel", *bias])
    hidden_size = read_array(f"{path}hr/kernel", tree["hr"]["kernel"], "H H").shape[0]

    def read(name: str, leaf: str, axes: str, **sizes: int) -> Array:
        return read_array(f"{path}{name}/{leaf}", tree[name][leaf], axes, H=hidden_size, **sizes)

    input_size = read("ir", "kernel", "I H").shape[0]
    return GRUParams(
        w_x=jnp.stack([read(f"i{g}", "kernel", "I H", I=input_size) for g in GATES]),
        w_h=jnp.stack([read(f"h{g}", "kernel", "H H") for g in GATES]),
        b_x=jnp.stack([read(f"i{g}", "bias", "H") for g in GATES]),
        b_hn=read("hn", "bias", "H"),
    )


def _write_layer(name: str, layer: Any) -> dict[str, Any]:
    if isinstance(layer, GRUParams):
        return {"cell": _write(layer)}
    pair = zip(_DIRECTIONS, as_pair(name, layer), strict=True)
    return {direction: {"cell": _write(params)} for direction, params in pair}


def _write(params: GRUParams) -> dict[str, Any]:
    params = check_form(params, True, "flax.linen.GRUCell")
    tree: dict[str, Any] = {}
    for i, gate in enumerate(GATES):
        tree[f"i{gate}"] = {"kernel": params.w_x[i], "bias": params.b_x[i]}
        tree[f"h{gate}"] = {"kernel": params.w_h[i]}
    tree["hn"]["bias"] = params.b_hn
    return tree
