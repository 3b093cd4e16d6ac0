"""Haiku: `haiku.GRU`, which has the textbook form (`reset_after=False`).

Haiku packs the gates in the order z, r, n along the columns of `w_i [I, 3H]` and `w_h [H, 3H]`,
and writes h' = (1 − z) ∘ h + z ∘ n: its update gate is 1 − z of ours. It has one bias, `b [3H]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jax import Array

from grujax.convert.layouts import Layout, Leaf, write_cell
from grujax.convert.stacks import read_layers
from grujax.convert.trees import flatten_arrays
from grujax.params import GRUParams

HAIKU = Layout(
    "haiku.GRU",
    leaves=(
        Leaf("w_i", "w_x", "zrn", "I 3H"),
        Leaf("w_h", "w_h", "zrn", "H 3H"),
        Leaf("b", "b_x", "zrn", "3H"),
    ),
    reset_after=False,
    negates_update=True,
)


def from_haiku(module_params: Mapping[str, Any], *, prefix: str = "") -> GRUParams:
    """Converts the parameters of a `haiku.GRU` to `GRUParams`.

    Args:
        module_params: the parameters of the module: `w_i [I, 3H]`, `w_h [H, 3H]` and `b [3H]`, of
            any floating dtype; or those of a model that holds it.
        prefix: the name of the module in the model, such as "gru" or "my_model/~/gru".

    Returns:
        `GRUParams` with `reset_after=False` and zero `b_hn`.

    Raises:
        ValueError: if a name under `prefix` is missing or does not belong to a GRU (the message
            lists the prefixes that have one), or a shape or dtype does not match.

    Example:
        >>> import haiku, jax
        >>> import jax.numpy as jnp
        >>> model = haiku.transform(lambda x, h: haiku.GRU(5)(x, h))
        >>> params = model.init(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((2, 5)))
        >>> from_haiku(params, prefix="gru").reset_after
        False
    """
    leaves = flatten_arrays("module_params", module_params, "/")
    params = read_layers("module_params", leaves, HAIKU, prefix)
    assert isinstance(params, GRUParams)  # Haiku names no layers
    return params


def to_haiku(params: GRUParams) -> dict[str, Array]:
    """Converts `GRUParams` to the parameters of a `haiku.GRU`.

    Haiku has one bias for the candidate: the sum of `b_x[2]` and `b_hn`.

    Args:
        params: `GRUParams` with `reset_after=False`.

    Returns:
        `w_i [I, 3H]`, `w_h [H, 3H]` and `b [3H]`, usually stored as `params["gru"]`.

    Raises:
        ValueError: if `reset_after` is True, which Haiku does not support, or a shape does not
            match.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=3, hidden_size=5, reset_after=False)
        >>> {name: array.shape for name, array in to_haiku(params).items()}
        {'w_i': (3, 15), 'w_h': (5, 15), 'b': (15,)}
    """
    return write_cell(HAIKU, params)
