"""Masks of the contract for time: skipped steps, for every implementation and function.

Every case of `test_contract.py` with a mask runs there too; the regularizers' are in
`test_regularizers.py`.
"""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grujax
from grujax import baselines, time_checks
from tests.helpers import (
    IMPLEMENTATIONS,
    MASKED,
    Case,
    Draw,
    assert_close,
    assert_equal,
    best_dtype,
    form_and_direction,
    inputs_of,
    outputs_and_gradients,
    replace_unread,
)
from tests.reference import reference_gradients, reference_outputs

every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def mostly_slow(*first_tier, also=()):
    """Every implementation, of which those that are not named are in the second tier."""
    return pytest.mark.parametrize(
        "implementation",
        [
            name if name in first_tier else pytest.param(name, marks=pytest.mark.slow)
            for name in (*IMPLEMENTATIONS, *also)
        ],
    )


both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
T, B = MASKED.steps, MASKED.batch[0]
ROW = np.arange(B)
# All tests with these sizes run one program of each implementation, form and direction.
flags = st.lists(st.booleans(), min_size=T * B, max_size=T * B).map(
    lambda values: np.reshape(values, (T, B))
)


@every_implementation
@settings(max_examples=8)
@given(
    lengths=st.tuples(*[st.integers(0, T)] * B),
    mask=flags,
    resets=flags,
    form=st.sampled_from([(True, False), (False, True)]),
)
def test_any_mask_lengths_and_resets_give_the_reference(
    implementation, lengths, mask, resets, form
):
    reset_after, reverse = form
    time = {"lengths": np.int32(lengths), "mask": mask, "resets": resets}
    with jax.enable_x64(True):
        dtype = best_dtype(implementation)
        inputs = replace_unread(inputs_of(MASKED, reset_after, dtype)._replace(**time), np.nan)
        got = outputs_and_gradients(inputs, reverse, implementation)
        exact = inputs_of(MASKED, reset_after)._replace(**time)
        want = reference_outputs(exact, reverse), reference_gradients(exact, reverse)
        assert_close(got, want, dtype)


@mostly_slow("native")
@form_and_direction
def test_skipped_steps_are_as_if_they_were_not_there(x64, reset_after, reverse, implementation):
    """The sequence without them gives the same, by `gru` without a mask."""
    dtype = best_dtype(implementation)
    no_resets = np.zeros((T, B), bool)
    inputs = inputs_of(MASKED, reset_after, dtype)._replace(
        lengths=np.int32([T, T, T]), resets=no_resets
    )
    taken = np.argsort(~inputs.mask, axis=0, kind="stable")  # [T, B], the steps of `mask` first
    count = inputs.mask.sum(0)
    place = np.argsort(taken, axis=0)  # of each step in the sequence without the others

    def without_skipped_steps(params, xs, h0):
        options = {"lengths": count, "reverse": reverse, "implementation": implementation}
        h_last, hs = grujax.gru(params, xs[taken, ROW], h0, **options)
        return h_last, jnp.where(inputs.mask[..., None], hs[place, ROW], 0)

    # What skipped steps hold is the next test's.
    only_taken = inputs._replace(hs_bar=inputs.hs_bar * inputs.mask[..., None].astype(dtype))
    (h_last, hs), gradients = outputs_and_gradients(only_taken, reverse, implementation)
    got = (h_last, np.where(inputs.mask[..., None], hs, 0)), gradients

    @jax.jit
    def expected(params, xs, h0):
        outputs, pull_back = jax.vjp(without_skipped_steps, params, xs, h0)
        return outputs, pull_back((only_taken.h_last_bar, only_taken.hs_bar))

    assert_close(got, expected(inputs.params, inputs.xs, inputs.h0), dtype)


def states_before(inputs, hs, reverse):
    """`[T, B, H]`: the state from which each step starts, in NumPy."""
    before = np.array(hs)
    for t, b in np.ndindex(*hs.shape[:2]):
        neighbor = t + 1 if reverse else t - 1
        boundary = max(t, neighbor)  # between the two steps
        is_first = not 0 <= neighbor < inputs.lengths[b]
        is_set = is_first or inputs.resets[boundary, b]
        before[t, b] = inputs.h0[b] if is_set else hs[neighbor, b]
    return before


