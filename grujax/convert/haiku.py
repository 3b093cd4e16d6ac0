"""Haiku: `haiku.GRU`, which has the textbook form (`reset_after=False`).

Haiku packs the gates in the order z, r, n along the columns of `w_i [I, 3H]` and `w_h [H, 3H]`,
and writes h' = (1 − z) ∘ h + z ∘ n: its update gate is 1 − z of ours. It has one bias, `b [3H]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from grujax.convert.checks import check_form, check_names, read_array
from grujax.convert.packing import join_gates, merge_candidate_biases, negate_update, split_gates
from grujax.params import GRUParams

_ORDER = "zrn"


def from_haiku(module_params: Mapping[str, Any]) -> GRUParams:
    """Converts the parameters of a `haiku.GRU` to `GRUParams`.

    Args:
        module_params: the parameters of the module alone, usually `params["gru"]`: `w_i [I, 3H]`,
            `w_h [H, 3H]` and `b [3H]`, of any floating dtype.

    Returns:
        `GRUParams` with `reset_after=False` and zero `b_hn`.

    Raises:
        ValueError: if a name, shape or dtype does not match.

    Example:
        >>> import haiku, jax
        >>> model = haiku.transform(lambda x, h: haiku.GRU(5)(x, h))
        >>> params = model.init(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((2, 5)))
        >>> from_haiku(params["gru"]).reset_after
        False
    """
    check_names("module_params", module_params, ["w_i", "w_h", "b"])
    w_h = read_array("w_h", module_params["w_h"], "H 3H")
    hidden_size = w_h.shape[0]
    w_x = read_array("w_i", module_params["w_i"], "I 3H", H=hidden_size)
    b = read_array("b", module_params["b"], "3H", H=hidden_size)
    return GRUParams(
        w_x=negate_update(split_gates(w_x, _ORDER)),
        w_h=negate_update(split_gates(w_h, _ORDER)),
        b_x=negate_update(split_gates(b, _ORDER)),
        b_hn=jnp.zeros(hidden_size, b.dtype),
        reset_after=False,
    )


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
    params = check_form(params, False, "haiku.GRU")
    arrays = {"w_i": params.w_x, "w_h": params.w_h, "b": merge_candidate_biases(params)}
    return {name: join_gates(negate_update(gates), _ORDER) for name, gates in arrays.items()}
