"""What a train function must not do, and the error that `run` raises then."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax.sweep.contract import check_pure
from tests.fixtures.sweep_trainings import KEY, descend, run, train_gru


def test_a_value_kept_from_the_previous_call_is_reported():
    kept = []

    def train(key, learning_rate):
        kept.append(learning_rate)
        return {"loss": kept[0] + 1}

    with pytest.raises(ValueError, match="not pure: a traced value was kept"):
        run(train)


def test_a_value_kept_from_a_loop_is_reported():
    def train(key, learning_rate):
        kept = []

        def step(w, _):
            kept.append(w)
            return w * learning_rate, None

        jax.lax.scan(step, learning_rate, length=3)
        return {"loss": kept[0] + 1}

    with pytest.raises(ValueError, match="not pure: a traced value was kept"):
        run(train)


@pytest.mark.parametrize("kind", ["literal", "constant", "operations", "inner"])
def test_two_traces_must_agree(kind):
    rng = np.random.default_rng(0)
    calls = []

    def train(key, learning_rate):
        calls.append(1)
        noise = rng.random(3 if kind == "constant" else None)
        if kind == "literal":
            return {"loss": learning_rate + noise}
        if kind == "constant":
            return {"loss": learning_rate + jnp.asarray(noise).sum()}
        if kind == "inner":  # inside another program
            return {"loss": jax.lax.fori_loop(0, 3, lambda i, x: x + noise, learning_rate)}
        return {"loss": learning_rate * 2 if len(calls) % 2 else learning_rate}

    with pytest.raises(ValueError, match="called twice with the same arguments"):
        run(train)


@pytest.mark.parametrize("train", [descend, train_gru, jax.jit(train_gru)])
def test_a_pure_function_passes(train):
    shapes = check_pure(lambda rate: train(KEY, rate), jnp.float32(0.1), name="train", advice="")
    assert shapes["loss"].shape == ()


def test_a_compiled_function_can_be_swept():
    run(jax.jit(descend))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (lambda: {"name": "gru"}, "entry `name` is str 'gru'"),
        (lambda: {"loss": None}, "entry `loss` is NoneType"),
        (lambda: {"a": {"b": jnp.zeros(())}}, "entry `a` is dict"),
        (lambda: {"key": jax.random.key(0)}, "entry `key` is"),
        (lambda: jnp.zeros(()), "a dict of metrics with at least one entry"),
        (lambda: {}, "a dict of metrics with at least one entry"),
    ],
)
def test_metrics_must_be_arrays(metrics, message):
    with pytest.raises(ValueError, match=message):
        run(lambda key, learning_rate: metrics())


def test_python_numbers_are_metrics():
    result = run(lambda key, learning_rate: {"a": 1, "b": 2.5, "c": True, "d": np.arange(2)})
    assert result.metrics["a"].tolist() == [1] * 7
    assert result.metrics["c"].dtype == bool
    assert result.metrics["d"].shape == (7, 2)


def test_a_traced_shape_points_to_static():
    with pytest.raises(Exception) as caught:  # noqa: PT011 — JAX's own, of several types
        run(lambda key, size: {"loss": jnp.zeros(size).sum()}, {"size": [1, 2]})
    assert "belong in `static`" in " ".join(caught.value.__notes__)
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        run(lambda key, learning_rate: {"loss": 1 if learning_rate > 0 else 2})
    assert "belong in `static`" in " ".join(caught.value.__notes__)
