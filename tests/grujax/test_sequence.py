import importlib
import re
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import implementations, linen
from grujax.implementations import Implementation
from tests.helpers import BOTH, COMPILER, DTYPES_OF, Draw, assert_close, assert_equal, inputs_of

both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])

KERNELS = ("native", "cuda", "tpu")
INPUTS = inputs_of(BOTH, dtype="float32")
T, B, I = INPUTS.xs.shape  # noqa: E741
H = BOTH.hidden_size


# --- gru ----------------------------------------------------------------------------------------


@both_directions
def test_gru_equals_its_cell_step_by_step(reverse):
    h, hs = INPUTS.h0, [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        hs[t] = h = grujax.gru_cell(INPUTS.params, h, INPUTS.xs[t])
    got = grujax.gru(INPUTS.params, INPUTS.xs, INPUTS.h0, reverse=reverse)
    assert_close(got, (h, np.stack(hs)), "float32")


# "scan" projects the inputs of all steps in one product, and XLA sums products of another number of
# rows in another order. "native" evaluates the gates in its own way.
STEPS = {  # implementation: (dtype, tolerance of `gru` with T = 1, tolerance of `gru_cell`)
    "plain": ("float32", 0, 0),
    "scan": ("float32", 2e-6, 2e-6),
    "native": ("float32", 0, 2e-6),
    "newton": ("float64", 1e-6, 1e-6),
}


@pytest.mark.parametrize(
    "implementation", ["plain", "scan", "native", pytest.param("newton", marks=pytest.mark.slow)]
)
def test_steps_of_acting_equal_a_replay(implementation):
    if implementation == "native" and not COMPILER:
        pytest.skip("needs a C++ compiler")
    dtype, of_one_step, of_cell = STEPS[implementation]
    with jax.enable_x64(dtype == "float64"):
        draw = Draw("acting", dtype)
        xs, h0 = draw.normal(16, 5, 24), draw.normal(5, 48, scale=0.5)
        params = grujax.init_gru(jax.random.key(0), 24, 48, dtype=dtype)
        run = partial(grujax.gru, implementation=implementation)
        _, replay = jax.jit(run)(params, xs, h0)

        def act(step):
            def body(h, x):
                h = step(params, h, x)
                return h, h

            return jax.jit(partial(jax.lax.scan, body))(h0, xs)[1]

        one_step = act(lambda params, h, x: run(params, x[None], h)[0])
        np.testing.assert_allclose(one_step, replay, rtol=0, atol=of_one_step)
        np.testing.assert_allclose(act(grujax.gru_cell), replay, rtol=0, atol=of_cell)


@pytest.mark.parametrize("shape", [(H,), (1, H), (1, 1, H), (3, H), (2, 1, H), (2, 3, H)])
def test_h0_broadcasts_against_the_batch_and_its_gradient_sums(shape):
    draw = Draw("broadcast", "float32")
    xs, h0 = draw.normal(4, 2, 3, I), draw.normal(*shape)
    resets = draw.bools(4, 2, 3)

    def loss(h0):
        h_last, hs = grujax.gru(INPUTS.params, xs, h0, resets=resets, reset_state=h0)
        return jnp.sum(h_last) + jnp.sum(hs**2)

    full, sum_back = jax.vjp(lambda h0: jnp.broadcast_to(h0, (2, 3, H)), h0)
    assert_close(loss(h0), loss(full), "float32")
    (want,) = sum_back(jax.grad(loss)(full))
    assert np.all(want)
    assert_close(jax.grad(loss)(h0), want, "float32")


def test_no_h0_means_zeros():
    zeros = np.zeros((B, H), "float32")
    got = grujax.gru(INPUTS.params, INPUTS.xs, resets=INPUTS.resets)
    options = {"resets": INPUTS.resets, "reset_state": zeros}
    assert_equal(got, grujax.gru(INPUTS.params, INPUTS.xs, zeros, **options))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32"])
def test_lengths_are_integers_of_any_kind(dtype):
    params, draw = INPUTS.params, Draw("kinds", "float32")
    xs = draw.normal(200, 2, I)
    lengths = np.array([100, 5])
    got = grujax.gru(params, xs, lengths=lengths.astype(dtype))
    assert_equal(got, grujax.gru(params, xs, lengths=lengths))


def test_lists_are_arrays():
    got = grujax.gru(
        INPUTS.params,
        INPUTS.xs.tolist(),
        INPUTS.h0.tolist(),
        lengths=INPUTS.lengths.tolist(),
        resets=INPUTS.resets.tolist(),
        reset_state=INPUTS.h0.tolist(),
    )
    want = grujax.gru(
        *INPUTS[:3], lengths=INPUTS.lengths, resets=INPUTS.resets, reset_state=INPUTS.h0
    )
    assert_equal(got, want)


def test_the_default_implementation_agrees_with_plain():
    got, plain = (
        grujax.gru(INPUTS.params, INPUTS.xs, INPUTS.h0, implementation=name)
        for name in (None, "plain")
    )
    assert_close(got, plain, "float32")


FLOATS = np.ones((T, B), "float32")
BAD_CALLS = {
    "xs of another input size": (
        {"xs": np.ones((T, B, 9), "float32")},
        rf"`xs` has shape \[{T}, {B}, 9\].*input size {I}",
    ),
    "xs of integers": ({"xs": np.ones((T, B, I), int)}, r"`xs` must have a floating dtype.*int"),
    "xs of bools": ({"xs": np.ones((T, B, I), bool)}, r"`xs` must have a floating dtype.*bool"),
    "xs without a time axis": (
        {"xs": np.ones(I, "float32")},
        rf"`xs` must have shape \[T, B, I\] or \[T, I\], got \[{I}\]",
    ),
    "xs without axes": ({"xs": np.float32(1)}, rf"`xs` has shape \[\].*input size {I}"),
    "h0 of the input's width": (
        {"h0": np.ones((B, I), "float32")},
        rf"`h0` has shape \[{B}, {I}\].*hidden size {H}",
    ),
    "h0 of another batch": (
        {"h0": np.ones((B + 1, H), "float32")},
        rf"`h0` has shape \[{B + 1}, {H}\].*broadcast.*\[{B}, {H}\]",
    ),
    "h0 with too many axes": (
        {"h0": np.ones((1, B, H), "float32")},
        rf"`h0` has shape \[1, {B}, {H}\].*broadcast.*\[{B}, {H}\]",
    ),
    "h0 of integers": ({"h0": np.ones((B, H), int)}, r"`h0` must have a floating dtype.*int"),
    "lengths of another batch": (
        {"lengths": np.array([1, 2])},
        rf"`lengths` has shape \[2\].*\[{B}\]",
    ),
    "one length for all": ({"lengths": 3}, rf"`lengths` has shape \[\].*\[{B}\]"),
    "lengths of floats": (
        {"lengths": np.float32([1, 2, 3])},
        r"`lengths` must be integers, got float32",
    ),
    "lengths that are a mask": (
        {"lengths": np.array([True, False, True])},
        r"`lengths` must be integers, got bool",
    ),
    "negative lengths": (
        {"lengths": np.array([1, -2, 3])},
        rf"`lengths` must lie in \[0, T\] with T = {T}.*from -2 to 3",
    ),
    "lengths beyond the end": (
        {"lengths": np.array([1, T + 1, 3])},
        rf"`lengths` must lie in \[0, T\] with T = {T}.*from 1 to {T + 1}",
    ),
    "resets of floats": ({"resets": FLOATS}, r"`resets` must be bool, got float32"),
    "resets of integers": ({"resets": FLOATS.astype(int)}, r"`resets` must be bool, got int"),
    "resets batch-major": (
        {"resets": FLOATS.T > 0},
        rf"`resets` has shape \[{B}, {T}\].*\[{T}, {B}\]",
    ),
    "resets without a batch": (
        {"resets": FLOATS[:, 0] > 0},
        rf"`resets` has shape \[{T}\].*\[{T}, {B}\]",
    ),
    "params of another kind": (
        {"params": (INPUTS.params, INPUTS.params)},
        r"`params` must be an instance of GRUParams, got a tuple",
    ),
    "params whose hidden sizes differ": (
        {"params": grujax.GRUParams(*jax.tree.leaves(INPUTS.params)[:3], np.ones(H + 1))},
        rf"`params` must have the shapes.*b_hn \[H\].*b_hn \[{H + 1}\]",
    ),
    "params of several models": (
        {"params": jax.tree.map(lambda leaf: np.stack([leaf, leaf]), INPUTS.params)},
        rf"`params` must have the shapes.*w_h \[2, 3, {H}, {H}\].*vmap",
    ),
    "params of integers": (
        {"params": jax.tree.map(lambda leaf: leaf.astype(int), INPUTS.params)},
        r"`params` must have a floating dtype.*int",
    ),
    "an unknown implementation": (
        {"implementation": "fastest"},
        r"`implementation` must be None, .*\"plain\".*\"scan\".*got 'fastest'",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input(name):
    wrong, message = BAD_CALLS[name]
    with pytest.raises(ValueError, match=message):
        grujax.gru(**{"params": INPUTS.params, "xs": INPUTS.xs, **wrong})


TRACED = ("xs of another", "h0 of another", "lengths of", "resets", "params whose")


@pytest.mark.parametrize("name", [name for name in BAD_CALLS if name.startswith(TRACED)])
def test_bad_input_is_found_under_jit_too(name):
    wrong, message = BAD_CALLS[name]
    with pytest.raises(ValueError, match=message):
        jax.jit(grujax.gru)(**{"params": INPUTS.params, "xs": INPUTS.xs, **wrong})


def test_concrete_lengths_are_checked_under_jit():
    run = jax.jit(lambda xs: grujax.gru(INPUTS.params, xs, lengths=np.array([1, T + 1, 3])))
    with pytest.raises(ValueError, match=rf"`lengths` must lie in .* from 1 to {T + 1}"):
        run(INPUTS.xs)


def test_a_name_forces_its_implementation_and_the_error_lists_all_names():
    for name in DTYPES_OF:
        run = implementations.choose(name)
        if name in KERNELS:
            assert run.args == (name,)
        elif name != "plain":  # which has no rules: JAX differentiates it
            module = importlib.import_module(f"grujax.implementations.{name}")
            assert run.args == (module.RULES,)
    with pytest.raises(ValueError, match="`implementation` must be") as error:
        implementations.choose("none of them")
    names = {*get_args(Implementation)}
    assert set(re.findall(r'"(\w+)"', str(error.value))) == names == {*DTYPES_OF, *KERNELS}


# --- scan_cell ----------------------------------------------------------------------------------


def leaky(rate, state, x):
    return rate * state + x


WALK = {
    "params": 0.5,
    "xs": jnp.array([1.0, 2.0, 4.0, 8.0, np.nan, np.nan])[:, None],
    "state0": jnp.array([16.0]),
    "lengths": jnp.array([4]),
    "resets": jnp.array([False, False, True, False, True, False])[:, None],
    "reset_state": jnp.array([16.0]),
}


@pytest.mark.parametrize(
    ("reverse", "states"),
    [(False, [9.0, 6.5, 12.0, 14.0, 0.0, 0.0]), (True, [6.0, 10.0, 12.0, 16.0, 0.0, 0.0])],
)
def test_a_leaky_integrator_by_hand(reverse, states):
    """s' = s/2 + x, from 16 at the start of each segment: steps 0 and 1, steps 2 and 3."""
    state_last, got = grujax.scan_cell(leaky, **WALK, reverse=reverse)
    assert got[:, 0].tolist() == states
    assert state_last.tolist() == [states[0] if reverse else states[3]]


def test_a_leaky_integrators_gradient_by_hand():
    """After a reset at step 2 nothing of the start is left but the new start, twice halved."""

    def last(state0, xs):
        return grujax.scan_cell(
            leaky, **{**WALK, "state0": state0, "reset_state": state0, "xs": xs}
        )[0][0]

    state0_bar, xs_bar = jax.grad(last, argnums=(0, 1))(WALK["state0"], WALK["xs"])
    assert state0_bar.tolist() == [0.25]
    assert xs_bar[:, 0].tolist() == [0, 0, 0.5, 1, 0, 0]


@both_directions
@pytest.mark.parametrize("reset_after", [True, False])
def test_scan_cell_over_gru_cell_equals_gru(reset_after, reverse):
    inputs = inputs_of(BOTH, reset_after, "float32")
    masks = {"lengths": inputs.lengths, "resets": inputs.resets, "reset_state": inputs.h0}
    masks["reverse"] = reverse
    got = grujax.scan_cell(grujax.gru_cell, inputs.params, inputs.xs, inputs.h0, **masks)
    assert_close(got, grujax.gru(inputs.params, inputs.xs, inputs.h0, **masks), "float32")


@both_directions
def test_the_state_and_the_inputs_are_any_pytrees(reverse):
    """A count and a matrix-valued trace beside it, against a loop over rows and steps."""

    def cell(params, state, inputs):
        steps, trace = state["steps"], state["trace"]
        x, y = inputs
        outer = x[..., :, None] * y[..., None, :]
        return {"steps": steps + 1, "trace": params * trace + outer}

    draw = Draw("pytree", "float32")
    xs = (draw.normal(T, B, 2), draw.normal(T, B, 3))
    state0 = {"steps": np.int32([10, 20, 30]), "trace": draw.normal(B, 2, 3)}
    masks = {"lengths": INPUTS.lengths, "resets": INPUTS.resets, "reset_state": state0}
    masks["reverse"] = reverse
    last, states = grujax.scan_cell(cell, 0.5, xs, state0, **masks)
    for b, length in enumerate(INPUTS.lengths):
        start = jax.tree.map(lambda leaf, b=b: leaf[b], state0)
        state = start
        for t in reversed(range(length)) if reverse else range(length):
            boundary = t + 1 if reverse else t
            if boundary < length and INPUTS.resets[boundary, b]:
                state = start
            state = cell(0.5, state, (xs[0][t, b], xs[1][t, b]))
            assert_close(jax.tree.map(lambda leaf, t=t, b=b: leaf[t, b], states), state, "float32")
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b], last), state, "float32")
        assert not any(np.any(leaf[length:, b]) for leaf in jax.tree.leaves(states))
    assert states["steps"].dtype == jnp.int32


