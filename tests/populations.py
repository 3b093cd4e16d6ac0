"""Populations that the tests share, with the processes they start."""

import jax
import jax.numpy as jnp
import numpy as np

from grujax import sweep

KEY = jax.random.key(5)
RATES = {"learning_rate": np.array([0.01, 0.3, 0.02, 0.1, 0.05])}
EXPLORE = {"learning_rate": sweep.perturb(1e-3, 0.4)}


def init(key, learning_rate):
    return jax.random.normal(key, (3,))


def step(key, w, learning_rate):
    """Noisy gradient descent on |w − 1|²."""

    def update(w, noise):
        return w - learning_rate * (2 * (w - 1) + 0.1 * noise), None

    return jax.lax.scan(update, w, jax.random.normal(key, (4, 3)))[0]


def evaluate(key, w, learning_rate):
    return {"loss": jnp.sum((w - 1) ** 2) + 1e-3 * jax.random.normal(key), "first": w[0]}


def rich_init(key, learning_rate):
    """All that a state may be made of: floats of two widths, a count, a random key."""
    w = init(key, learning_rate)
    return {"w": w, "slow": w.astype(jnp.bfloat16), "steps": 0, "key": jax.random.fold_in(key, 1)}


def rich_step(key, state, learning_rate):
    own_key, key_after = jax.random.split(state["key"])
    w = step(key, state["w"] + 0.01 * jax.random.normal(own_key, (3,)), learning_rate)
    slow = (0.9 * state["slow"] + 0.1 * w).astype(jnp.bfloat16)
    return {"w": w, "slow": slow, "steps": state["steps"] + 1, "key": key_after}


def rich_evaluate(key, state, learning_rate):
    return evaluate(key, state["w"], learning_rate) | {"steps": state["steps"]}


RICH = {"init": rich_init, "step": rich_step, "evaluate": rich_evaluate}


def run(trials=RATES, **options) -> sweep.PopulationResult:
    defaults = {"key": KEY, "metric": "loss", "rounds": 6, "explore": EXPLORE, "progress": False}
    functions = [options.pop(f.__name__, f) for f in (init, step, evaluate)]
    return sweep.population(*functions, trials, **defaults | options)


def halve(trials=RATES, **options) -> sweep.PopulationResult:
    defaults = {"key": KEY, "metric": "loss", "progress": False}
    functions = [options.pop(f.__name__, f) for f in (init, step, evaluate)]
    return sweep.successive_halving(*functions, trials, **defaults | options)


def assert_same(got: sweep.PopulationResult, want: sweep.PopulationResult, tolerance=0.0):
    assert got.metrics.keys() == want.metrics.keys()
    for name, array in want.metrics.items():
        np.testing.assert_allclose(got.metrics[name], array, tolerance, tolerance, err_msg=name)
    np.testing.assert_array_equal(got.diverged, want.diverged)
    assert got.states.keys() == want.states.keys()
    for member, state in want.states.items():
        for one, other in zip(*map(jax.tree.leaves, (got.states[member], state)), strict=True):
            assert one.dtype == other.dtype
            if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
                one, other = jax.random.key_data(one), jax.random.key_data(other)
            one, other = (np.asarray(leaf).astype(np.float64) for leaf in (one, other))
            np.testing.assert_allclose(one, other, tolerance, tolerance)
