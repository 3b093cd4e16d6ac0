"""The checks of the arguments of Flax modules.

`CHECKS` has one check for each argument of their constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from jax import Array
from jax.export import is_symbolic_dim

from grujax.checks import (
    as_floating,
    check_bool,
    check_callable,
    check_choice,
    check_dtype,
    check_integer,
    check_rate,
    check_sequence,
    describe,
)
from grujax.implementations import Implementation
from grujax.layers import Merge
from grujax.params import Initializer

Check = Callable[[str, Any], Any]


def _optional(check: Check) -> Check:
    """The same check, which lets None pass."""
    return lambda name, value: None if value is None else check(name, value)


def _check_merge(name: str, value: Any) -> Any:
    """A function of both directions, or the name of one."""
    if callable(value):
        return value
    return check_choice(name, value, get_args(get_args(Merge)[0]), other="a function")


_check_initializer = partial(check_callable, signature="(key, shape, dtype)")
_check_implementation = partial(check_choice, choices=get_args(Implementation), optional=True)

# The check of each argument of a module's constructor; a rate may be traced.
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("in_features", "features", "num_layers"), check_integer),
    **dict.fromkeys(("reset_after", "recurrent_bias", "learned_h0", "reverse"), check_bool),
    **dict.fromkeys(("bidirectional", "residual"), check_bool),
    **dict.fromkeys(("time_major", "return_all_layers"), check_bool),
    **dict.fromkeys(("zoneout", "recurrent_dropout", "input_dropout", "dropout"), check_rate),
    **dict.fromkeys(("kernel_init", "recurrent_kernel_init", "bias_init"), _check_initializer),
    "carry_init": _check_initializer,
    "update_bias_init": _optional(_check_initializer),
    "dtype": _optional(check_dtype),
    "param_dtype": check_dtype,
    "carry_dtype": _optional(check_dtype),
    "deterministic": _optional(check_bool),
    "stop_gradient_every": _optional(check_integer),
    "implementation": _check_implementation,
    "merge": _check_merge,
}


def check_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those arguments of a module's constructor that have a check, with Python's types.

    Raises:
        ValueError: if one is not what `CHECKS` says.
    """
    return {name: CHECKS[name](name, arguments[name]) for name in arguments if name in CHECKS}


def as_inputs(name: str, value: Any, axes: str) -> Array:
    """A floating array of features; `axes` lists its axes, the fewest last."""
    array = as_floating(name, value)
    fewest = axes.split(" or ")[-1]
    if array.ndim <= fewest.count(",") or array.shape[-1] == 0:
        features = " without features" if array.shape[-1:] == (0,) else ""
        raise ValueError(f"`{name}` must have shape {axes}, got {list(array.shape)}{features}.")
    return array


def carry_shape(input_shape: Sequence[int], features: int) -> tuple[Any, ...]:
    """The shape `[B, H]` of the state for inputs of the shape `[B, I]`; B may be symbolic."""
    check_sequence("input_shape", input_shape, "sizes")
    for size in input_shape:
        if not is_symbolic_dim(size):
            check_integer("input_shape", size, minimum=0)
    return (*input_shape[:-1], features)


def draw_carry(carry_init: Initializer, key: Array, shape: tuple[Any, ...], dtype: Any) -> Array:
    """Draws an initial state; raises ValueError if `carry_init` returns anything else."""
    carry = carry_init(key, shape, dtype)
    if getattr(carry, "shape", None) != shape:
        raise ValueError(
            f"`carry_init` must return an array of shape {list(shape)}, got {describe(carry)}."
        )
    return carry