@both_directions
def test_the_padding_changes_nothing_for_any_cell(reverse):
    def cell(params, state, x):
        h, c = state
        c = jnp.tanh(x @ params + h) + c
        return jnp.sin(c), c

    draw = Draw("padding", "float32")
    w, state0 = draw.normal(I, H), (draw.normal(B, H), draw.normal(B, H))
    padding = (np.arange(T)[:, None] >= INPUTS.lengths)[..., None]

    def loss(w, xs, state0):
        masks = {"lengths": INPUTS.lengths, "resets": INPUTS.resets, "reset_state": state0}
        last, states = grujax.scan_cell(cell, w, xs, state0, **masks, reverse=reverse)
        return sum(jnp.sum(leaf**2) for leaf in (*last, *states))

    gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    got = gradients(w, np.where(padding, np.nan, INPUTS.xs), state0)
    assert_equal(got, gradients(w, INPUTS.xs, state0))
    assert not np.any(np.where(padding, got[1][1], 0))


def test_scan_cell_without_steps_returns_the_initial_state():
    last, states = grujax.scan_cell(leaky, 0.5, np.zeros((0, 2), "float32"), np.float32([3, 4]))
    assert last.tolist() == [3, 4]
    assert states.shape == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"xs": ()}, r"`xs` must hold at least one array"),
        ({"xs": jnp.array(1.0)}, r"each must have a time axis"),
        ({"lengths": jnp.array([1, 2])}, r"`xs` holds an array of shape \[6, 1\].*\[6, 2\]"),
        ({"resets": jnp.ones((5, 1), bool)}, r"`resets` has shape \[5, 1\].*\[6, 1\]"),
        ({"resets": jnp.ones((6, 1))}, r"`resets` must be bool, got float32"),
        (
            {"resets": (jnp.ones((6, 1), bool),) * 2},
            "`resets` must be one .* the whole state of a row, got a tuple of 2. For parts of the",
        ),
        (
            {"resets": {"h": jnp.ones((6, 1), bool)}},
            "`resets` must be one .* the whole state of a row, got a dict.* pass flags in `xs`",
        ),
        ({"lengths": jnp.array([7])}, r"`lengths` must lie in \[0, T\] with T = 6"),
        ({"lengths": jnp.array([1.0])}, r"`lengths` must be integers, got float32"),
        ({"state0": jnp.zeros(2)}, r"`state0` holds an array of shape \[2\].*\[1\]"),
        ({"xs": (WALK["xs"], WALK["xs"][:5])}, r"`xs` holds an array of shape \[5, 1\].*\[6, 1\]"),
    ],
)
def test_scan_cell_bad_input(wrong, message):
    with pytest.raises(ValueError, match=message):
        grujax.scan_cell(leaky, **{**WALK, **wrong})


