"""Empty arguments, nested lists for arrays, and integers of every width: right, or refused."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import attention, baselines
from tests.helpers import IMPLEMENTATIONS

T, B, I, H = 6, 2, 3, 5  # noqa: E741
KEY = jax.random.key(0)
PARAMS = grujax.init_gru(KEY, I, H)
XS = jax.random.normal(KEY, (T, B, I))

each_implementation = pytest.mark.parametrize("implementation", [None, *IMPLEMENTATIONS])


def gradient_of_sum(params, xs, **options):
    """The sum of all states, and its gradient."""
    return jax.value_and_grad(
        lambda params, xs: sum(map(jnp.sum, jax.tree.leaves(grujax.gru(params, xs, **options)))),
        argnums=(0, 1),
    )(params, xs)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("reverse", "every"),
    [
        (False, None),
        (True, 4),
        pytest.param(False, 2, marks=pytest.mark.slow),
        pytest.param(True, None, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("steps", "batch"), [(0, (B,)), (T, (0,)), (0, (0,)), (T, (0, B)), (T, (B, 0)), (0, ())]
)
def test_no_rows_and_no_steps(implementation, reverse, steps, batch, every):
    xs = jnp.ones((steps, *batch, I))
    options = {"implementation": implementation, "reverse": reverse, "stop_gradient_every": every}
    h_last, hs = grujax.gru(PARAMS, xs, **options)
    assert h_last.shape == (*batch, H)
    assert hs.shape == (steps, *batch, H)
    assert not np.any(h_last)
    value, (params, inputs) = gradient_of_sum(PARAMS, xs, **options)
    assert value == 0
    assert inputs.shape == xs.shape
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(params))


@each_implementation
@pytest.mark.parametrize("mapped", ["sequences", "models", "both"])
def test_vmap_over_nothing(implementation, mapped):
    params = jax.tree.map(lambda leaf: leaf[None][:0], PARAMS) if mapped != "sequences" else PARAMS
    xs = XS[None][:0] if mapped != "models" else XS
    in_axes = (None if mapped == "sequences" else 0, None if mapped == "models" else 0)
    run = jax.vmap(
        lambda params, xs: gradient_of_sum(params, xs, implementation=implementation),
        in_axes=in_axes,
    )
    value, (params_gradient, xs_gradient) = run(params, xs)
    assert value.shape == (0,)
    assert xs_gradient.shape == (0, *XS.shape)
    assert params_gradient.w_h.shape == (0, 3, H, H)


@pytest.mark.parametrize(("input_size", "hidden_size"), [(I, 0), (0, H), (0, 0)])
def test_sizes_of_zero_are_refused(input_size, hidden_size):
    zeros = jnp.zeros
    params = grujax.GRUParams(
        zeros((3, input_size, hidden_size)),
        zeros((3, hidden_size, hidden_size)),
        zeros((3, hidden_size)),
        zeros(hidden_size),
    )
    with pytest.raises(ValueError, match=r"`params` must have the shapes .* no size 0"):
        grujax.gru(params, zeros((T, B, input_size)))
    with pytest.raises(ValueError, match="_size` must be a positive integer, got 0"):
        grujax.init_gru(KEY, input_size, hidden_size)


@each_implementation
def test_nested_lists_are_arrays(implementation):
    h0, lengths = np.full((B, H), 0.5, np.float32), [T, 2]
    resets = np.zeros((T, B), bool)
    resets[3] = True
    want = grujax.gru(
        PARAMS,
        XS,
        h0,
        lengths=jnp.array(lengths),
        resets=resets,
        reset_state=h0,
        implementation=implementation,
    )
    got = grujax.gru(
        PARAMS,
        XS.tolist(),
        h0.tolist(),
        lengths=lengths,
        resets=resets.tolist(),
        reset_state=h0.tolist(),
        implementation=implementation,
    )
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_nested_lists_are_arrays_for_every_function():
    x, h = XS[0].tolist(), np.zeros((B, H)).tolist()
    np.testing.assert_array_equal(
        grujax.gru_cell(PARAMS, h, x), grujax.gru_cell(PARAMS, jnp.array(h), XS[0])
    )
    lengths, resets = [3, 0], np.zeros((T, B), bool)
    for run, params in (
        (grujax.bidirectional_gru, (PARAMS, PARAMS)),
        (grujax.stacked_gru, [PARAMS]),
        (baselines.min_gru, baselines.init_min_gru(KEY, I, H)),
    ):
        got = run(params, XS.tolist(), lengths=lengths, resets=resets.tolist())
        want = run(params, XS, lengths=jnp.array(lengths), resets=resets)
        jax.tree.map(np.testing.assert_array_equal, got, want)

    def cell(rate, state, x):
        return rate * state + x

    run = partial(grujax.scan_cell, cell, 0.5, XS[..., 0], reset_state=0.0)
    got = run(jnp.zeros(B), lengths=lengths, resets=resets.tolist())
    want = run(jnp.zeros(B), lengths=jnp.array(lengths), resets=resets)
    jax.tree.map(np.testing.assert_array_equal, got, want)

    params = attention.init_additive_attention(KEY, H, I, 4)
    mask = np.arange(T)[:, None] < np.array([3, 6])
    np.testing.assert_array_equal(
        attention.project_keys(params, XS.tolist(), mask=mask.tolist()),
        attention.project_keys(params, XS, mask=mask),
    )


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_traced_lengths_of_every_width_act_as_if_clipped(dtype):
    largest = np.iinfo(dtype).max
    lengths = jnp.array([largest, 2], dtype)
    run = jax.jit(lambda lengths: grujax.gru(PARAMS, XS, lengths=lengths))
    want = grujax.gru(PARAMS, XS, lengths=jnp.array([T, 2]))
    jax.tree.map(np.testing.assert_array_equal, run(lengths), want)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_lengths_of_one_byte_reach_beyond_it(dtype):
    steps = 300
    xs = jnp.ones((steps, 1, I))
    lengths = jnp.array([np.iinfo(dtype).max], dtype)
    _, hs = jax.jit(lambda lengths: grujax.gru(PARAMS, xs, lengths=lengths))(lengths)
    assert np.flatnonzero(np.any(hs[:, 0], -1)).size == np.iinfo(dtype).max


@each_implementation
@pytest.mark.parametrize("value", [True, False])
def test_a_bool_of_numpy_is_a_reset_form(implementation, value):
    want = grujax.gru(replace(PARAMS, reset_after=value), XS, implementation=implementation)
    got = grujax.gru(
        replace(PARAMS, reset_after=np.bool_(value)), XS, implementation=implementation
    )
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("value", [1, 0, 1.0, "before", None, np.ones(1, bool)])
def test_other_reset_forms_are_refused(value):
    with pytest.raises(ValueError, match="`reset_after` must be True or False"):
        replace(PARAMS, reset_after=value)
    with pytest.raises(ValueError, match="`reset_after` must be True or False"):
        grujax.init_gru(KEY, I, H, reset_after=value)


def test_parameters_without_arrays_pass_through_trees():
    axes = grujax.GRUParams(0, 0, None, None)  # such as `in_axes`
    assert jax.tree.map(lambda leaf: leaf + 1, axes) == grujax.GRUParams(1, 1, None, None)
