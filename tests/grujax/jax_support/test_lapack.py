"""LAPACK under `vmap`: which versions of jaxlib deadlock, and that nothing here does."""

import logging
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers
from jaxlib import __version__ as jaxlib_version

import grujax
from grujax import baselines, sweep
from grujax.jax_support import lapack
from tests.fixtures import vmapped_models
from tests.helpers import ROOT

KEYS = jax.random.split(jax.random.key(0), 3)

# What deadlocks, in JAX alone. Each call has as many QRs at once as JAX has threads or more.
DEADLOCK = """
import os, jax, jax.numpy as jnp
matrices = [jnp.eye(48) + jnp.ones((32, 48, 48)) * i for i in range(max(8, 2 * os.cpu_count()))]
run = jax.jit(lambda matrices: [jax.vmap(jnp.linalg.qr)(2 * m) for m in matrices])
for _ in range(300):
    jax.block_until_ready(run(matrices))
"""

INITS = {
    "init_gru": partial(grujax.init_gru, input_size=2, hidden_size=4),
    "init_lstm": partial(baselines.init_lstm, input_size=2, hidden_size=4),
    "init_rnn": partial(baselines.init_rnn, input_size=2, hidden_size=4),
    "init_layer_norm_gru": partial(baselines.init_layer_norm_gru, input_size=2, hidden_size=4),
    "linen": vmapped_models.MODEL["linen"][0],
    "nnx": vmapped_models.MODEL["nnx"][0],
}


def orthogonal(key, gain=1.0):
    return initializers.orthogonal(gain)(key, (4, 4), jnp.float32)


def is_batched(function, *arguments):
    """Whether the program of `function` calls LAPACK on batches; it must call it at all."""
    lowered = jax.jit(function).lower(*arguments)
    assert "@lapack_" in lowered.as_text()
    return lapack.runs_on_batches(lowered)


def ends(*arguments, seconds):
    """Whether a new process of Python ends in this time, without the native kernel."""
    env = os.environ | {"GRUJAX_NATIVE": "0", "JAX_PLATFORMS": "cpu"}
    try:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, check=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.fixture(params=[True, False], ids=["deadlocks", "does not"])
def deadlocks(request, monkeypatch):
    """Whether this jaxlib counts as one that deadlocks."""
    monkeypatch.setattr(lapack, "DEADLOCKS", request.param)
    return request.param


@pytest.fixture
def deadlocking(monkeypatch):
    monkeypatch.setattr(lapack, "DEADLOCKS", True)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        *[("0.9.2", False), ("0.10.0", True), ("0.10.2", True), ("0.11.0", True)],
        *[("0.11.1", False), ("0.11.2", False), ("0.12.0.1", False), ("1.0", False)],
    ],
)
def test_the_versions(version, expected):
    assert lapack.deadlocks(version) == expected


@pytest.mark.parametrize("name", INITS)
def test_models_draw_their_weights_one_after_the_other(name, deadlocks):
    assert is_batched(jax.vmap(INITS[name]), KEYS) != deadlocks
    nested = jax.vmap(jax.vmap(INITS[name]))
    assert is_batched(nested, KEYS.reshape(3, 1)) != deadlocks


def test_drawing_one_after_the_other_changes_no_bit(deadlocking, monkeypatch):
    init = INITS["init_rnn"]
    found = jax.jit(jax.vmap(init))(KEYS)
    monkeypatch.setattr(lapack, "DEADLOCKS", False)
    expected = jax.jit(jax.vmap(lambda key: init(key)))(KEYS)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_gain_may_be_traced_batched_and_differentiated(deadlocking):
    gains = jnp.array([0.5, 1.0, 2.0])

    def total(gain, key):
        params = baselines.init_rnn(key, 2, 4, recurrent_kernel_init=initializers.orthogonal(gain))
        return params.w_h.sum()

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(total)))(gains, KEYS)
    alone = jnp.stack([total(1.0, key) for key in KEYS])
    np.testing.assert_allclose(values, gains * alone, rtol=1e-5)
    np.testing.assert_allclose(slopes, alone, rtol=1e-5)


def test_derivatives_are_those_of_jax(deadlocking):
    matrices = jax.random.normal(KEYS[0], (3, 2, 2))

    def hessian(qr):
        return jax.jit(jax.vmap(jax.hessian(lambda matrix: (qr(matrix)[0] ** 3).sum())))(matrices)

    found = hessian(lapack.one_matrix_at_a_time(jnp.linalg.qr))
    np.testing.assert_allclose(found, hessian(jnp.linalg.qr), rtol=1e-4, atol=1e-4)