@mostly_slow("scan", "native")
@form_and_direction
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_skipped_steps_hold_the_state_bit_for_bit(dtype, reset_after, reverse, implementation):
    """Also under zoneout and recurrent dropout."""
    inputs = inputs_of(MASKED, reset_after, dtype)
    mask = inputs.mask & (ROW < 2)  # the last row skips every step

    @jax.jit
    def run(key, rate):
        return grujax.gru(
            *inputs[:3],
            lengths=inputs.lengths,
            mask=mask,
            resets=inputs.resets,
            reset_state=inputs.h0,
            reverse=reverse,
            zoneout=rate,
            recurrent_dropout=rate,
            key=key,
            implementation=implementation,
        )

    exists = np.arange(T)[:, None] < inputs.lengths
    for key, rate in ((None, 0.0), (None, 0.3), (jax.random.key(0), 0.3)):
        h_last, hs = run(key, rate)
        before = states_before(inputs, np.asarray(hs), reverse)
        skipped = exists & ~mask
        assert np.all(skipped[:, 2])
        assert_equal(hs[skipped], before[skipped])
        assert_equal(h_last[2], hs[0 if reverse else T - 1, 2])
        assert not np.any(hs[~exists])


@every_implementation
@form_and_direction
def test_inputs_of_skipped_steps_change_nothing(x64, reset_after, reverse, implementation):
    clean = inputs_of(MASKED, reset_after, best_dtype(implementation))
    want = outputs_and_gradients(clean, reverse, implementation)
    for value in (np.nan, np.inf, -np.inf, 1e30):
        got = outputs_and_gradients(replace_unread(clean, value), reverse, implementation)
        assert_equal(got, want)
        _, (_, xs_bar, _) = got
        assert not np.any(xs_bar[~clean.mask])


@mostly_slow("scan", also=("newton",))
@form_and_direction
def test_tangents_equal_those_of_plain(x64, reset_after, reverse, implementation):
    dtype = "float64" if implementation == "newton" else best_dtype(implementation)
    inputs = replace_unread(inputs_of(MASKED, reset_after, dtype), np.nan)
    draw = Draw("tangents", dtype)
    tangents = jax.tree.map(lambda leaf: draw.normal(*leaf.shape), inputs[:3])

    def push(implementation):
        def run(*primals):
            return grujax.gru(
                *primals,
                lengths=inputs.lengths,
                mask=inputs.mask,
                resets=inputs.resets,
                reset_state=primals[2],
                reverse=reverse,
                zoneout=0.3,
                recurrent_dropout=0.3,
                key=jax.random.key(0),
                implementation=implementation,
            )

        return jax.jit(partial(jax.jvp, run))(inputs[:3], tangents)

    assert_close(push(implementation), push("plain"), dtype)


# --- every other function -----------------------------------------------------------------------

