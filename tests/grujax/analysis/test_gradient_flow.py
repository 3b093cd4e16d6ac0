"""Gradients with respect to states, compared with those of the remaining sequence."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import analysis, baselines
from tests.helpers import Draw, assert_close


def last_state(h_last, hs):
    return jnp.sum(h_last**2)


@pytest.mark.parametrize(
    "reset_after",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["after", "before"],
)
def test_one_layer_with_lengths(x64, reset_after):
    """∂L/∂h_t is the gradient with respect to the initial state of the remaining sequence."""
    draw = Draw("flow")
    params, lengths = draw.params(4, 5, reset_after), np.int32([4, 0, 2])
    xs, h0 = draw.normal(4, 3, 4), draw.normal(3, 5)
    flow = analysis.gradient_flow(params, xs, last_state, h0, lengths=lengths)
    assert flow.norms.shape == (1, 4, 3)
    for row, length in enumerate(lengths):
        h = h0[row]
        for t in range(length):
            h = grujax.gru_cell(params, h, xs[t, row])

            def rest(h, row=row, t=t, length=length):
                return last_state(grujax.gru(params, xs[t + 1 : length, row], h)[0], None)

            want = np.linalg.norm(jax.grad(rest)(h))
            assert_close(flow.norms[0, t, row], want, "float64")
        assert not np.any(flow.norms[0, length:, row])


def test_two_layers_and_a_loss_of_all_outputs(x64):
    """A state of the lower layer also affects the same step of the upper layer."""
    draw = Draw("two layers")
    lower, upper = draw.params(4, 5), draw.params(5, 5)
    xs, weights = draw.normal(5, 4), draw.normal(5, 5)

    def loss(h_last, hs):
        return jnp.sum(weights[-hs.shape[0] :] * hs) + jnp.sum(h_last[0])

    for residual in (False, True):
        flow = analysis.gradient_flow([lower, upper], xs, loss, residual=residual)
        _, lower_hs = grujax.gru(lower, xs)
        _, upper_hs = grujax.gru(upper, lower_hs)
        for t in (0, 2):
            before = upper_hs[t - 1] if t else jnp.zeros(5)

            def rest(h_lower, perturbation, t=t, before=before, residual=residual):
                h_upper = grujax.gru_cell(upper, before, h_lower) + perturbation
                outputs = [h_upper + h_lower if residual else h_upper]
                for x in xs[t + 1 :]:
                    h_lower = grujax.gru_cell(lower, h_lower, x)
                    h_upper = grujax.gru_cell(upper, h_upper, h_lower)
                    outputs.append(h_upper + h_lower if residual else h_upper)
                return loss([h_lower, h_upper], jnp.stack(outputs))

            want = jax.grad(rest, argnums=(0, 1))(lower_hs[t], jnp.zeros(5))
            assert_close(flow.norms[:, t], np.linalg.norm(want, axis=-1), "float64")


@pytest.mark.slow
def test_both_directions_of_a_layer(x64):
    draw = Draw("pair")
    pair, xs, lengths = (draw.params(4, 5), draw.params(4, 3)), draw.normal(6, 2, 4), [6, 4]
    flow = analysis.gradient_flow(
        [pair],
        xs,
        lambda h_last, hs: h_last[0][0].sum() + h_last[0][1].sum(),
        lengths=jnp.array(lengths),
    )
    assert flow.names == ("layer 0 forward", "layer 0 backward")
    for params, norms, reverse in zip(pair, flow.norms, (False, True), strict=True):
        alone = xs[:4, 1][::-1] if reverse else xs[:4, 1]
        want = analysis.gradient_flow(params, alone, lambda h_last, hs: h_last.sum()).norms[0]
        assert_close(norms[:4, 1], want[::-1] if reverse else want, "float64")
    for profile, norms, reverse in zip(flow.profile, flow.norms, (False, True), strict=True):
        ends = norms if reverse else np.stack([norms[::-1, 0], np.roll(norms[::-1, 1], -2)], 1)
        want = np.linalg.norm(ends[2], axis=-1) / np.linalg.norm(ends[0], axis=-1)
        assert_close(profile[2], want, "float64")


def constant_gate(update: float) -> grujax.GRUParams:
    """One unit that ignores its input and keeps σ(update) of its state per step."""
    b_x = jnp.array([[0.0], [update], [0.0]])
    return grujax.GRUParams(jnp.zeros((3, 1, 1)), jnp.zeros((3, 1, 1)), b_x, jnp.zeros(1))


def flow_of(params, steps=40, loss=lambda h_last, hs: h_last.sum(), **arguments):
    return analysis.gradient_flow(params, jnp.zeros((steps, 2, 1)), loss, **arguments)


def test_a_gradient_vanishes_below_a_thousandth():
    """2^−10 < 1/1000 < 2^−9."""
    flow = flow_of(constant_gate(0.0))
    assert flow.vanishes_after.tolist() == [10]
    assert flow.explodes_after.tolist() == [-1]
    np.testing.assert_allclose(flow.reaches_start, 0.5**39, rtol=1e-5)
    assert str(flow) == "layer 0: vanishes after ~10 steps; 1.8e-12 of it reaches the first step"


def test_a_tiny_gradient_is_not_zero():
    """Its square underflows in float32."""
    flow = flow_of(constant_gate(-5.0), steps=17)
    keep = jax.nn.sigmoid(-5.0)
    np.testing.assert_allclose(flow.reaches_start, keep**16, rtol=1e-3)
    np.testing.assert_allclose(flow.norms[0, 0], keep**16, rtol=1e-3)
    np.testing.assert_allclose(flow.profile[0, -1], keep**16, rtol=1e-3)


def test_steps_are_counted_from_where_the_loss_enters():
    flow = flow_of(constant_gate(0.0), loss=lambda h_last, hs: hs[30].sum())
    assert flow.vanishes_after.tolist() == [10]
    assert flow.norms[0, 31:].max() == 0
    np.testing.assert_allclose(flow.reaches_start, 0.5**30, rtol=1e-5)


def test_short_rows_do_not_count_as_vanished():
    flow = flow_of(constant_gate(3.0), lengths=jnp.array([40, 3]))
    keep = jax.nn.sigmoid(3.0)
    np.testing.assert_allclose(flow.profile[0], keep ** np.arange(40), rtol=1e-4)
    assert flow.vanishes_after.tolist() == [-1]
    assert "neither vanishes nor explodes within 40 steps" in str(flow)


def test_a_gradient_explodes():
    """r = 1, z = 1/2, h near 0: ∂h'/∂h = 1/2 + 3/2."""
    w_h = jnp.array([[[0.0]], [[0.0]], [[3.0]]])
    b_x = jnp.array([[100.0], [0.0], [0.0]])  # the reset gate is open
    params = grujax.GRUParams(jnp.zeros((3, 1, 1)), w_h, b_x, jnp.zeros(1))
    flow = flow_of(params)
    assert flow.explodes_after.tolist() == [10]
    assert "explodes after ~10 steps" in str(flow)


