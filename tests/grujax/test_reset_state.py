"""What a reset goes back to: point 3 of the contract for time, and states for each step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import grujax
from grujax import baselines
from tests.helpers import (
    IMPLEMENTATIONS,
    Draw,
    assert_close,
    assert_equal,
    best_dtype,
    form_and_direction,
)

T, B, I, H = 5, 3, 4, 5  # noqa: E741
DRAW = Draw("reset states", "float32")
PARAMS, UPPER = DRAW.params(I, H), DRAW.params(H, H)
XS, H0, RESETS = DRAW.normal(T, B, I), DRAW.normal(B, H), DRAW.bools(T, B)
LENGTHS = np.array([5, 0, 3])
MIN_GRU = baselines.init_min_gru(jax.random.key(0), I, H)

# Functions of (xs, h0, **options), and a state with the structure of their `h0`.
FUNCTIONS = {
    "gru": (partial(grujax.gru, PARAMS), H0),
    "bidirectional_gru": (partial(grujax.bidirectional_gru, (PARAMS, PARAMS)), (H0, 2 * H0)),
    "stacked_gru": (partial(grujax.stacked_gru, [PARAMS, UPPER]), [H0, 2 * H0]),
    "scan_cell": (partial(grujax.scan_cell, grujax.gru_cell, PARAMS), H0),
    "min_gru": (partial(baselines.min_gru, MIN_GRU), H0),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def over_steps(params, xs, h0, reset_state, lengths, reverse) -> tuple[Array, Array]:
    """The rule itself, one `gru_cell` after the other."""
    lasts, rows = [], []
    for b, length in enumerate(lengths):
        h, states = h0[b], [jnp.zeros(H, h0.dtype)] * T
        for t in reversed(range(length)) if reverse else range(length):
            boundary = t + 1 if reverse else t
            if boundary < length and RESETS[boundary, b]:
                h = reset_state[t, b]
            h = states[t] = grujax.gru_cell(params, h, xs[t, b])
        lasts.append(h)
        rows.append(jnp.stack(states))
    return jnp.stack(lasts), jnp.stack(rows, axis=1)


def outputs_and_gradients(run, dtype, reset_after, has_steps, lengths):
    """Of `run(params, xs, h0, reset_state)`, with respect to all four."""
    draw = Draw("reset states", dtype)
    params, xs = draw.params(I, H, reset_after=reset_after), draw.normal(T, B, I)
    h0, reset_state = draw.normal(B, H), draw.normal(*((T, B, H) if has_steps else (B, H)))
    hs_bar = draw.normal(T, B, H)

    def loss(params, xs, h0, reset_state):
        h_last, hs = run(params, xs, h0, reset_state, lengths)
        return jnp.sum(h_last**2) + jnp.vdot(hs, hs_bar), (h_last, hs)

    differentiate = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))
    (_, outputs), gradients = differentiate(params, xs, h0, reset_state)
    return outputs, gradients


def by_gru(implementation, reverse):
    def run(params, xs, h0, reset_state, lengths):
        options = {"lengths": lengths, "resets": RESETS, "reset_state": reset_state}
        options |= {"reverse": reverse, "implementation": implementation}
        return grujax.gru(params, xs, h0, **options)

    return run


one_or_each = pytest.mark.parametrize("has_steps", [False, True], ids=["one", "each step"])


@form_and_direction
@one_or_each
def test_outputs_and_gradients_are_those_of_the_rule(x64, has_steps, reset_after, reverse):
    def rule(params, xs, h0, reset_state, lengths):
        every = jnp.broadcast_to(reset_state, (T, B, H))
        return over_steps(params, xs, h0, every, lengths, reverse)

    case = "float64", reset_after, has_steps, LENGTHS
    got = outputs_and_gradients(by_gru("plain", reverse), *case)
    assert_close(got, outputs_and_gradients(rule, *case), "float64")


@pytest.mark.parametrize("lengths", [LENGTHS, None], ids=["lengths", "no lengths"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS[1:])
@form_and_direction
@one_or_each
def test_every_implementation_equals_plain(
    x64, has_steps, reset_after, reverse, implementation, lengths
):
    case = best_dtype(implementation), reset_after, has_steps, lengths
    got = outputs_and_gradients(by_gru(implementation, reverse), *case)
    assert_close(got, outputs_and_gradients(by_gru("plain", reverse), *case), case[0])


@every_function
def test_a_number_and_one_row_serve_every_state(name):
    run, h0 = FUNCTIONS[name]
    row = np.linspace(-1, 1, H, dtype="float32")
    for given, value in ((0.0, 0 * row), (0.25, 0 * row + 0.25), (row, row)):
        full = jax.tree.map(lambda state, value=value: value + 0 * state, h0)
        got = run(XS, h0, resets=RESETS, reset_state=given)
        assert_equal(got, run(XS, h0, resets=RESETS, reset_state=full))


@every_function
def test_resets_go_to_zeros_where_no_state_is_given(name):
    run, h0 = FUNCTIONS[name]
    zeros = jax.tree.map(np.zeros_like, h0)
    want = run(XS, zeros, resets=RESETS, reset_state=zeros)
    got = run(XS, zeros if name == "scan_cell" else None, resets=RESETS, reset_state=0.0)
    assert_equal(got, want)
    if name != "scan_cell":
        assert_equal(run(XS, resets=RESETS), want)


@every_function
def test_resets_beside_a_state_need_a_reset_state(name):
    run, h0 = FUNCTIONS[name]
    state = "state0" if name == "scan_cell" else "h0"
    with pytest.raises(ValueError, match=rf"`resets` with `{state}` need `reset_state`.*acting"):
        run(XS, h0, resets=RESETS)


@every_function
@pytest.mark.parametrize(
    "wrong", [np.ones((T + 1, B, H)), np.ones((B + 1, H)), np.ones(H + 1), "zeros"], ids=str
)
def test_what_does_not_fit_is_refused(name, wrong):
    run, h0 = FUNCTIONS[name]
    wrong = jax.tree.map(lambda _: wrong, h0)
    with pytest.raises(ValueError, match="`reset_state`"):
        run(XS, h0, resets=RESETS, reset_state=wrong)


def test_stored_states_start_the_slices_of_a_packed_row():
    """Two slices of one long sequence, packed in the other order, give what they gave."""
    long = DRAW.normal(2 * T, I)
    _, hs = grujax.gru(PARAMS, long)
    cut = 4
    packed = np.concatenate([long[cut : 2 * cut], long[:cut]])
    stored = np.zeros((2 * cut, H), "float32")
    stored[0] = hs[cut - 1]
    resets = np.arange(2 * cut) % cut == 0
    _, got = grujax.gru(PARAMS, packed, resets=resets, reset_state=stored)
    assert_close(got, np.concatenate([hs[cut : 2 * cut], hs[:cut]]), "float32")


def test_newton_report_runs_no_state_for_each_step():
    for options in (
        {"reset_state": np.ones((T, B, H))},
        {"reset_state": 0.0, "lengths": LENGTHS, "reverse": True},
    ):
        with pytest.raises(ValueError, match="`reset_state` must be one state for all steps"):
            grujax.newton_report(PARAMS, XS, H0, resets=RESETS, **options)