def test_what_calls_no_lapack_stays_as_it_is(deadlocking):
    draw = lapack.one_matrix_at_a_time(lambda key: jax.random.normal(key, (2,)))
    assert "custom_vmap_call" not in str(jax.make_jaxpr(draw)(KEYS[0]))
    draw = lapack.one_matrix_at_a_time(orthogonal)
    assert "custom_vmap_call" in str(jax.make_jaxpr(draw)(KEYS[0]))


def test_models_that_an_explicit_mesh_spreads_stay_side_by_side():
    code = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np, grujax, grujax.jax_support.lapack
from jax.sharding import AxisType, NamedSharding, PartitionSpec
grujax.jax_support.lapack.DEADLOCKS = True
run = jax.jit(jax.vmap(lambda key: grujax.init_gru(key, 1, 2).w_h))
keys = jax.random.split(jax.random.key(0), 4)
mesh = jax.make_mesh((2,), ("models",), axis_types=(AxisType.Explicit,))
spread = run(jax.device_put(keys, NamedSharding(mesh, PartitionSpec("models"))))
assert len(spread.sharding.device_set) == 2
np.testing.assert_array_equal(spread, run(keys))
"""
    assert ends("-c", code, seconds=300)


# --- sweeps ---------------------------------------------------------------------------------------


def of_flax(key, gain):
    """A training with weights that it draws itself."""
    return {"trace": jnp.trace(orthogonal(key, gain))}


def of_grujax(key, gain):
    return {"trace": gain * jnp.trace(baselines.init_rnn(key, 2, 4).w_h)}


def with_an_ensemble(key, gain):
    return {"trace": jax.vmap(orthogonal)(jax.random.split(key, 3)).sum()}


def run(train, strategy, caplog):
    """The metrics of a sweep, and what it logged."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "grujax"):
        result = sweep.run(
            # A new function, so that its program is not the one of another strategy or test.
            lambda key, gain: train(key, gain),
            {"gain": np.array([1.0, 2.0, 3.0], np.float32)},
            key=jax.random.key(1),
            strategy=strategy,
            progress=False,
        )
    return result.metrics["trace"], caplog.text


def test_a_sweep_side_by_side_runs_one_after_the_other_where_it_could_deadlock(deadlocks, caplog):
    expected, message = run(of_flax, "map", caplog)
    assert not message
    found, message = run(of_flax, "vmap", caplog)
    assert ('"map" takes the place of "vmap"' in message) == deadlocks
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_sweep_of_this_package_s_models_runs_side_by_side(deadlocking, caplog):
    assert not run(of_grujax, "vmap", caplog)[1]


def test_a_training_that_calls_lapack_on_batches_is_warned_about(deadlocks, caplog):
    message = run(with_an_ensemble, "map", caplog)[1]
    assert ("`jax.lax.map` instead of `jax.vmap` is safe" in message) == deadlocks


@pytest.mark.slow
def test_a_population_runs_one_after_the_other_where_it_could_deadlock(deadlocking, caplog):
    def train(strategy):
        return sweep.population(
            lambda key, gain: orthogonal(key, gain),
            lambda key, weights, gain: orthogonal(key, gain) @ weights,
            lambda key, weights, gain: {"trace": jnp.trace(weights)},
            {"gain": np.array([1.0, 2.0, 3.0], np.float32)},
            key=jax.random.key(1),
            metric="trace",
            rounds=1,
            explore={"gain": sweep.perturb(0.1, 10.0)},
            strategy=strategy,
            progress=False,
        ).metrics["trace"]

    expected = train("map")
    assert not caplog.text
    np.testing.assert_allclose(train("vmap"), expected, rtol=1e-5)
    assert caplog.text.count("takes the place") == 2  # the initial states, and the round


# --- processes that end, or do not ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", vmapped_models.NAMES)
def test_trainings_of_many_models_end(name):
    assert ends("-m", "tests.fixtures.vmapped_models", name, seconds=300)


@pytest.mark.slow
def test_the_smallest_program_that_deadlocks_does_so_in_these_versions():
    """If this fails with a new jaxlib, `lapack.deadlocks` no longer says which ones deadlock."""
    all_end = all(ends("-c", DEADLOCK, seconds=60) for _ in range(3))
    assert all_end != lapack.deadlocks(jaxlib_version)
