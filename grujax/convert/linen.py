"""Flax Linen: `flax.linen.GRUCell`, alone, in `nn.RNN` and in `nn.Bidirectional`.

Linen has one dense layer per gate and operand: `ir`, `iz` and `in` with biases, `hr` and `hz`
without, and `hn` with one. `GRUParams` stores the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grujax.convert.checks import as_pair
from grujax.convert.layouts import Layout, Leaf, nest, write_cell
from grujax.convert.stacks import read_layers
from grujax.convert.trees import flatten_arrays
from grujax.layers import Layer
from grujax.params import GRUParams

LINEN = Layout(
    "flax.linen.GRUCell",
    leaves=(
        *(Leaf(f"i{gate}/kernel", "w_x", gate, "I H") for gate in "rzn"),
        *(Leaf(f"h{gate}/kernel", "w_h", gate, "H H") for gate in "rzn"),
        *(Leaf(f"i{gate}/bias", "b_x", gate, "H") for gate in "rzn"),
        Leaf("hn/bias", "b_h", "n", "H"),
    ),
    naming=nest("/", "layers_", alone="forward"),
)


def from_linen(variables: Mapping[str, Any], *, prefix: str = "") -> Layer | list[Layer]:
    """Converts the variables of a Linen GRU to `GRUParams`.

    The variables do not say everything about a module. Its `gate_fn` and `activation_fn` must be
    sigmoid and tanh. A `grujax.linen` module with `reset_after=False` has the same tree: use its
    method `gru_params`, which knows the form. What acts outside of the cells, such as `reverse`,
    `merge` and `residual`, are arguments of `grujax.gru`, `bidirectional_gru` and `stacked_gru`.

    Args:
        variables: `{"params": tree}` or `tree`, of a `GRUCell`, of a module that holds one as
            `cell` (such as `nn.RNN`), of an `nn.Bidirectional` of two of these, of a
            `grujax.linen.StackedGRU`, or of a model that holds one of them.
        prefix: where the GRU is in the model, such as "encoder/GRUCell_0".

    Returns:
        `GRUParams` with `reset_after=True`, which is Flax's form; a pair (forward, backward) for
        `nn.Bidirectional`; a list of these for a stack. If there is only `forward_rnn`, as where
        both directions share one cell, it is both items of the pair.

    Raises:
        ValueError: if a name or shape under `prefix` does not belong to a GRU (the message lists
            the prefixes that have one), or a name is missing. This includes a learned `h0`, which
            `GRUParams` do not hold.

    Example:
        >>> import flax.linen as nn, jax
        >>> import jax.numpy as jnp
        >>> rnn = nn.RNN(nn.GRUCell(features=5))
        >>> from_linen(rnn.init(jax.random.key(0), jnp.ones((2, 7, 3)))).w_x.shape
        (3, 3, 5)
    """
    leaves = flatten_arrays("variables", variables, "/")
    if "params" in variables:  # beside other collections
        leaves = {path.removeprefix("params/"): leaf for path, leaf in leaves.items()}
    return read_layers("variables", leaves, LINEN, prefix)


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


def _write_layer(name: str, layer: Any) -> dict[str, Any]:
    if isinstance(layer, GRUParams):
        return {"cell": _write(layer)}
    pair = zip(("forward_rnn", "backward_rnn"), as_pair(name, layer), strict=True)
    return {direction: {"cell": _write(params)} for direction, params in pair}


def _write(params: GRUParams) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in write_cell(LINEN, params).items():
        dense, leaf = name.split("/")
        tree.setdefault(dense, {})[leaf] = array
    return tree
