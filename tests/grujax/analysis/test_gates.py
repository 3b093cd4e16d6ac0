"""Traces of the gates, and the inputs of the layers of a stack."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import analysis
from tests.helpers import Draw, assert_close, assert_equal, form_and_direction


def sequence(dtype="float64", reset_after=True):
    draw = Draw("gates", dtype)
    lengths = np.int32([6, 0, 3])
    return draw.params(4, 5, reset_after), draw.normal(6, 3, 4), draw.normal(3, 5), lengths


@form_and_direction
def test_a_trace_equals_single_steps(x64, reset_after, reverse):
    params, xs, h0, lengths = sequence(reset_after=reset_after)
    trace = analysis.trace_gates(params, xs, h0, lengths=lengths, reverse=reverse)
    for row, length in enumerate(lengths):
        h = h0[row]
        for t in reversed(range(length)) if reverse else range(length):
            gates = grujax.gru_gates(params, h, xs[t, row])
            h = grujax.gru_cell(params, h, xs[t, row])
            got = [trace.reset, trace.update, trace.candidate, trace.hs]
            for array, want in zip(got, [*gates, h], strict=True):
                assert_close(array[t, row], want, "float64")
        assert trace.exists[:, row].tolist() == [t < length for t in range(6)]
        assert not any(np.any(gate[length:, row]) for gate in trace[:4])


def test_a_trace_ignores_the_padding():
    params, xs, h0, lengths = sequence("float32")
    clean = analysis.trace_gates(params, xs, h0, lengths=lengths)
    xs = np.where((np.arange(6)[:, None] < lengths)[..., None], xs, np.nan)
    assert_equal(analysis.trace_gates(params, xs, h0, lengths=lengths), clean)
    statistics = analysis.gate_saturation(clean), analysis.memory_time_scale(clean)
    only = analysis.trace_gates(params, xs[:3, 2:], h0[2:])
    rest = analysis.trace_gates(params, xs[:, :1], h0[:1])
    merged = analysis.GateTrace(
        *(jnp.concatenate([a[:, 0], b[:, 0]]) for a, b in zip(only, rest, strict=True))
    )
    want = analysis.gate_saturation(merged), analysis.memory_time_scale(merged)
    assert_close(statistics, want, "float32")


def test_traces_of_bfloat16_are_float32():
    params, xs, h0, _ = sequence("bfloat16")
    trace = analysis.trace_gates(params, xs, h0)
    assert trace.update.dtype == jnp.float32
    assert trace.hs.dtype == jnp.bfloat16


def test_no_steps():
    params, xs, h0, _ = sequence("float32")
    trace = analysis.trace_gates(params, xs[:0], h0, reverse=True)
    assert trace.update.shape == (0, 3, 5)
    assert np.isnan(analysis.memory_time_scale(trace)).all()


def gate_biases(update: float, reset: float = 0.0, candidate: float = 0.0) -> grujax.GRUParams:
    """One unit that ignores its input: its gates are constant."""
    b_x = jnp.array([[reset], [update], [candidate]])
    return grujax.GRUParams(jnp.zeros((3, 1, 1)), jnp.zeros((3, 1, 1)), b_x, jnp.zeros(1))


def test_a_state_decays_with_the_time_scale():
    params = gate_biases(update=3.0)
    trace = analysis.trace_gates(params, jnp.zeros((40, 1)), jnp.ones(1))
    (tau,) = analysis.memory_time_scale(trace)
    np.testing.assert_allclose(trace.hs[:, 0], np.exp(-np.arange(1, 41) / tau), rtol=1e-5)


@pytest.mark.parametrize(("update", "steps"), [(np.inf, np.inf), (-np.inf, 0.0)])
def test_time_scales_of_closed_and_open_gates(update, steps):
    trace = analysis.trace_gates(gate_biases(update), jnp.zeros((4, 1)))
    assert analysis.memory_time_scale(trace).tolist() == [steps]


def test_saturation_counts_both_ends():
    trace = analysis.trace_gates(gate_biases(9.0, reset=-9.0, candidate=-9.0), jnp.zeros((4, 1)))
    shares = [share.item() for share in analysis.gate_saturation(trace)]
    assert shares == [1.0, 0.0, 0.0, 1.0, 1.0]
    trace = analysis.trace_gates(gate_biases(-1.0, reset=9.0), jnp.zeros((4, 1)))
    shares = [share.item() for share in analysis.gate_saturation(trace)]
    assert shares == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert analysis.gate_saturation(trace, margin=0.3).update_shut.item() == 1.0
    with pytest.raises(ValueError, match=r"`margin` must be a number in \(0, 0.5\), got 0.5"):
        analysis.gate_saturation(trace, margin=0.5)


def test_jit_and_a_population():
    draw = Draw("population", "float32")
    models = [draw.params(4, 5) for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    _, xs, h0, lengths = sequence("float32")
    trace = partial(analysis.trace_gates, xs=xs, h0=h0, lengths=lengths)
    together = jax.jit(jax.vmap(trace))(population)
    taus = jax.vmap(analysis.memory_time_scale)(together)
    for index, model in enumerate(models):
        alone = trace(model)
        assert_close(jax.tree.map(lambda leaf, i=index: leaf[i], together), alone, "float32")
        assert_close(taus[index], analysis.memory_time_scale(alone), "float32")


@pytest.mark.parametrize("residual", [pytest.param(False, marks=pytest.mark.slow), True])
def test_layer_inputs_reproduce_the_stack(x64, residual):
    draw = Draw("stack")
    pair = (draw.params(6, 3), draw.params(6, 3))
    layers = [draw.params(4, 6), pair, draw.params(6, 6)]
    xs, lengths = draw.normal(5, 2, 4), np.int32([5, 2])
    h0 = [draw.normal(6), (draw.normal(3), draw.normal(3)), None]
    inputs = analysis.layer_inputs(layers, xs, h0, lengths=lengths, residual=residual)
    h_last, hs = grujax.stacked_gru(layers, xs, h0, lengths=lengths, residual=residual)
    top = analysis.trace_gates(layers[2], inputs[2], lengths=lengths).hs
    assert_close(top + inputs[2] if residual else top, hs, "float64")
    backward = analysis.trace_gates(pair[1], inputs[1], h0[1][1], lengths=lengths, reverse=True)
    assert_close(backward.hs[0], h_last[1][1], "float64")


def test_bad_input():
    params, xs, h0, _ = sequence("float32")
    with pytest.raises(ValueError, match=r"`xs` has shape .* input size 4"):
        analysis.trace_gates(params, xs[..., :3], h0)
    with pytest.raises(ValueError, match="`lengths` must lie in"):
        analysis.trace_gates(params, xs, h0, lengths=np.int32([7, 0, 1]))
    with pytest.raises(ValueError, match="`layers` must be a non-empty list"):
        analysis.layer_inputs(params, xs)
