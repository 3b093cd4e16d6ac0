"""Attributions with known values, and their sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import analysis
from tests.helpers import Draw, assert_close

both_forms = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])


@both_forms
def test_integrated_gradients_of_a_gru_add_up(reset_after):
    draw = Draw("complete", "float32")
    params, xs, weights = draw.params(4, 6, reset_after), 2 * draw.normal(30, 4), draw.normal(6)

    def score(xs):
        return grujax.gru(params, xs)[0] @ weights

    attribution = analysis.integrated_gradients(score, xs)
    assert attribution.completeness_error <= 0.01
    total = score(xs) - score(jnp.zeros_like(xs))
    np.testing.assert_allclose(attribution.values.sum(), total, rtol=0.01)
    np.testing.assert_allclose(attribution.total, total, rtol=1e-5)


def test_integrated_gradients_of_a_polynomial():
    """∫ of x₀²·x₁ along the diagonal: 2/3 of it from x₀, 1/3 from x₁."""

    def score(inputs):
        return inputs["a"] ** 2 * inputs["b"].sum()

    inputs = {"a": jnp.float32(3), "b": jnp.float32([2, 0])}
    values, total, error = analysis.integrated_gradients(score, inputs, steps=2)
    np.testing.assert_allclose(values["a"], 12, rtol=1e-5)
    np.testing.assert_allclose(values["b"], [6, 0], rtol=1e-5)
    np.testing.assert_allclose(total, 18, rtol=1e-5)
    assert error < 1e-5
    baseline = {"a": jnp.float32(3), "b": jnp.float32([1, 0])}
    values, total, _ = analysis.integrated_gradients(score, inputs, baseline, steps=2)
    np.testing.assert_allclose([values["a"], *values["b"], total], [0, 9, 0, 9], atol=1e-5)


def test_the_error_reveals_too_few_steps():
    def score(x):
        return jnp.where(x > 0.9, 10.0, 1.0) * x

    assert analysis.integrated_gradients(score, jnp.float32(1), steps=3).completeness_error > 0.1


def test_occlusion_is_the_difference_of_scores():
    draw = Draw("occlusion", "float32")
    params, xs, weights = draw.params(4, 6), draw.normal(7, 4), draw.normal(6)

    def score(xs):
        return grujax.gru(params, xs, lengths=jnp.int32(5))[0] @ weights

    baseline = draw.normal(7, 4)
    for window, hidden in ((1, [2]), (2, [2, 3]), (3, [1, 2, 3])):
        drops = analysis.occlusion(score, xs, baseline, window=window)
        replaced = xs.copy()
        replaced[hidden] = baseline[hidden]
        np.testing.assert_allclose(drops[2], score(xs) - score(replaced), atol=1e-5)
    assert not np.any(analysis.occlusion(score, xs)[5:])
    parts = analysis.occlusion(lambda parts: score(parts[0]) + parts[1].sum(), (xs, xs[:, 0]))
    np.testing.assert_allclose(parts, analysis.occlusion(score, xs) + xs[:, 0], atol=1e-5)


def test_jit_and_a_population():
    draw = Draw("population", "float32")
    models = [draw.params(4, 5) for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    xs = draw.normal(6, 4)

    def explain(params):
        def score(xs):
            return grujax.gru(params, xs)[0].sum()

        return analysis.integrated_gradients(score, xs), analysis.occlusion(score, xs)

    together = jax.jit(jax.vmap(explain))(population)
    for index, model in enumerate(models):
        got = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        attribution, drops = explain(model)
        assert_close(got[1], drops, "float32")
        assert_close(got[0].values, attribution.values, "float32", tolerance=1e-4)


def test_bad_input():
    xs = jnp.ones((4, 2))
    with pytest.raises(ValueError, match="`baseline` must have the structure and shapes"):
        analysis.integrated_gradients(jnp.sum, xs, xs[:2])
    with pytest.raises(ValueError, match=r"`score` must return one floating .* \[2\]"):
        analysis.integrated_gradients(lambda xs: xs.sum(0), xs)
    with pytest.raises(ValueError, match="`steps` must be an integer from 1 to 4096, got 0"):
        analysis.integrated_gradients(jnp.sum, xs, steps=0)
    with pytest.raises(ValueError, match="`window` must be a positive integer, got 0"):
        analysis.occlusion(jnp.sum, xs, window=0)
    with pytest.raises(ValueError, match="`inputs` must share one leading time axis"):
        analysis.occlusion(lambda parts: parts[0].sum(), (xs, xs[:2]))
