"""Additive attention: its equations, masks, shapes, dtypes and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from grujax.attention import (
    AdditiveAttentionParams,
    additive_attention,
    init_additive_attention,
    project_keys,
)
from tests.helpers import TOLERANCE

Q, K, A, V = 5, 4, 3, 2


def random_params(dtype=jnp.float32) -> AdditiveAttentionParams:
    params = init_additive_attention(jax.random.key(0), Q, K, A)
    params = dataclasses.replace(params, b=jax.random.normal(jax.random.key(1), (A,)))
    return jax.tree.map(lambda x: x.astype(dtype), params)


def random_arrays(queries, keys, dtype=jnp.float32):
    """queries [*queries, Q], keys [*keys, K] and values [*keys, V]."""
    shapes = ((*queries, Q), (*keys, K), (*keys, V))
    return [
        jax.random.normal(key, shape).astype(dtype)
        for key, shape in zip(jax.random.split(jax.random.key(2), 3), shapes, strict=True)
    ]


def attend(params, queries, keys, values, mask=None):
    projected = project_keys(params, keys, mask=mask)
    return additive_attention(params, queries, projected, values, mask=mask)


def textbook(params, query, keys, values, mask):
    """One query [Q] over keys [S, K], key by key in NumPy."""
    w_query, w_key, b, v = (np.asarray(x) for x in dataclasses.astuple(params))
    energy = [v @ np.tanh(query @ w_query + key @ w_key + b) for key in np.asarray(keys)]
    powers = np.where(mask, np.exp(energy), 0)
    weights = powers / max(powers.sum(), 1e-30)
    return weights @ np.asarray(values), weights


def assert_agrees_with_the_equations(steps, mask):
    """Query by query, for `mask [S, B]`."""
    keys, batch = mask.shape
    params = random_params()
    queries, memory, values = random_arrays((steps, batch), (keys, batch))
    context, weights = jax.jit(attend)(params, queries, memory, values, mask)
    assert context.shape == (steps, batch, V)
    assert weights.shape == (steps, batch, keys)
    for t in range(steps):
        for b in range(batch):
            expected = textbook(params, queries[t, b], memory[:, b], values[:, b], mask[:, b])
            np.testing.assert_allclose(context[t, b], expected[0], atol=1e-5)
            np.testing.assert_allclose(weights[t, b], expected[1], atol=1e-5)


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_agrees_with_the_equations_for_any_mask(mask):
    assert_agrees_with_the_equations(2, np.reshape(mask, (4, 3)))


@pytest.mark.parametrize(("steps", "keys", "batch"), [(0, 4, 3), (2, 4, 0), (3, 1, 1)])
def test_agrees_with_the_equations_at_small_sizes(steps, keys, batch):
    assert_agrees_with_the_equations(steps, np.ones((keys, batch), bool))


@pytest.mark.parametrize("queries", [(2,), (6, 2), (3, 6, 2)])
def test_queries_may_have_any_axes_before_the_batch(queries):
    arrays = random_arrays(queries, (7, 2))
    context, weights = attend(random_params(), *arrays)
    flat = attend(random_params(), arrays[0].reshape(-1, 2, Q), *arrays[1:])
    np.testing.assert_allclose(context, flat[0].reshape(context.shape), atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_two_batch_axes_equal_a_loop_without_batch_axes():
    params = random_params()
    query, keys, values = random_arrays((3, 2), (7, 3, 2))
    together, _ = attend(params, query, keys, values)
    for i in np.ndindex(3, 2):
        alone, weights = attend(params, query[i], keys[:, *i], values[:, *i])
        assert weights.shape == (7,)
        np.testing.assert_allclose(together[i], alone, atol=1e-6)


def test_a_mask_that_is_true_everywhere_has_no_effect():
    arrays = random_arrays((6, 2), (7, 2))
    masked = attend(random_params(), *arrays, np.ones((7, 2), bool))
    for ours, expected in zip(masked, attend(random_params(), *arrays), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_the_padding_affects_neither_results_nor_gradients():
    params = random_params()
    mask = np.arange(7)[:, None] < np.array([7, 3, 0])
    queries, keys, values = random_arrays((6, 3), (7, 3))

    def loss(params, queries, keys, values):
        context, weights = attend(params, queries, keys, values, mask)
        return jnp.sum(context**2) + jnp.sum(weights**2)

    evaluate = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)))
    clean = evaluate(params, queries, keys, values)
    dirty = [jnp.where(mask[..., None], x, jnp.nan) for x in (keys, values)]
    result = evaluate(params, queries, *dirty)
    jax.tree.map(np.testing.assert_array_equal, result, clean)
    for gradient in result[1][2:]:
        assert not gradient[~mask].any()
    context, weights = attend(params, queries, *dirty, mask)
    assert not context[:, 2].any()  # this row has no valid key
    assert not weights[:, 2].any()


def test_gradients_in_float64(x64):
    params = random_params(jnp.float64)
    arrays = random_arrays((3, 2), (4, 2), jnp.float64)
    mask = np.arange(4)[:, None] < np.array([4, 2])
    check_grads(jax.jit(lambda *a: attend(*a, mask)), (params, *arrays), order=2, modes=["rev"])


def test_vmap_over_parameters_equals_a_loop():
    arrays = random_arrays((6, 2), (7, 2))
    params = jax.vmap(lambda key: init_additive_attention(key, Q, K, A))(
        jax.random.split(jax.random.key(3))
    )
    context, _ = jax.vmap(lambda p: attend(p, *arrays))(params)
    for i in range(2):
        alone, _ = attend(jax.tree.map(lambda x, i=i: x[i], params), *arrays)
        np.testing.assert_allclose(context[i], alone, atol=1e-6)


def test_bfloat16_stays_bfloat16_and_is_close_to_float32():
    arrays = random_arrays((6, 2), (7, 2))
    low = attend(random_params(jnp.bfloat16), *[x.astype(jnp.bfloat16) for x in arrays])
    for ours, expected in zip(low, attend(random_params(), *arrays), strict=True):
        assert ours.dtype == jnp.bfloat16
        error = jnp.abs(ours.astype(jnp.float32) - expected).max() / jnp.abs(expected).max()
        assert error < TOLERANCE["bfloat16"]


def test_parameters_are_drawn_independently_with_zero_biases():
    params = init_additive_attention(jax.random.key(0), 400, 400, 300)
    assert not params.b.any()
    assert not np.allclose(params.w_query, params.w_key)
    np.testing.assert_allclose(params.w_key.std(), 400**-0.5, rtol=0.02)
    np.testing.assert_allclose(params.v.std(), 300**-0.5, rtol=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": jnp.ones((2, Q + 1))}, r"`queries` has shape \[2, 6\].*query size 5"),
        ({"queries": jnp.ones((3, Q))}, r"`queries` has shape \[3, 5\].*the keys, \[2\]"),
        ({"queries": jnp.ones(Q)}, r"`queries` has shape \[5\]"),
        ({"queries": jnp.ones((2, Q), int)}, "`queries` must have a floating dtype, got int32"),
        ({"keys": jnp.ones((7, 2, K + 1))}, "`keys` has shape .* key size 4"),
        ({"keys": jnp.ones(K)}, r"`keys` must be \[S, ..., K\], got shape \[4\]"),
        ({"values": jnp.ones((7, 3, V))}, r"`values` has shape \[7, 3, 2\].*\[7, 2\]"),
        ({"values": jnp.ones((7, 2, V), int)}, "`values` must have a floating dtype"),
        ({"mask": np.ones((7, 2))}, "`mask` must be bool, got float"),
        ({"mask": np.ones((2, 7), bool)}, r"`mask` has shape \[2, 7\].*\[7, 2\]"),
    ],
)
def test_bad_arguments(change, message):
    queries, keys, values = random_arrays((2,), (7, 2))
    arguments = {"queries": queries, "keys": keys, "values": values} | change
    with pytest.raises(ValueError, match=message):
        attend(random_params(), **arguments)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 2.5, 1), (1, 1, -1)])
def test_bad_sizes(sizes):
    with pytest.raises(ValueError, match="_size` must be a positive integer"):
        init_additive_attention(jax.random.key(0), *sizes)


def test_an_integer_dtype_raises():
    with pytest.raises(ValueError, match="`dtype` must be a floating dtype, got int32"):
        init_additive_attention(jax.random.key(0), 1, 1, 1, dtype=jnp.int32)
