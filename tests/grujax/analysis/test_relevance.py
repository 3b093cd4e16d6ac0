"""Relevance by the gates, which adds up to the readout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import analysis
from tests.helpers import Draw, assert_close, form_and_direction


@form_and_direction
def test_relevance_adds_up_to_the_readout(x64, reset_after, reverse):
    draw = Draw("relevance")
    params, xs, h0 = draw.params(4, 5, reset_after), draw.normal(6, 3, 4), draw.normal(3, 5)
    lengths, readout = np.int32([6, 0, 3]), draw.normal(6, 3, 5)
    trace = analysis.trace_gates(params, xs, h0, lengths=lengths, reverse=reverse)
    h_last, hs = grujax.gru(params, xs, h0, lengths=lengths, reverse=reverse)

    relevance = analysis.gate_relevance(trace, reverse=reverse)
    kept = np.prod(np.where(trace.exists[..., None], trace.update, 1), axis=0)
    assert_close(relevance.sum(0), h_last - kept * h0, "float64")
    assert not any(np.any(relevance[length:, row]) for row, length in enumerate(lengths))

    # From a zero state the whole readout is attributed.
    trace = analysis.trace_gates(params, xs, lengths=lengths, reverse=reverse)
    _, hs = grujax.gru(params, xs, lengths=lengths, reverse=reverse)
    relevance = analysis.gate_relevance(trace, readout, reverse=reverse)
    assert_close(relevance.sum((0, 2)), np.sum(readout * hs, axis=(0, 2)), "float64")


def test_relevance_by_hand():
    """z = 3/4, n = tanh 1: a step writes tanh(1)/4, and each later step keeps 3/4 of it."""
    b_x = jnp.array([[0.0], [np.log(3.0)], [1.0]])
    params = grujax.GRUParams(jnp.zeros((3, 1, 1)), jnp.zeros((3, 1, 1)), b_x, jnp.zeros(1))
    trace = analysis.trace_gates(params, jnp.zeros((3, 1)))
    want = np.tanh(1) / 4 * np.array([[9 / 16], [3 / 4], [1.0]])
    np.testing.assert_allclose(analysis.gate_relevance(trace), want, rtol=1e-5)


def test_jit_and_a_population():
    draw = Draw("population", "float32")
    models = [draw.params(4, 5) for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    xs = draw.normal(6, 4)

    def relevance(params):
        return analysis.gate_relevance(analysis.trace_gates(params, xs))

    together = jax.jit(jax.vmap(relevance))(population)
    for index, model in enumerate(models):
        assert_close(together[index], relevance(model), "float32")


def test_bad_input():
    trace = analysis.trace_gates(Draw("bad", "float32").params(2, 5), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"`readout` has shape \[4\] and does not broadcast"):
        analysis.gate_relevance(trace, jnp.ones(4))
