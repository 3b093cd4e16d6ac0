"""Truncated backpropagation through time, and sequences in pieces."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from tests.helpers import (
    IMPLEMENTATIONS,
    Case,
    Draw,
    assert_close,
    assert_equal,
    best_dtype,
    form_and_direction,
    inputs_of,
    resets_to,
)
from tests.reference import reference_gradients, reference_outputs

CASE = Case("truncated", steps=11, batch=(3,), lengths=(11, 0, 6), resets=True, mask=True)


def outputs_and_gradients(run, inputs):
    def run_on(params, xs, h0):
        return run(inputs._replace(params=params, xs=xs, h0=h0))

    outputs, pull_back = jax.vjp(run_on, inputs.params, inputs.xs, inputs.h0)
    return outputs, pull_back((inputs.h_last_bar, inputs.hs_bar))


@cache
def reference(every, reset_after, reverse):
    """Outputs and gradients in float64, for all implementations."""
    inputs = inputs_of(CASE, reset_after, "float64")
    return (
        reference_outputs(inputs, reverse),
        reference_gradients(inputs, reverse, stop_gradient_every=every),
    )


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@form_and_direction
@pytest.mark.parametrize("every", [1, 3, 4, 10])
def test_gradients_stop_between_segments(x64, every, reset_after, reverse, implementation):
    dtype = best_dtype(implementation)
    inputs = inputs_of(CASE, reset_after, dtype)

    def truncated(inputs):
        return grujax.gru(
            inputs.params,
            inputs.xs,
            inputs.h0,
            lengths=np.int32(CASE.lengths),
            mask=inputs.mask,
            resets=inputs.resets,
            reset_state=inputs.h0,
            reverse=reverse,
            stop_gradient_every=every,
            implementation=implementation,
        )

    inputs = jax.tree.map(jnp.asarray, inputs)._replace(resets=inputs.resets)
    got = outputs_and_gradients(jax.jit(truncated), inputs)
    assert_close(got, reference(every, reset_after, reverse), dtype)


@form_and_direction
def test_outputs_do_not_change_and_long_segments_change_nothing(reset_after, reverse):
    inputs = inputs_of(CASE, reset_after, "float32")
    run = jax.jit(grujax.gru, static_argnames=("reverse", "stop_gradient_every"))
    arguments = inputs[:3]
    options = {"lengths": inputs.lengths, **resets_to(inputs.h0, inputs.resets)}
    options["reverse"] = reverse
    whole = run(*arguments, **options)
    assert_close(run(*arguments, stop_gradient_every=4, **options), whole, "float32")
    for every in (11, 12, np.int64(100)):
        assert_equal(run(*arguments, stop_gradient_every=every, **options), whole)


def test_a_learned_h0_gets_its_gradient_through_the_first_segment_alone(x64):
    inputs = inputs_of(CASE)

    def loss(h0, steps):
        _, hs = grujax.gru(inputs.params, inputs.xs[:steps], h0, stop_gradient_every=4)
        return jnp.sum(hs[:, 0])

    h0 = jnp.asarray(inputs.h0[0])
    assert_close(jax.grad(loss)(h0, 11), jax.grad(loss)(h0, 4), "float64")
    assert np.all(jax.grad(loss)(h0, 4) != 0)


def test_truncation_works_in_stacks_and_with_regularizers():
    draw = Draw("stack", "float32")
    layers = [draw.params(4, 5), (draw.params(5, 5), draw.params(5, 5))]
    xs = draw.normal(11, 3, 4)
    options = {"zoneout": 0.3, "recurrent_dropout": 0.3, "key": jax.random.key(0)}

    def loss(layers, every):
        return jnp.sum(grujax.stacked_gru(layers, xs, stop_gradient_every=every, **options)[1] ** 2)

    whole, truncated = (jax.value_and_grad(loss)(layers, every) for every in (None, 4))
    np.testing.assert_allclose(truncated[0], whole[0], rtol=1e-5)
    differences = jax.tree.map(lambda a, b: np.any(a != b), whole[1], truncated[1])
    assert any(jax.tree.leaves(differences))


@pytest.mark.parametrize("every", [0, -1, 2.0, True, "4"])
def test_a_bad_number_of_steps_raises(every):
    inputs = inputs_of(CASE, dtype="float32")
    with pytest.raises(ValueError, match="`stop_gradient_every` must be a positive integer, got"):
        grujax.gru(inputs.params, inputs.xs, stop_gradient_every=every)


# --- reset_state: a sequence in pieces ----------------------------------------------------------


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])
def test_a_sequence_in_pieces_equals_the_whole_sequence(x64, reset_after, implementation):
    dtype = best_dtype(implementation)
    inputs = inputs_of(CASE, reset_after, dtype)
    options = {"implementation": implementation}

    def whole(inputs):
        time = {"lengths": inputs.lengths, **resets_to(inputs.h0, inputs.resets)}
        return grujax.gru(*inputs[:3], **time, **options)

    def pieces(inputs):
        h, outputs = inputs.h0, []
        for begin, end in ((0, 4), (4, 5), (5, 11)):
            h, hs = grujax.gru(
                inputs.params,
                inputs.xs[begin:end],
                h,
                lengths=jnp.clip(inputs.lengths - begin, 0, end - begin),
                resets=inputs.resets[begin:end],
                reset_state=inputs.h0,
                **options,
            )
            outputs.append(hs)
        return h, jnp.concatenate(outputs)

    inputs = jax.tree.map(jnp.asarray, inputs)
    got, want = (
        jax.jit(lambda i, f=f: outputs_and_gradients(f, i))(inputs) for f in (pieces, whole)
    )
    assert_close(got, want, dtype)


def test_a_stack_in_pieces_equals_the_whole_stack():
    draw = Draw("pieces", "float32")
    layers = [draw.params(4, 5), draw.params(5, 6)]
    xs, resets = draw.normal(9, 3, 4), draw.bools(9, 3)
    initial = [draw.normal(5), draw.normal(6)]
    want = grujax.stacked_gru(layers, xs, initial, resets=resets, reset_state=initial)
    h, first = grujax.stacked_gru(layers, xs[:4], initial, resets=resets[:4], reset_state=initial)
    h, second = grujax.stacked_gru(layers, xs[4:], h, resets=resets[4:], reset_state=initial)
    assert_close((h, jnp.concatenate([first, second])), want, "float32")


def test_any_cell_in_pieces_equals_the_whole():
    def cell(rate, state, x):
        total, count = state
        return rate * total + x, count + 1

    draw = Draw("any cell", "float32")
    xs, resets = draw.normal(9, 3), draw.bools(9, 3)
    initial = jnp.ones(3), jnp.zeros(3)
    options = {"reset_state": (1.0, 0)}  # broadcast, and cast
    want = grujax.scan_cell(cell, 0.5, xs, initial, resets=resets, **options)
    h, first = grujax.scan_cell(cell, 0.5, xs[:4], initial, resets=resets[:4], **options)
    h, second = grujax.scan_cell(cell, 0.5, xs[4:], h, resets=resets[4:], **options)
    pieces = h, jax.tree.map(lambda *parts: jnp.concatenate(parts), first, second)
    assert_close(pieces, want, "float32")


def test_reset_states_that_do_not_match_raise():
    inputs = inputs_of(CASE, dtype="float32")
    params, xs = inputs.params, inputs.xs
    with pytest.raises(ValueError, match=r"`reset_state` has shape \[4\] but `params`"):
        grujax.gru(params, xs, reset_state=jnp.zeros(4))
    with pytest.raises(ValueError, match="`reset_state` must have the structure of the stack's"):
        grujax.stacked_gru([params], xs, reset_state=[jnp.zeros(5)] * 2)
    with pytest.raises(ValueError, match=r"`reset_state` must have the structure of `state0`"):
        grujax.scan_cell(lambda p, h, x: h, None, xs, jnp.zeros(3), reset_state=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"does not broadcast against \[3\] in `state0`"):
        grujax.scan_cell(lambda p, h, x: h, None, xs, jnp.zeros(3), reset_state=jnp.zeros(2))


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_exports_with_a_symbolic_number_of_steps(reverse):
    """The last segment may be shorter, and the only one."""
    draw = Draw("symbolic", "float32")
    params = jax.tree.map(jnp.asarray, draw.params(4, 5))

    @jax.jit
    @jax.value_and_grad
    def loss(xs, lengths):
        h_last, hs = grujax.gru(params, xs, lengths=lengths, reverse=reverse, stop_gradient_every=3)
        return jnp.sum(jnp.sin(hs)) + jnp.sum(h_last)

    steps, batch = jax.export.symbolic_shape("steps, batch")
    exported = jax.export.export(loss)(
        jax.ShapeDtypeStruct((steps, batch, 4), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    for length in (1, 3, 7):
        xs, lengths = draw.normal(length, 2, 4), np.int32([length, length // 2])
        assert_close(exported.call(xs, lengths), loss(xs, lengths), "float32")
