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
        ({"rounds": 0}, "`rounds` must be at least 1, got 0"),
        ({"mode": "least"}, '`mode` must be "min" or "max"'),
        ({"strategy": "pmap"}, "`strategy` must be None"),
        ({"devices": []}, "at least one device"),
        ({"metric": "error"}, "`metric` is 'error', but `evaluate` returns `first`, `loss`"),
        ({"explore": {"rate": sweep.perturb(0, 1)}}, "names `rate`, but the hyperparameters are"),
        ({"explore": {"learning_rate": 2}}, r"`explore\['learning_rate'\]` must be a function"),
        ({"explore": {"learning_rate": lambda key, v: jnp.ones(2)}}, r"one value for one, got sh"),
        ({"exploit": 3}, "`exploit` must be a function, got int"),
        ({"exploit": lambda key, scores: scores}, r"an integer for each of 5 members, got float"),
        ({"init": 3}, "`init` must be a function, got int"),
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
        ({"trials": {"learning_rate": ["a"]}}, "`learning_rate` holds strings, which cannot be"),
        ({"trials": {"learning_rate": [[1.0]]}}, "`learning_rate` must be a 1-D array"),
        ({"trials": {}}, "`trials` must be a dict"),
        ({"key": jax.random.split(jax.random.key(0), 2)}, r"one JAX random key, got shape \[2\]"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_a_hyperparameter_that_python_branches_on_is_explained():
    def branches(key, learning_rate):
        return init(key, learning_rate) if learning_rate > 0 else 0.0

    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        run(init=branches)
    assert "All hyperparameters of a population are traced" in " ".join(caught.value.__notes__)