PAIR = tuple(Draw(name, "float32").params(4, 5) for name in ("forward", "backward"))
MIN_GRU = baselines.init_min_gru(jax.random.key(0), 4, 5)
XS = inputs_of(MASKED, dtype="float32").xs
FUNCTIONS = {
    "gru": partial(grujax.gru, PAIR[0]),
    "bidirectional": partial(grujax.bidirectional_gru, PAIR),
    "stacked": partial(grujax.stacked_gru, [PAIR[0]]),
    "scan_cell": lambda xs, **time: grujax.scan_cell(
        grujax.gru_cell, PAIR[0], xs, jnp.zeros((B, 5)), **time
    ),
    "min_gru": partial(baselines.min_gru, MIN_GRU),
    "newton_report": partial(grujax.newton_report, PAIR[0]),
}
ALL_TRUE = {
    "NumPy": np.ones((T, B), bool),
    "JAX": jnp.ones((T, B), bool),
    "list": [[True] * B] * T,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_mask_known_to_be_true_everywhere_leaves_the_program_unchanged(name):
    def program(mask):
        return str(jax.make_jaxpr(partial(FUNCTIONS[name], mask=mask))(XS))

    want = program(None)
    assert all(program(mask) == want for mask in ALL_TRUE.values())
    one_step = ALL_TRUE["NumPy"].copy()
    one_step[2, 1] = False
    assert program(one_step) != want


def test_a_mask_is_known_only_if_this_process_holds_all_of_it():
    elsewhere = SimpleNamespace(is_fully_addressable=False)
    assert not time_checks._is_known(elsewhere)
    assert time_checks._is_known(ALL_TRUE["JAX"])


@pytest.mark.parametrize("key", [None, jax.random.key(0)], ids=["evaluation", "training"])
def test_both_directions_and_all_layers_skip_the_step(key):
    inputs = inputs_of(MASKED, dtype="float32")
    time = {"lengths": inputs.lengths, "mask": inputs.mask, "resets": inputs.resets}
    options = {"zoneout": 0.3, "recurrent_dropout": 0.3}
    keys = [None, None] if key is None else jax.random.split(key)
    last, hs = grujax.bidirectional_gru(PAIR, XS, **time, **options, key=key)
    for reverse in (0, 1):
        one = grujax.gru(
            PAIR[reverse], XS, **time, **options, reverse=bool(reverse), key=keys[reverse]
        )
        assert_close((last[reverse], np.split(hs, 2, axis=-1)[reverse]), one, "float32")

    layers = [PAIR, Draw("top", "float32").params(10, 5)]
    got_last, got = grujax.stacked_gru(layers, XS, **time)
    want_last, below = grujax.bidirectional_gru(PAIR, XS, **time)
    assert_close(
        ([want_last], got), ([got_last[0]], grujax.gru(layers[1], below, **time)[1]), "float32"
    )


@both_directions
def test_min_gru_holds_the_state_bit_for_bit(reverse):
    """So many steps that the parallel scan rounds neighbors differently."""
    case = Case("min_gru", steps=40, lengths=(40, 0, 30), resets=True, mask=True)
    inputs = inputs_of(case, dtype="float32")
    mask, resets = inputs.mask & (ROW < 2), inputs.resets & (np.arange(40) % 9 == 0)[:, None]
    inputs = inputs._replace(resets=resets)
    run = jax.jit(partial(baselines.min_gru, reverse=reverse))
    time = {"lengths": inputs.lengths, "mask": mask, "resets": resets}
    h_last, hs = run(MIN_GRU, inputs.xs, inputs.h0, **time, reset_state=inputs.h0)
    skipped = (np.arange(40)[:, None] < inputs.lengths) & ~mask
    before = states_before(inputs, np.asarray(hs), reverse)
    assert_equal(hs[skipped], before[skipped])
    assert_equal(h_last[0], hs[0 if reverse else 39, 0])


@both_directions
def test_scan_cell_skips_steps_of_any_cell(reverse):
    """A state of two arrays, one of them integers without features, and inputs of two arrays."""
    mask = np.array([[1, 0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0]], bool).T
    xs = {"value": np.ones((T, 2, 2, 3), "float32"), "index": np.arange(T * 2).reshape(T, 2)}
    xs["value"][~mask] = np.nan
    state0 = {"sum": jnp.full((2, 2, 3), -0.5), "count": jnp.array([3, 4])}

    def cell(rate, state, x):
        return {
            "sum": rate * state["sum"] + jnp.sqrt(1 + x["value"]),
            "count": state["count"] + 1,
        }

    @jax.jit
    def run(rate, values):
        return grujax.scan_cell(
            cell, rate, {**xs, "value": values}, state0, mask=mask, reverse=reverse
        )

    last, states = run(0.5, xs["value"])
    counts = np.cumsum(mask[::-1], 0)[::-1] if reverse else np.cumsum(mask, 0)
    np.testing.assert_array_equal(states["count"], counts + np.array([3, 4]))
    np.testing.assert_array_equal(last["count"], [6, 4])
    np.testing.assert_array_equal(states["sum"][:, 1], np.full((T, 2, 3), -0.5))
    changed = np.diff(states["sum"][:, 0, 0, 0]) != 0
    np.testing.assert_array_equal(changed, mask[:-1, 0] if reverse else mask[1:, 0])

    gradient = jax.jit(jax.grad(lambda *primals: run(*primals)[1]["sum"].sum(), (0, 1)))
    gradients = gradient(0.5, xs["value"])
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    np.testing.assert_array_equal(np.any(gradients[1] != 0, axis=(2, 3)), mask)
