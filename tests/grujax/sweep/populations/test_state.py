"""A population on disk is restored with its dtypes, or refused if `init` makes another state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax.sweep.populations import state
from tests.fixtures.populations import RICH, run


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
    after = state.read_newest(tmp_path)
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

    run(directory=tmp_path, rounds=1)

    def richer(key, learning_rate):
        return RICH["init"](key, learning_rate)

    longer.__qualname__ = richer.__qualname__ = "init"
    one_metric.__qualname__ = "evaluate"
    with pytest.raises(ValueError, match=r"metrics \['first', 'loss'\], and .* \['loss'\] now"):
        run(evaluate=one_metric, directory=tmp_path)
    with pytest.raises(ValueError, match=r"an array float32 \[3\], where `init` makes float32 \[4"):
        run(init=longer, directory=tmp_path, rounds=1)
    with pytest.raises(ValueError, match="states of 1 arrays, and `init` makes 4 now"):
        run(init=richer, directory=tmp_path, rounds=1)
