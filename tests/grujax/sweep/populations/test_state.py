"""A population on disk is restored with its dtypes, or refused if `init` makes another state."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax.sweep.populations import state
from tests.fixtures.populations import RATES, RICH, WALK, halve, run


def test_a_population_reads_back(tmp_path):
    result = run(**RICH, rounds=1)
    kept = {name: np.stack([m[name] for m in result.states.values()]) for name in ("w", "slow")}
    key = jax.random.split(jax.random.key(1), 5)
    before = state.Population(
        rounds=1,
        members=np.arange(5, dtype=np.int32),
        states=kept | {"key": key},
        values={"learning_rate": np.ones(5)},
        history={"loss": np.zeros((5, 1))},
    )
    state.write_population(tmp_path, before.to_host())
    after, damages = state.read_newest(tmp_path)
    assert not damages
    assert after.rounds == 1
    for name in ("members", "values", "history"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), before.states)
    restored = state.states_from_host(after.states, shapes)
    assert restored["slow"].dtype == jnp.bfloat16
    for name, array in kept.items():
        np.testing.assert_array_equal(restored[name], array)
    assert jnp.all(restored["key"] == key)


def test_a_directory_with_other_states_or_metrics_is_refused(tmp_path):
    def longer(key, learning_rate):
        return jnp.zeros(4)

    def one_metric(key, w, learning_rate):
        return {"loss": w.sum()}

    def whole_metric(key, w, learning_rate):
        return {"loss": w.sum(), "first": jnp.int32(1)}

    run(directory=tmp_path, rounds=1)

    def richer(key, learning_rate):
        return RICH["init"](key, learning_rate)

    again = partial(run, directory=tmp_path, resume="anyway")
    with pytest.raises(ValueError, match=r"metrics \['first', 'loss'\], and .* \['loss'\] now"):
        again(evaluate=one_metric)
    with pytest.raises(ValueError, match="`first` as float32, and `evaluate` returns int32 now"):
        again(evaluate=whole_metric)
    with pytest.raises(ValueError, match=r"an array float32 \[3\], where `init` makes float32 \[4"):
        again(init=longer, rounds=1)
    with pytest.raises(ValueError, match="states of 1 arrays, and `init` makes 4 now"):
        again(init=richer, rounds=1)


def test_metrics_keep_their_dtypes(tmp_path):
    def evaluate(key, state, learning_rate):
        w = state["w"]
        number = jnp.int32(2**24 + 1)  # more than float32 can count
        return {"loss": w, "number": number, "up": w > 0, "low": w.astype(jnp.bfloat16)}

    options = WALK | {"evaluate": evaluate}
    dtypes = {"number": np.int32, "up": np.bool_, "low": jnp.bfloat16}
    run(**options, rounds=1, directory=tmp_path)
    resumed = run(**options, rounds=2, directory=tmp_path)
    halved = halve({"learning_rate": RATES["learning_rate"][:2]}, **options)
    for name, dtype in dtypes.items():
        assert resumed.metrics[name].dtype == resumed.metrics[f"{name}_by_round"].dtype == dtype
        assert halved.metrics[name].dtype == dtype
    assert (resumed.metrics["number_by_round"] == 2**24 + 1).all()
    stopped = halved.metrics["rounds"] < halved.metrics["rounds"].max()
    for name in ("loss", *dtypes):
        curve = halved.metrics[f"{name}_by_round"]
        assert np.isnan(curve[:, -1]).tolist() == stopped.tolist()
    assert halved.metrics["number_by_round"][0, 0] == 2**24 + 1


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int8, jnp.bfloat16])
def test_members_are_compared_by_any_dtype_without_wrapping(dtype):
    history = {"loss": np.array([[0], [1], [-128 if dtype == np.int8 else 0]], dtype)}
    population = state.Population(1, np.arange(3), [], {}, history)
    last = -128.0 if dtype == np.int8 else 0.0
    assert population.scores("loss", "min").tolist() == [0, -1, -last]
    assert population.scores("loss", "max").tolist() == [0, 1, last]


DTYPES = {"a": "int32", "b": "bool", "c": "bfloat16"}


def test_histories_of_earlier_versions_get_the_dtypes_of_now():
    old = np.array([[1.0, np.nan], [0.0, 1.0]], np.float32)
    population = state.Population(2, np.arange(2), [], {}, {"a": old, "b": old, "c": old})
    structs = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in DTYPES.items()}
    history = state.fit_history(population, structs).history
    assert {name: array.dtype.name for name, array in history.items()} == DTYPES
    assert history["a"].tolist() == [[1, -1], [0, 1]]
    assert history["b"].tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_only_nan_has_the_least_score(mode):
    sign = -1 if mode == "min" else 1
    metric = sign * np.array([[np.nan, -np.inf, -3e38, 0, np.inf]], np.float32).T
    population = state.Population(1, np.arange(5), [], {}, {"loss": metric})
    scores = population.scores("loss", mode)
    assert scores.dtype == np.float32
    assert scores[0] == -np.inf
    assert np.all(np.diff(scores) > 0)
    for count in range(1, 6):
        kept = population.keep_best(scores, count)
        assert kept.members.tolist() == list(range(5 - count, 5))
