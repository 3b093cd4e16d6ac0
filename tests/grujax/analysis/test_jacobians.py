"""Step Jacobians, compared with autodiff, and their products."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grujax
from grujax import analysis
from tests.helpers import Draw, assert_close, form_and_direction

both_forms = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])


@pytest.mark.slow
@both_forms
@settings(max_examples=6)  # each one compiles
@given(hidden_size=st.integers(1, 6), batch=st.lists(st.integers(0, 3), max_size=2))
def test_the_closed_form_equals_autodiff_for_random_shapes(reset_after, hidden_size, batch):
    draw = Draw(f"jacobian {hidden_size} {batch}", "float32")
    params = draw.params(3, hidden_size, reset_after)
    h, x = draw.normal(*batch, hidden_size), draw.normal(*batch, 3)
    got = analysis.step_jacobian(params, h, x)
    autodiff = jax.vmap(jax.jacfwd(partial(grujax.gru_cell, params)))
    want = autodiff(h.reshape(-1, hidden_size), x.reshape(-1, 3))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want.reshape(got.shape), atol=1e-6)


@both_forms
def test_the_closed_form_in_float64_and_bfloat16(x64, reset_after):
    draw = Draw("precision")
    params, h, x = draw.params(3, 5, reset_after), draw.normal(5), draw.normal(3)
    want = jax.jacfwd(lambda h: grujax.gru_cell(params, h, x))(h)
    assert_close(analysis.step_jacobian(params, h, x), want, "float64")
    low = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (params, h, x))
    got = analysis.step_jacobian(*low)
    assert got.dtype == jnp.float32
    assert_close(got, want, "bfloat16")


@form_and_direction
def test_their_product_is_the_jacobian_of_the_last_state(x64, reset_after, reverse):
    draw = Draw("sequence")
    params, xs, lengths = draw.params(4, 5, reset_after), draw.normal(6, 3, 4), np.int32([6, 0, 3])
    h0 = draw.normal(3, 5)
    jacobians = analysis.step_jacobians(params, xs, h0, lengths=lengths, reverse=reverse)
    assert_close(jacobians[3:, 2], np.broadcast_to(np.eye(5), (3, 5, 5)), "float64")
    in_order = jacobians[::-1] if reverse else jacobians
    product = analysis.jacobian_product(in_order)
    got = product.matrix * jnp.exp(product.log_scale)[:, None, None]

    def last(h0):
        return grujax.gru(params, xs, h0, lengths=lengths, reverse=reverse)[0]

    whole = jax.jacrev(last)(h0)  # [B, H, B, H]
    assert_close(got, np.einsum("bibj->bij", whole), "float64")
    values = np.linalg.svd(got, compute_uv=False)
    assert_close(np.exp(analysis.log_singular_values(product)), values, "float64")


def test_a_product_neither_overflows_nor_underflows():
    rotation = np.float32([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    factors = jnp.concatenate(
        [jnp.tile(3 * rotation, (500, 1, 1)), jnp.tile(rotation / 5, (200, 1, 1))]
    )
    logs = analysis.log_singular_values(analysis.jacobian_product(factors))
    np.testing.assert_allclose(logs, 500 * np.log(3) - 200 * np.log(5), rtol=1e-5)
    dead = analysis.log_singular_values(analysis.jacobian_product(jnp.zeros((3, 2, 2))))
    assert np.isneginf(dead).all()


def test_an_empty_product_is_the_identity():
    logs = analysis.log_singular_values(analysis.jacobian_product(jnp.zeros((0, 4, 3, 3))))
    np.testing.assert_allclose(logs, np.zeros((4, 3)), atol=1e-6)


def test_singular_values_and_spectral_radius_of_a_known_matrix():
    shear = jnp.array([[[0.5, 10.0], [0.0, -0.8]], [[0.0, -0.3], [0.3, 0.0]]])
    np.testing.assert_allclose(analysis.spectral_radius(shear), [0.8, 0.3], rtol=1e-6)
    largest = analysis.singular_values(shear)[:, 0]
    np.testing.assert_allclose(largest[0], np.linalg.norm(shear[0], 2), rtol=1e-6)
    np.testing.assert_allclose(largest[1], 0.3, rtol=1e-6)


@pytest.mark.slow
def test_jit_and_a_population(x64):
    draw = Draw("population")
    models = [draw.params(4, 5) for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    xs, lengths = draw.normal(6, 2, 4), np.int32([6, 2])

    def radii_and_spans(params):
        jacobians = analysis.step_jacobians(params, xs, lengths=lengths)
        logs = analysis.log_singular_values(analysis.jacobian_product(jacobians))
        return analysis.spectral_radius(jacobians), logs

    together = jax.jit(jax.vmap(radii_and_spans))(population)
    for index, model in enumerate(models):
        alone = radii_and_spans(model)
        got = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        # Small singular values of a product are differences of large entries.
        assert_close(got, alone, "float64", tolerance=1e-8)


def test_a_layer_of_a_stack():
    draw = Draw("stack", "float32")
    layers, xs = [draw.params(4, 5), draw.params(5, 3)], draw.normal(6, 2, 4)
    _, inputs = analysis.layer_inputs(layers, xs)
    jacobians = jax.jit(partial(analysis.step_jacobians, layers[1]))(inputs)
    assert jacobians.shape == (6, 2, 3, 3)


def test_bad_input():
    draw = Draw("bad", "float32")
    params = draw.params(4, 5)
    with pytest.raises(ValueError, match=r"`h` has shape .* hidden size 5"):
        analysis.step_jacobian(params, jnp.zeros(4), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"`jacobians` must be square .*, got \[3, 2, 5\]"):
        analysis.jacobian_product(jnp.zeros((3, 2, 5)))
    with pytest.raises(ValueError, match=r"`jacobians` must have shape \[T, B, H, H\], got"):
        analysis.jacobian_product(jnp.zeros((5, 5)))
