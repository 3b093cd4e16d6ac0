"""The cache of one stream, which reads what the cache of rows reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.rivals import transformer
from experiments.streaming.stream_cache import capacity_at, empty_cache, grow, stream_step

INPUTS, UNITS, STEPS = 3, 5, 12


def read(params, xs, cache, grows=False):
    """The outputs [T, H] of steps, and the cache after them, which may double when it is full."""
    hs = []
    for x in xs:
        if grows and int(cache.count) == cache.capacity:
            cache = grow(cache)
        cache, h = stream_step(params, cache, x)
        hs.append(h)
    return cache, jnp.stack(hs)


@pytest.fixture(scope="module")
def problem():
    params = transformer.init_transformer(jax.random.key(0), INPUTS, UNITS)
    return params, jax.random.normal(jax.random.key(1), (STEPS, INPUTS))


@pytest.mark.parametrize("window", [4, 16])
def test_it_is_the_cache_of_rows(problem, window):
    params, xs = problem
    cache, hs = read(params, xs, empty_cache(UNITS, window))
    start = transformer.initial_cache((1, UNITS), jnp.float32, window)
    state, expected = transformer.run_transformer(params, xs[:, None], start)
    np.testing.assert_allclose(hs, expected[:, 0], rtol=1e-4, atol=1e-5)
    kept = jnp.stack(cache.keys).reshape(transformer.BLOCKS, transformer.HEADS, -1, window)
    rows = state.keys[0].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(kept, rows, rtol=1e-4, atol=1e-5)


def test_a_cache_that_grows_forgets_nothing(problem):
    params, xs = problem
    cache, hs = read(params, xs, empty_cache(UNITS, 2), grows=True)
    assert cache.capacity == 16
    _, expected = transformer.run_transformer(params, xs[:, None])
    np.testing.assert_allclose(hs, expected[:, 0], rtol=1e-4, atol=1e-5)


def test_capacities_double():
    positions = (0, 127, 128, 1000, 100_000)
    assert [capacity_at(position) for position in positions] == [128, 128, 256, 1024, 131_072]