def test_a_constant_loss():
    flow = flow_of(constant_gate(0.0), loss=lambda h_last, hs: jnp.float32(1))
    assert not flow.norms.any()
    assert np.isnan(flow.reaches_start).all()
    assert flow.vanishes_after.tolist() == [-1]


def test_no_rows():
    params, xs = baselines.init_lstm(jax.random.key(0), 4, 5), jnp.ones((6, 0, 4))
    state0 = baselines.LSTMState(jnp.ones((0, 5)), jnp.ones((0, 5)))
    flow = analysis.cell_gradient_flow(
        baselines.lstm_cell, params, xs, state0, lambda last, states: last.h.sum()
    )
    assert flow.norms.shape == (1, 6, 0)


@pytest.mark.slow
def test_jit_and_a_population():
    draw = Draw("population", "float32")
    models = [[draw.params(4, 5), draw.params(5, 3)] for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    xs, lengths = draw.normal(6, 2, 4), np.int32([6, 2])
    flow_of_model = partial(
        analysis.gradient_flow, xs=xs, loss=lambda h_last, hs: hs.sum(), lengths=lengths
    )
    together = jax.jit(jax.vmap(flow_of_model))(population)
    for index, model in enumerate(models):
        got = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        assert_close(got, flow_of_model(model), "float32")


def test_bad_input():
    with pytest.raises(ValueError, match="`xs` has no step, expected at least one"):
        flow_of(constant_gate(0.0), steps=0)
    with pytest.raises(ValueError, match="`xs` has shape"):
        analysis.gradient_flow([constant_gate(0.0)], jnp.zeros((3, 2)), last_state)


@pytest.mark.parametrize(
    "lengths",
    [pytest.param(None, marks=pytest.mark.slow), np.int32([6, 0, 3])],
    ids=["full", "lengths"],
)
def test_the_flow_of_a_gru_cell_equals_that_of_the_gru(x64, lengths):
    draw = Draw("any cell")
    params, xs, h0 = draw.params(4, 5), draw.normal(6, 3, 4), draw.normal(3, 5)
    got = analysis.cell_gradient_flow(grujax.gru_cell, params, xs, h0, last_state, lengths=lengths)
    want = analysis.gradient_flow(params, xs, last_state, h0, lengths=lengths)
    assert got.names == ("cell",)
    assert_close(jax.tree.leaves(got), jax.tree.leaves(want), "float64")


@pytest.mark.slow
def test_the_state_of_an_lstm_is_h_and_c_together(x64):
    draw = Draw("lstm")
    init = baselines.init_lstm(jax.random.key(0), 4, 5)
    params = jax.tree.map(lambda leaf: draw.normal(*leaf.shape), init)
    xs, state = draw.normal(6, 4), baselines.LSTMState(draw.normal(5), draw.normal(5))

    def loss(last, states):
        return jnp.sum(last.h**2)

    flow = analysis.cell_gradient_flow(baselines.lstm_cell, params, xs, state, loss)
    for t in range(6):
        state = baselines.lstm_cell(params, state, xs[t])

        def rest(state, t=t):
            return loss(*grujax.scan_cell(baselines.lstm_cell, params, xs[t + 1 :], state))

        want = np.linalg.norm(np.concatenate(jax.grad(rest)(state)))
        assert_close(flow.norms[0, t], want, "float64")


@pytest.mark.parametrize("lengths", [3, np.int32([3]), np.int32([[3], [3]])])
def test_lengths_of_another_batch_are_refused(lengths):
    with pytest.raises(ValueError, match=r"`lengths` has shape .* batch axes of `xs` are \[2\]"):
        analysis.cell_gradient_flow(
            lambda rate, state, x: rate * state + x,
            0.5,
            jnp.ones((3, 2, 1)),
            jnp.zeros((2, 1)),
            lambda last, states: last.sum(),
            lengths=lengths,
        )


def test_bad_input_of_any_cell():
    with pytest.raises(ValueError, match="`xs` has no step, expected at least one"):
        analysis.cell_gradient_flow(
            grujax.gru_cell, constant_gate(0.0), jnp.zeros((0, 1)), jnp.zeros(1), last_state
        )
