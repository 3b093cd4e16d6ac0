"""Flax Linen: `flax.linen.GRUCell`, alone, in `nn.RNN` and in `nn.Bidirectional`.

Linen has one dense layer per gate and operand: `ir`, `iz` and `in` with biases, `hr` and `hz`
without, and `hn` with one. `GRUParams` stores the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from grujax.convert.checks import as_pair, check_form, check_names, read_array
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
    return _read(variables.get("params", variables), "")


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
        bias = ["bias"] if name in _WITH_BIAS else []
        check_names(f"`{path}{name}`", tree[name], ["kernel", *bias])
    hidden_size = jnp.shape(tree["hr"]["kernel"])[-1]

    def read(name: str, leaf: str, axes: str, **sizes: int) -> Array:
        return read_array(f"{path}{name}/{leaf}", tree[name][leaf], axes, H=hidden_size, **sizes)

    input_size = read("ir", "kernel", "I H").shape[0]
    return GRUParams(
        w_x=jnp.stack([read(f"i{g}", "kernel", "I H", I=input_size) for g in GATES]),
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
