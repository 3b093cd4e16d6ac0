"""What the tests of the arguments of Linen's and NNX's modules share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import Draw

B, T, I, H = 3, 6, 4, 5  # noqa: E741
DRAW = Draw("arguments", "float32")
XS, RESETS = DRAW.normal(B, T, I), DRAW.bools(B, T)
STATES = DRAW.normal(B, H), DRAW.normal(B, H)

OBJECTS = (object(), {}, [], {"cycle": {}}, np.array(["a"]), 1j, "nonsense")
INTEGERS = (*OBJECTS, None, 0, -1, 1.5, np.nan, True, np.ones(2, int))
BOOLS = (*OBJECTS, None, 0, 1, 1.5, "no", np.ones(2, bool))
RATES = (*OBJECTS, None, -0.1, 1, np.nan, np.inf, True, "0.1", np.full(2, 0.1))
DTYPES = (*OBJECTS, 3, 1.5, "int32", jnp.complex64, XS)
FUNCTIONS = (*OBJECTS, 3, 1.5, True, XS)
CHOICES = (*OBJECTS, 3, 1.5, True, b"scan", XS)


MODULES = ["GRU", "BidirectionalGRU", "StackedGRU"]

# They share the code of the calls; the two others are slow.
one_name_each = pytest.mark.parametrize(
    "name", ["GRU", *(pytest.param(name, marks=pytest.mark.slow) for name in MODULES[1:])]
)


def _without_none(values: tuple) -> tuple:
    return tuple(value for value in values if value is not None)


# Values that an argument of a constructor refuses, by its name.
BAD_FIELDS: dict[str, tuple] = {
    **dict.fromkeys(("in_features", "features", "num_layers"), INTEGERS),
    **dict.fromkeys(("reset_after", "recurrent_bias", "learned_h0", "reverse"), BOOLS),
    **dict.fromkeys(("bidirectional", "residual", "time_major", "return_all_layers"), BOOLS),
    **dict.fromkeys(("zoneout", "recurrent_dropout", "input_dropout", "dropout"), RATES),
    **dict.fromkeys(("kernel_init", "recurrent_kernel_init", "bias_init"), (*FUNCTIONS, None)),
    "carry_init": (*FUNCTIONS, None),
    "update_bias_init": FUNCTIONS,
    "dtype": DTYPES,
    "carry_dtype": DTYPES,
    "param_dtype": (*DTYPES, None),
    "deterministic": _without_none(BOOLS),
    "stop_gradient_every": _without_none(INTEGERS),
    "implementation": CHOICES,
    "merge": (*CHOICES, None),
}

ARRAYS = ("x", 1.5, True, {}, object(), np.array(["a"]), [[1.0], [1.0, 2.0]], jnp.sum, [[None]])

# Values that an argument of the call of a module refuses, by its name.
BAD_CALLS: dict[str, tuple] = {
    "xs": (*ARRAYS, None, [], XS > 0, XS.astype(complex), XS[0, 0], jax.random.key(0)),
    "h0": (*ARRAYS, [], XS, np.ones((B, H), int), np.ones((B + 1, H), "float32")),
    "lengths": (*ARRAYS, [], [1.0, 2.0, 3.0], [1, 2], [1, 2, 7], [-1, 2, 3], RESETS),
    "resets": (*ARRAYS, [], RESETS.T, RESETS.astype(int), RESETS[0]),
    "mask": (*ARRAYS, [], RESETS.T, RESETS.astype(int), RESETS[0]),
    "reset_state": (*ARRAYS[:1], *ARRAYS[2:], [], XS, np.ones((B, H), int)),
    "deterministic": (*OBJECTS, 0, 1, 1.5, "no", np.ones(2, bool)),
}


def call_of(name: str) -> dict[str, Any]:
    """All arrays that the call of this module takes."""
    arguments = {"xs": XS, "lengths": np.array([4, 0, 6]), "resets": RESETS, "mask": ~RESETS}
    states = {"GRU": STATES[0], "BidirectionalGRU": STATES, "StackedGRU": [STATES[0]]}
    arguments["h0"] = states[name]
    arguments["reset_state"] = states[name]
    return arguments


def lists_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments, with nested lists for arrays."""
    return jax.tree.map(lambda array: array.tolist(), arguments)


def empty_calls() -> list[dict[str, np.ndarray]]:
    """Calls without rows, without steps, and without both."""
    return [
        {
            "xs": np.ones((rows, steps, I), "float32"),
            "lengths": np.zeros(rows, int),
            "resets": np.ones((rows, steps), bool),
        }
        for rows, steps in ((0, T), (B, 0), (0, 0))
    ]
