"""Flax Linen: `flax.linen.GRUCell`, alone, in `nn.RNN` and in `nn.Bidirectional`.

Linen keeps a dense layer for each gate and operand: `ir`, `iz`, `in` with biases, `hr`, `hz`
without, and `hn` with one. These are the numbers of `GRUParams`, one for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from grujax.convert.packing import (
    GATES,
    as_pair,
    check_form,
    check_names,
    read_array,
)
from grujax.layers import Layer
from grujax.params import GRUParams

_DENSE = tuple(f"{operand}{gate}" for operand in "ih" for gate in GATES)
_DIRECTIONS = ("forward_rnn", "backward_rnn")


def from_linen(variables: Mapping[str, Any]) -> Layer | list[Layer]:
    """The parameters of a Linen GRU.

    Args:
        variables: `{"params": ...}` or what is inside: the tree of a `GRUCell`, or of a module
            that holds one as `cell`, as `nn.RNN` does. Also the tree of an `nn.Bidirectional` of
            two of these, and of a `grujax.linen.StackedGRU`.

    Returns:
        `GRUParams` with `reset_after=True`, which is Flax's form; a pair (forward, backward) for
        `nn.Bidirectional`; a list of these for a stack. (Of a `grujax.linen` module with
        `reset_after=False`, whose tree is the same, its own method `gru_params` knows the form.)

    Raises:
        ValueError: if a name or shape does not belong to a GRU; also for a learned `h0`, which
            `GRUParams` do not hold.

    Example:
        >>> import flax.linen as nn, jax
        >>> rnn = nn.RNN(nn.GRUCell(features=5))
        >>> from_linen(rnn.init(jax.random.key(0), jnp.ones((2, 7, 3)))).w_x.shape
        (3, 3, 5)
    """
    tree = variables.get("params", variables)
    return _read(tree, "")


def to_linen(params: Layer | list[Layer]) -> dict[str, Any]:
    """The variables of a Linen GRU.

    Args:
        params: `GRUParams` with `reset_after=True`; or, for the modules of `grujax.linen`, a pair
            (forward, backward) or a list of layers.

    Returns:
        `{"params": tree}` for `flax.linen.GRUCell`; for `nn.RNN`, and `grujax.linen.GRU`, the tree
        goes under `cell`: `{"params": {"cell": tree}}`. For a tuple of two, those of
        `nn.Bidirectional` and `grujax.linen.BidirectionalGRU`; for a list, those of
        `grujax.linen.StackedGRU`.

    Raises:
        ValueError: if a shape does not fit, or `reset_after` is False, which Flax does not have.
    """
    if isinstance(params, GRUParams):
        return {"params": _write(params)}
    if isinstance(params, list) and params:
        return {"params": {f"layers_{i}": _write_layer(layer) for i, layer in enumerate(params)}}
    return {"params": _write_layer(params)}


def _read(tree: Mapping[str, Any], path: str) -> Any:
    if "cell" in tree:
        check_names(f"`variables` under `{path}`", tree, ["cell"])
        return _read(tree["cell"], f"{path}cell/")
    if "forward_rnn" in tree or "backward_rnn" in tree:
        check_names(f"`variables` under `{path}`", tree, _DIRECTIONS)
        return tuple(_read(tree[name], f"{path}{name}/") for name in _DIRECTIONS)
    if "layers_0" in tree:
        names = [f"layers_{index}" for index in range(len(tree))]
        check_names(f"`variables` under `{path}`", tree, names)
        return [_read(tree[name], f"{path}{name}/") for name in names]
    return _read_cell(tree, path)


def _read_cell(tree: Mapping[str, Any], path: str) -> GRUParams:
    check_names(f"`variables` under `{path}`", tree, _DENSE)
    for name in _DENSE:
        bias = ["bias"] if name in ("ir", "iz", "in", "hn") else []
        check_names(f"`{path}{name}`", tree[name], ["kernel", *bias])
    hidden_size = jnp.shape(tree["hr"]["kernel"])[-1]

    def read(name: str, leaf: str, axes: str, **sizes: int):
        return read_array(f"{path}{name}/{leaf}", tree[name][leaf], axes, H=hidden_size, **sizes)

    w_ir = read("ir", "kernel", "I H")
    return GRUParams(
        w_x=jnp.stack([read(f"i{g}", "kernel", "I H", I=w_ir.shape[0]) for g in GATES]),
        w_h=jnp.stack([read(f"h{g}", "kernel", "H H") for g in GATES]),
        b_x=jnp.stack([read(f"i{g}", "bias", "H") for g in GATES]),
        b_hn=read("hn", "bias", "H"),
    )


def _write_layer(layer: Any) -> dict[str, Any]:
    if isinstance(layer, GRUParams):
        return {"cell": _write(layer)}
    pair = as_pair("params", layer)
    return {name: _write_layer(params) for name, params in zip(_DIRECTIONS, pair, strict=True)}


def _write(params: GRUParams) -> dict[str, Any]:
    params = check_form(params, True, "flax.linen.GRUCell")
    tree: dict[str, Any] = {}
    for i, gate in enumerate(GATES):
        tree[f"i{gate}"] = {"kernel": params.w_x[i], "bias": params.b_x[i]}
        tree[f"h{gate}"] = {"kernel": params.w_h[i]}
    tree["hn"]["bias"] = params.b_hn
    return tree