@pytest.mark.parametrize("name", ["resets", "mask"])
def test_flags_broadcast_over_further_batch_axes(name):
    draw = Draw("agents", "float32")
    xs, flags = draw.normal(4, 3, 2, INPUTS.params.input_size), draw.bools(4, 3)
    every = np.broadcast_to(flags[..., None], (4, 3, 2))
    params = INPUTS.params
    want = grujax.gru(params, xs, **{name: every})
    run_cell = partial(grujax.scan_cell, grujax.gru_cell, params, xs, want[0], reset_state=0.0)
    from_cell = run_cell(**{name: every})
    module = linen.GRU(features=params.hidden_size)
    batch_major, last = np.moveaxis(xs, 0, 2), np.moveaxis(every, 0, 2)
    variables = module.init(jax.random.key(0), batch_major)
    from_module = module.apply(variables, batch_major, **{name: last})
    for given in (flags, flags[..., None]):
        assert_equal(grujax.gru(params, xs, **{name: given}), want)
        assert_equal(run_cell(**{name: given}), from_cell)
        got = module.apply(variables, batch_major, **{name: np.moveaxis(given, 0, -1)})
        assert_equal(got, from_module)


@pytest.mark.parametrize("name", ["resets", "mask"])
def test_flags_of_another_dtype_are_told_how_to_become_bool(name):
    with pytest.raises(ValueError, match=rf"`{name}` must be bool, got float32: pass `{name}.ast"):
        grujax.gru(INPUTS.params, INPUTS.xs, **{name: np.zeros(INPUTS.xs.shape[:2], "float32")})
