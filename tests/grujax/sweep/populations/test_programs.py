"""The functions of a population are checked before anything runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from tests.fixtures.populations import init, run

NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "`rounds` must be an integer from 1 to 2147483647, got 0"),
        ({"mode": "least"}, '`mode` must be "min" or "max"'),
        ({"strategy": "pmap"}, "`strategy` must be None"),
        ({"devices": []}, "at least one device"),
        ({"metric": "error"}, "`metric` is 'error', but `evaluate` returns `first`, `loss`"),
        ({"explore": {"rate": sweep.perturb(0, 1)}}, "names `rate`, but the hyperparameters are"),
        ({"rounds": 1.5}, "`rounds` must be an integer from 1 to 2147483647, got 1.5"),
        ({"metric": b"loss"}, "`metric` must be a string, got b'loss'"),
        ({"explore": None}, r"`explore` must be a dict of functions such as .* got None"),
        (
            {"explore": {"learning_rate": lambda value: value}},
            r"cannot be called with \(key, value",
        ),
        ({"explore": {"learning_rate": lambda key, v: None}}, r"must return an array, got None"),
        ({"explore": {"learning_rate": lambda key, v: v + 1j}}, "got complex64 for float32"),
        ({"explore": {"learning_rate": sweep.perturb(1e-4, 1e300)}}, r"`hi` holds 1e\+300, which"),
        (
            {"explore": {"learning_rate": sweep.resample(sweep.log_uniform(1e-50, 1))}},
            "`lo` holds 1e-50, which does not fit float32",
        ),
        ({"exploit": lambda scores: scores}, r"`exploit` cannot be called with \(key, scores\)"),
        ({"exploit": lambda key, scores: None}, "`exploit` must return an array, got None"),
        (
            {"init": lambda key, rate: rate},
            r"`init` cannot be called with \(key, learning_rate=...",
        ),
        ({"step": lambda key, w: w}, r"`step` cannot be called with \(key, state, learning_rate="),
        ({"evaluate": lambda key, w: w}, r"`evaluate` cannot be called with \(key, state, learni"),
        ({"explore": {"learning_rate": 2}}, r"`explore\['learning_rate'\]` must be a function"),
        ({"explore": {"learning_rate": lambda key, v: jnp.ones(2)}}, r"one value for one, got sh"),
        ({"exploit": 3}, r"`exploit` must be a function `exploit\(key, scores\)`, got 3"),
        ({"exploit": lambda key, scores: scores}, r"an integer for each of 5 members, got float"),
        ({"init": 3}, r"`init` must be a function `init\(key, learning_rate=...\)`, got 3"),
        ({"init": lambda key, learning_rate: {"name": "w"}}, r"its entry \['name'\] is str 'w'"),
        ({"step": lambda key, w, learning_rate: (w, w)}, "returns the tree"),
        ({"step": lambda key, w, learning_rate: w[:2]}, r"it is float32 \[2\] and was float32 \[3"),
        ({"step": lambda key, w, learning_rate: w + NOISE.random()}, "`step` is not pure"),
        ({"evaluate": lambda key, w, learning_rate: 1.0}, "a dict of metrics with at least"),
        ({"evaluate": lambda key, w, learning_rate: {"loss": w}}, "its entry `loss` is "),
        (
            {
                "step": lambda key, w, learning_rate: w,
                "evaluate": lambda key, w, learning_rate: {"loss": 0, "parent": 1},
            },
            "entries `parent`",
        ),
        (
            {"trials": {"learning_rate": ["a"]}},
            r"`learning_rate` holds strings, which cannot be traced\.",
        ),
        ({"trials": {"learning_rate": [[1.0]]}}, "`learning_rate` must be a 1-D array"),
        ({"trials": {}}, "`trials` must have at least one hyperparameter"),
        ({"key": jax.random.split(jax.random.key(0), 2)}, r"one JAX random key, .* of shape \[2\]"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_the_function_that_refuses_a_value_is_named():
    explore = {"learning_rate": sweep.perturb(1e-4, 1e300)}
    with pytest.raises(ValueError, match=r"`hi` holds 1e\+300") as caught:
        run(explore=explore)
    assert "`explore['learning_rate']` was traced" in " ".join(caught.value.__notes__)


def test_a_hyperparameter_that_python_branches_on_is_explained():
    def branches(key, learning_rate):
        return init(key, learning_rate) if learning_rate > 0 else 0.0

    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        run(init=branches)
    assert "All hyperparameters of a population are traced" in " ".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("values", "explore", "message"),
    [
        ([1, 2], sweep.resample(sweep.uniform(0, 8)), "got float32 for int32"),
        ([1, 2], lambda key, value: value * 1.5, "got float32 for int32"),
        ([True, False], sweep.resample(sweep.choice([0, 1])), "got int32 for bool"),
        (np.array([1, 2], np.uint32), sweep.resample(sweep.integer(-1, 3)), "got int32 for uint32"),
    ],
)
def test_a_hyperparameter_keeps_its_kind(values, explore, message):
    """A number with a fraction would be cut to an integer, and -1 would wrap around."""
    with pytest.raises(ValueError, match=rf"`explore\['learning_rate'\]` must return .* {message}"):
        run({"learning_rate": values}, explore={"learning_rate": explore})
