import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from tests.helpers import Draw, assert_equal


def test_shapes_and_dtype():
    params = grujax.init_gru(jax.random.key(0), 4, 5)
    shapes = {name: leaf.shape for name, leaf in vars(params).items() if name != "reset_after"}
    assert shapes == {"w_x": (3, 4, 5), "w_h": (3, 5, 5), "b_x": (3, 5), "b_hn": (5,)}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}
    assert (params.input_size, params.hidden_size) == (4, 5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_gates_recurrent_matrix_is_orthogonal_by_itself(dtype):
    w_h = grujax.init_gru(jax.random.key(0), 4, 16, dtype=dtype).w_h
    assert w_h.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 0.05  # rounded to half precision afterwards
    for gate in np.asarray(w_h, "float32"):
        np.testing.assert_allclose(gate @ gate.T, np.eye(16), atol=tolerance)


def test_float64_is_drawn_in_float64(x64):
    w_h = np.asarray(grujax.init_gru(jax.random.key(0), 4, 16, dtype=jnp.float64).w_h)
    np.testing.assert_allclose(w_h[0] @ w_h[0].T, np.eye(16), atol=1e-14)


def test_input_weights_are_lecun_normal_and_biases_zero():
    params = grujax.init_gru(jax.random.key(0), 400, 300)
    np.testing.assert_allclose(np.std(params.w_x, axis=(1, 2)), 400**-0.5, rtol=0.02)
    assert not np.any(params.b_x)
    assert not np.any(params.b_hn)


def test_every_gate_and_every_matrix_draws_its_own_numbers():
    params = grujax.init_gru(
        jax.random.key(0),
        5,
        5,
        kernel_init=jax.nn.initializers.normal(),
        recurrent_kernel_init=jax.nn.initializers.normal(),
        bias_init=jax.nn.initializers.normal(),
    )
    matrices = [*params.w_x, *params.w_h]
    vectors = [*params.b_x, params.b_hn]
    for group in (matrices, vectors):
        assert len({np.asarray(array).tobytes() for array in group}) == len(group)


def test_initializers_draw_the_parameters_that_they_are_named_after():
    constant = jax.nn.initializers.constant
    params = grujax.init_gru(
        jax.random.key(0),
        4,
        5,
        kernel_init=constant(1),
        recurrent_kernel_init=constant(2),
        bias_init=constant(3),
    )
    values = [float(leaf.min()) for leaf in jax.tree.leaves(params)]
    assert values == [float(leaf.max()) for leaf in jax.tree.leaves(params)] == [1, 2, 3, 3]


def test_the_bias_of_the_update_gate_has_its_own_initializer():
    key, normal = jax.random.key(0), jax.nn.initializers.normal()
    constant = jax.nn.initializers.constant
    shared = grujax.init_gru(key, 4, 5, bias_init=normal)
    own = grujax.init_gru(key, 4, 5, bias_init=normal, update_bias_init=constant(7))
    assert own.b_x[1].tolist() == [7] * 5
    b_x = own.b_x.at[1].set(shared.b_x[1])
    assert_equal(dataclasses.replace(own, b_x=b_x), shared)


def test_the_same_key_gives_the_same_parameters_under_jit_and_vmap():
    keys = jax.random.split(jax.random.key(1), 2)
    models = jax.jit(jax.vmap(lambda key: grujax.init_gru(key, 4, 5)))(keys)
    one = grujax.init_gru(keys[1], 4, 5)
    np.testing.assert_allclose(models.w_h[1], one.w_h, atol=1e-6)
    np.testing.assert_array_equal(models.w_x[1], one.w_x)
    assert not np.array_equal(models.w_x[0], models.w_x[1])


def test_params_are_a_frozen_pytree_of_four_arrays():
    params = Draw("pytree").params(4, 5, reset_after=False)
    leaves, structure = jax.tree.flatten(params)
    assert len(leaves) == 4
    assert_equal(jax.tree.unflatten(structure, leaves), params)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.w_x = leaves[0]


def test_the_variant_travels_with_the_weights_and_cannot_be_mixed():
    after, before = (Draw("mix").params(4, 5, reset_after=form) for form in (True, False))
    assert jax.tree.map(lambda leaf: 2 * leaf, before).reset_after is False
    assert jax.tree.structure(after) != jax.tree.structure(before)
    with pytest.raises(ValueError, match="GRUParams"):
        jax.tree.map(lambda a, b: a + b, after, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": 0}, r"`input_size` must be a positive integer, got 0"),
        ({"hidden_size": -1}, r"`hidden_size` must be a positive integer, got -1"),
        ({"hidden_size": 2.0}, r"`hidden_size` must be a positive integer, got 2.0"),
        ({"dtype": jnp.int32}, r"`dtype` must be a floating dtype, got int32"),
        ({"dtype": jnp.complex64}, r"`dtype` must be a floating dtype, got complex64"),
    ],
)
def test_bad_arguments(arguments, message):
    sizes = {"input_size": 4, "hidden_size": 5}
    with pytest.raises(ValueError, match=message):
        grujax.init_gru(jax.random.key(0), **{**sizes, **arguments})


def test_sizes_may_be_numpy_integers():
    params = grujax.init_gru(jax.random.key(0), np.int64(2), np.int32(3))
    assert params.w_x.shape == (3, 2, 3)
