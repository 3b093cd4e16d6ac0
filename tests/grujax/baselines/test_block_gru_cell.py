"""DreamerV3's recurrence equals a transcription of its source, over time too."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import grujax
from grujax.baselines import block_gru_cell, count_parameters, init_block_gru_cell
from tests.fixtures.baseline_cells import draw_block_gru_cell, dreamer_v3
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H, K, E = 5, 3, 5, 10, 2, 4  # noqa: E741
transcription = jax.vmap(partial(dreamer_v3, numpy=jnp), (None, 0, 0))  # of B rows


@pytest.mark.parametrize(
    "reverse", [pytest.param(False, marks=pytest.mark.slow), True], ids=["forward", "reverse"]
)
def test_outputs_and_gradients_equal_the_source(x64, reverse):
    draw = Draw("DreamerV3")
    arguments = draw_block_gru_cell(draw, I, H), draw.normal(T, B, I), draw.normal(B, H)
    options = {
        "lengths": np.array([T, 3, 0]),
        "resets": draw.bools(T, B, rate=0.3),
        "reset_state": draw.normal(H),
        "reverse": reverse,
    }
    cotangents = draw.normal(B, H), draw.normal(T, B, H)

    @jax.jit
    def outputs_and_gradients():
        def of(cell):
            run = partial(grujax.scan_cell, cell, **options)
            outputs, pull_back = jax.vjp(run, *arguments)
            return outputs, pull_back(cotangents)

        return of(block_gru_cell), of(transcription)

    assert_close(*outputs_and_gradients(), "float64", tolerance=1e-12)


@pytest.mark.slow
def test_gradients_equal_finite_differences(x64):
    draw = Draw("differences")
    primals = draw_block_gru_cell(draw, 2, 4), draw.normal(2, 4), draw.normal(2, 2)
    check_grads(jax.jit(block_gru_cell), primals, order=1, eps=1e-6)


def test_vmap_over_models_equals_a_loop(x64):
    models = [draw_block_gru_cell(Draw(f"model {i}"), I, H) for i in range(2)]
    h, x = Draw("data").normal(B, H), Draw("data").normal(B, I)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    got = jax.jit(jax.vmap(block_gru_cell, (0, None, None)))(stacked, h, x)
    one = jax.jit(transcription)
    assert_close(got, np.stack([one(model, h, x) for model in models]), "float64")


def test_an_update_gate_of_one_carries_the_state_bit_for_bit():
    params = draw_block_gru_cell(Draw("carry", "float32"), I, H)
    infinite = np.float32([[0], [np.inf], [0]])
    params = dataclasses.replace(params, b_gates=params.b_gates + infinite)
    h = Draw("h", "float32").normal(B, H)
    assert_equal(jax.jit(block_gru_cell)(params, h, np.ones((B, I), "float32")), h)


@pytest.mark.slow
def test_parameters_are_drawn_as_in_the_source():
    """Truncated normal; the fan-in of a layer in blocks counts all of its blocks."""
    params = init_block_gru_cell(jax.random.key(0), (40, 24), 256, blocks=4, embedding_size=64)
    P, S = 64, 3
    fans = {"w_h": 256, "w_hidden_h": 4 * (P + S * 64), "w_hidden_in": 4 * (P + S * 64)}
    for name, fan_in in (fans | {"w_gates": 4 * P}).items():
        deviation = np.std(getattr(params, name)) * fan_in**0.5
        assert abs(deviation - 1) < 0.02, name
    assert abs(np.std(params.w_x[:40]) * 40**0.5 - 1) < 0.05
    assert abs(np.std(params.w_x[40:]) * 24**0.5 - 1) < 0.05
    assert_equal(params.b_gates, np.float32([[0], [1], [0]]) * np.ones((4, 3, P), "float32"))
    expected = (64 + 256 + 2 * S) * 64 + (P + S * 64 + 2) * 256 + 3 * (P + 1) * 256
    assert count_parameters(params) == expected


def test_the_embedding_size_is_that_of_a_block_by_default():
    params = jax.eval_shape(lambda key: init_block_gru_cell(key, I, H, K), jax.random.key(0))
    assert params.input_sizes == (I,)
    assert params.w_h.shape == (H, H // K)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 3}, "`blocks` must divide `hidden_size` 10, got 3"),
        ({"blocks": 0}, "`blocks` must be a positive integer, got 0"),
        ({"embedding_size": 0}, "`embedding_size` must be a positive integer, got 0"),
        ({"input_size": (3, 0)}, "`input_size` must be a positive integer, got 0"),
        ({"input_size": ()}, "`input_size` must be a positive integer, got a tuple of 0"),
        ({"input_size": "34"}, "`input_size` must be a positive integer, got '34'"),
    ],
)
def test_bad_sizes(options, message):
    sizes = {"input_size": I, "hidden_size": H, "blocks": K} | options
    with pytest.raises(ValueError, match=message):
        init_block_gru_cell(jax.random.key(0), **sizes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_sizes": (2, 2)}, r"sizes \(2, 2\) .* w_x \[4, E\].* got w_x \[5, 4\]"),
        ({"input_sizes": (1, 2, 2)}, r"b_in \[4, E\], got .* b_in \[3, 4\]"),
        ({"w_h": np.ones((H + 1, E), "float32")}, r"w_h \[10, E\] .* got .* w_h \[11, 4\]"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes, message):
    params = dataclasses.replace(draw_block_gru_cell(Draw("bad", "float32"), I, H), **changes)
    hidden_size = params.hidden_size
    with pytest.raises(ValueError, match=message):
        block_gru_cell(params, jnp.zeros((B, hidden_size)), jnp.zeros((B, I)))
