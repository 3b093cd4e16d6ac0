"""Flax NNX: `flax.nnx.GRUCell`, alone, in `nnx.RNN` and in `nnx.Bidirectional`.

NNX packs the gates r, z, n along the columns of `dense_i [I, 3H]` and `dense_h [H, 3H]`. The
recurrent bias has several forms: none in most versions of Flax, `hn_bias [H]` in newer ones, a bias
of `dense_h`, and `b_hn [H]` in `grujax.nnx.GRUCell`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grujax.checks import describe
from grujax.convert.checks import base_of, check_activation, check_class, quote, require
from grujax.convert.layouts import Layout, Leaf, nest, write_cell
from grujax.convert.stacks import read_layers
from grujax.convert.trees import MAX_ENTRIES, check_prefix, flatten
from grujax.layers import Layer
from grujax.params import GRUParams

NNX = Layout(
    "flax.nnx.GRUCell",
    leaves=(
        Leaf("dense_i.kernel", "w_x", "rzn", "I 3H"),
        Leaf("dense_h.kernel", "w_h", "rzn", "H 3H"),
        Leaf("dense_i.bias", "b_x", "rzn", "3H"),
    ),
    optional=(
        (Leaf("hn_bias", "b_h", "n", "H"),),
        (Leaf("dense_h.bias", "b_h", "rzn", "3H"),),
        (Leaf("b_hn", "b_h", "n", "H"),),
    ),
    naming=nest(".", "layers.", alone="backward"),
)


def from_nnx(cell_or_state: Any, *, prefix: str = "") -> Layer | list[Layer]:
    """Converts an NNX GRU to `GRUParams`.

    A state does not say everything about a module: not its activations, which must be sigmoid and
    tanh, and not its reset form, for which Flax's, `reset_after=True`, is assumed. A module says
    it, and is refused if it is not what its parameters alone compute.

    Args:
        cell_or_state: a `flax.nnx.GRUCell` or `grujax.nnx.GRUCell`, a module that holds one as
            `cell`, such as `nnx.RNN`, an `nnx.Bidirectional` of two of these, a
            `grujax.nnx.StackedGRU`, or a model that holds one of them; or the `nnx.state(...)` of
            one, also as a dict. Its random streams (`rngs`) are no parameters and do not matter.
        prefix: where the GRU is in the model, such as "encoder.rnn".

    Returns:
        `GRUParams`; a pair (forward, backward) for two directions; a list of these for a stack.

    Raises:
        ValueError: if a name or shape under `prefix` does not belong to a GRU (the message lists
            the prefixes that have one), or a name is missing. This includes a learned `h0`. Also if
            a module has other activations, `reverse`, `residual`, or a merge other than "concat".

    Example:
        >>> from flax import nnx
        >>> from_nnx(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))).w_x.shape
        (3, 3, 5)
    """
    if not (isinstance(cell_or_state, Mapping) or base_of(cell_or_state, "flax", "Pytree")):
        raise ValueError(
            "`cell_or_state` must be a module of flax.nnx or the state of one, got "
            f"{describe(cell_or_state)}."
        )
    tree = flatten("cell_or_state", cell_or_state, ".", _children)
    streams = [path for path in tree.leaves if "rngs" in path.split(".")]
    leaves = {path: leaf for path, leaf in tree.leaves.items() if path not in streams}

    def form_of(path: str) -> bool:
        cell = tree.nodes[path.removesuffix(".")]
        return True if isinstance(cell, Mapping) else getattr(cell, "reset_after", True)

    layers = read_layers("cell_or_state", leaves, NNX, prefix, form_of)
    for path, node in tree.nodes.items():
        if f"{path}.".startswith(check_prefix(prefix, ".")):
            _check_module(f"cell_or_state.{path}".removesuffix("."), node)
    return layers


def to_nnx(params: GRUParams) -> Any:
    """Converts `GRUParams` to a `flax.nnx.GRUCell`.

    Args:
        params: `GRUParams` with `reset_after=True` and zero `b_hn`. For all others use
            `grujax.nnx.GRUCell`.

    Returns:
        A new `nnx.GRUCell`, to be used alone or in `nnx.RNN`. Get its parameters with `nnx.state`
        and put them into a model with `nnx.update`.

    Raises:
        ValueError: if `b_hn` is not zero or `reset_after` is False, which NNX does not support, or
            a shape does not match.
        ImportError: if Flax is not installed.

    Example:
        >>> from grujax import init_gru
        >>> cell = to_nnx(init_gru(jax.random.key(0), input_size=3, hidden_size=5))
        >>> cell.dense_i.kernel.shape
        (3, 15)
    """
    nnx = require("flax.nnx")
    arrays = write_cell(NNX, params, _group_of(nnx))
    cell = nnx.GRUCell(
        params.input_size,
        params.hidden_size,
        recurrent_kernel_init=jax.nn.initializers.zeros,  # an orthogonal one lacks some dtypes
        param_dtype=params.w_h.dtype,
        rngs=nnx.Rngs(0),
    )
    for path, array in arrays.items():
        *parts, name = path.split(".")
        node = cell
        for part in parts:
            node = getattr(node, part)
        getattr(node, name).set_value(array)
    return cell


def _group_of(nnx: Any) -> tuple[Leaf, ...]:
    """The optional leaves of the cell of the Flax that is installed."""
    cell = nnx.eval_shape(lambda: nnx.GRUCell(1, 1, rngs=nnx.Rngs(0)))
    names = list(flatten("cell", cell, ".", _children).leaves)
    unknown = [name for name in names if name not in NNX.names()]
    if unknown:
        raise ValueError(
            f"flax.nnx.GRUCell has the parameters {quote(unknown)} in this version of Flax, which "
            "grujax does not know; use grujax.nnx.GRUCell."
        )
    return NNX.leaves_of(names)[len(NNX.leaves) :]


def _children(node: Any) -> Mapping[str, Any] | None:
    """The parameters and modules in a module, or the items of a state; None for a leaf."""
    if isinstance(node, Mapping):  # the keys of lists are integers
        items = islice(node.items(), MAX_ENTRIES + 1)
        return {str(key) if isinstance(key, int) else key: item for key, item in items}
    if base_of(node, "flax", "Variable") or not base_of(node, "flax", "Pytree"):
        return None
    parts = vars(node).items()
    return {name: part for name, part in parts if not name.startswith("_") and _is_data(part)}


def _is_data(part: Any) -> bool:
    """Whether an attribute of a module is a module or an array, not an option."""
    is_node = base_of(part, "flax", "Pytree") or base_of(part, "flax", "Variable")
    return bool(is_node) or isinstance(part, jax.Array | np.ndarray)


def _check_module(name: str, module: Any) -> None:
    """Raises ValueError if a module is another function of its parameters than a GRU forward."""
    if isinstance(module, Mapping) or base_of(module, "flax", "List"):  # these have no options
        return
    if hasattr(module, "dense_h"):
        package = "grujax" if base_of(module, "grujax", "GRUCell") else "flax"
        check_class(name, module, package, "GRUCell", "__call__")
    for option, activation in (("gate_fn", jax.nn.sigmoid), ("activation_fn", jnp.tanh)):
        check_activation(f"{name}.{option}", getattr(module, option, activation), activation)
    merge = getattr(module, "merge", getattr(module, "merge_fn", "concat"))
    options = {
        "reverse": getattr(module, "reverse", False),
        "residual": getattr(module, "residual", False),
        "carry_init": getattr(module, "carry_init", None) is not None,
        "merge": not _concatenates(merge),
    }
    for option, differs in options.items():
        if differs:
            raise ValueError(
                f"`{name}` has the option `{option}`, which parameters do not hold: convert its "
                f"state, `from_nnx(nnx.state(module))`, and pass `{option}` to the function that "
                "runs the parameters."
            )


def _concatenates(merge: Any) -> bool:
    """Whether a merge of both directions joins their features."""
    if not callable(merge):
        return merge == "concat"
    both = np.ones((2, 3), "float32"), np.zeros((2, 3), "float32")
    try:
        return np.array_equal(merge(*both), np.concatenate(both, axis=-1))
    except Exception:  # a function of something else than arrays
        return False
