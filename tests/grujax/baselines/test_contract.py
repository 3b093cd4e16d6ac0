"""The contract for time, for the cells of `grujax.baselines`, in both directions.

`scan_cell` runs all cells with the same code. By default one cell, the LSTM, whose state is a tree,
goes through every case, and so does `min_gru`, which does not use `scan_cell`. The other cells run
picked cases. The full product is marked `slow`, and so is DreamerV3's cell: see
`test_block_gru_cell.py`.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from tests.fixtures.baseline_cells import BASELINES, reference_run
from tests.helpers import (
    BOTH,
    CASES,
    Case,
    Draw,
    as_jax,
    assert_close,
    assert_equal,
    equations_of,
    inputs_of,
    pull_back_through,
    replace_unread,
    resets_to,
    share_unless_mapped,
)
from tests.reference import Inputs


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


every_baseline = pytest.mark.parametrize(
    "name", [slow(name) if name == "block_gru_cell" else name for name in BASELINES]
)
over_time = pytest.mark.parametrize(
    "name", [name if name in ("lstm", "min_gru in parallel") else slow(name) for name in BASELINES]
)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
forward = pytest.mark.parametrize("reverse", [False, slow(True)], ids=["forward", "reverse"])
backward = pytest.mark.parametrize("reverse", [slow(False), True], ids=["forward", "reverse"])
T, B = BOTH.steps, BOTH.batch[0]


def inputs_for(name: str, case: Case = BOTH, dtype: str = "float64") -> Inputs:
    return inputs_of(case, dtype=dtype, cell=BASELINES[name])


@partial(jax.jit, static_argnames=("name", "reverse"))
def outputs_and_gradients(name: str, inputs: Inputs, reverse: bool):
    return pull_back_through(BASELINES[name].run, inputs, reverse)


@partial(jax.jit, static_argnames=("name", "reverse"))
def outputs_of(name: str, inputs: Inputs, reverse: bool):
    """Another compiled program, without gradients."""
    masks = {"lengths": inputs.lengths, "mask": inputs.mask}
    masks |= resets_to(inputs.h0, inputs.resets)
    return BASELINES[name].run(inputs.params, inputs.xs, inputs.h0, **masks, reverse=reverse)


def reference(name: str, case: Case, reverse: bool):
    return _reference(name.removesuffix(" in parallel"), case, reverse)


@cache
def _reference(name: str, case: Case, reverse: bool):
    """Outputs by NumPy and gradients by JAX, in float64."""
    run, inputs = reference_run(name), inputs_for(name, case)
    outputs = run(*inputs[:5], inputs.mask, reverse)
    return outputs, pull_back_through(partial(run, numpy=jnp), as_jax(inputs), reverse)[1]


# --- outputs and gradients ----------------------------------------------------------------------


def assert_equals_the_paper(name, case, reverse):
    got = outputs_and_gradients(name, inputs_for(name, case), reverse)
    # The norm of one unit hardly changes: its gradient is a difference of nearly equal numbers.
    is_cancelled = name == "block_gru_cell" and case.hidden_size == 1
    tolerance = 1e-10 if is_cancelled else None
    assert_close(got, reference(name, case, reverse), "float64", tolerance)


@every_baseline
@both_directions
def test_outputs_and_gradients_equal_the_papers(x64, name, reverse):
    assert_equals_the_paper(name, BOTH, reverse)


def other_cases():
    """Each case in one direction, in turn; the opposite direction is slow."""
    for index, case in enumerate(case for case in CASES if case != BOTH):
        reverse = index % 2 == 1
        yield case, reverse
        yield slow(case, not reverse)


# The others run by `scan_cell`, whose loop over time is that of "plain", which every case tests.
@pytest.mark.parametrize(
    "name", [name if name == "min_gru in parallel" else slow(name) for name in BASELINES]
)
@pytest.mark.parametrize(("case", "reverse"), list(other_cases()), ids=str)
def test_outputs_and_gradients_equal_the_papers_in_every_case(x64, name, case, reverse):
    assert_equals_the_paper(name, case, reverse)


@every_baseline
@forward
def test_float32_agrees_to_1e_5(name, reverse):
    got = outputs_and_gradients(name, inputs_for(name, dtype="float32"), reverse)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(got)} == {"float32"}
    with jax.enable_x64(True):
        want = reference(name, BOTH, reverse)
    assert_close(got, want, "float32")


@over_time
@given(
    lengths=st.tuples(*[st.integers(0, T)] * B),
    resets=st.lists(st.booleans(), min_size=T * B, max_size=T * B),
    reverse=st.booleans(),
)
def test_any_lengths_and_resets_give_the_reference(name, lengths, resets, reverse):
    with jax.enable_x64(True):
        inputs = inputs_for(name)._replace(
            lengths=np.int32(lengths), resets=np.reshape(resets, (T, B))
        )
        run = reference_run(name)
        want = run(*inputs[:5], inputs.mask, reverse)
        assert_close(outputs_of(name, inputs, reverse), want, "float64")


@over_time
@backward
def test_without_steps_the_last_state_equals_the_first_bit_for_bit(name, reverse):
    inputs = inputs_for(name, dtype="float32")
    empty = inputs._replace(xs=inputs.xs[:0], lengths=None, resets=None)
    for none in (empty, inputs._replace(lengths=np.zeros(B, "int32"))):
        state_last, states = outputs_of(name, none, reverse)
        assert_equal(state_last, inputs.h0)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(states))


# --- the padding --------------------------------------------------------------------------------


@over_time
@both_directions
def test_the_padding_changes_nothing(x64, name, reverse):
    clean = inputs_for(name)
    want = outputs_and_gradients(name, clean, reverse)
    valid = (np.arange(T)[:, None] < clean.lengths)[..., None]
    for value in (np.nan, np.inf, -np.inf, 1e30):
        # Resets in the padding, and cotangents of outputs there, have no effect either.
        dirty = replace_unread(clean, value)._replace(
            resets=clean.resets | ~valid[..., 0],
            hs_bar=jax.tree.map(lambda bar, v=value: np.where(valid, bar, v), clean.hs_bar),
        )
        got = outputs_and_gradients(name, dirty, reverse)
        assert_equal(got, want)
        (_, states), (_, xs_bar, _) = got
        for array in (*jax.tree.leaves(states), xs_bar):
            assert not np.any(np.where(valid, 0, array))


@over_time
@forward
def test_a_nan_in_one_row_stays_in_that_row(name, reverse):
    inputs = inputs_for(name, dtype="float32")
    xs = inputs.xs.copy()
    xs[0, 0] = np.nan
    broken = inputs._replace(xs=xs)
    (last, states), (_, xs_bar, h0_bar) = outputs_and_gradients(name, broken, reverse)
    for array in jax.tree.leaves((last, h0_bar)):
        assert np.all(np.isfinite(array[1:]))
    for array in jax.tree.leaves((states, xs_bar)):
        assert np.all(np.isfinite(array[:, 1:]))


@over_time
@both_directions
def test_lengths_out_of_range_are_clipped_under_jit(x64, name, reverse):
    inputs = inputs_for(name)
    outside = inputs._replace(lengths=np.int32([5, -3, T + 4]))
    got = outputs_and_gradients(name, outside, reverse)
    assert_equal(got, outputs_and_gradients(name, inputs, reverse))


# --- dtypes -------------------------------------------------------------------------------------

DTYPES = [  # xs, params, result
    ("bfloat16", "bfloat16", "bfloat16"),
    slow("float16", "float16", "float16"),
    ("float32", "bfloat16", "float32"),
    slow("bfloat16", "float32", "float32"),
    slow("float16", "bfloat16", "float32"),
]


@every_baseline
@pytest.mark.parametrize(("xs_dtype", "params_dtype", "dtype"), DTYPES)
def test_outputs_have_the_promoted_dtype_and_gradients_the_dtype_of_their_primals(
    name, xs_dtype, params_dtype, dtype
):
    inputs = inputs_for(name, dtype="float32")
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, params_dtype), inputs.params)
    state0 = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), inputs.h0)

    def outputs_and_gradients_of(*primals):
        masks = {"lengths": inputs.lengths, "resets": inputs.resets, "reset_state": primals[2]}
        run = partial(BASELINES[name].run, **masks)
        outputs, pull_back = jax.vjp(run, *primals)
        return outputs, pull_back(outputs)

    outputs, (params_bar, xs_bar, _) = jax.eval_shape(
        outputs_and_gradients_of, params, jnp.asarray(inputs.xs, xs_dtype), state0
    )
    assert {leaf.dtype.name for leaf in jax.tree.leaves(outputs)} == {dtype}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params_bar)} == {params_dtype}
    assert xs_bar.dtype.name == xs_dtype


@over_time
@pytest.mark.parametrize(("dtype", "reverse"), [("bfloat16", True), ("float32", False)])
def test_padding_carries_the_state_without_drift(name, dtype, reverse):
    case = Case("padding", steps=400, batch=(3,), lengths=(3, 0, 400), hidden_size=8)
    inputs = inputs_for(name, case, dtype)
    state_last, states = outputs_of(name, inputs, reverse)
    assert_equal(row(state_last, 1), row(inputs.h0, 1))
    short = inputs._replace(xs=inputs.xs[:3], lengths=np.int32([3, 0, 3]))
    short_last, short_states = outputs_of(name, short, reverse)
    got = row(state_last, 0), row(states, np.s_[:3, 0])
    want = row(short_last, 0), row(short_states, np.s_[:, 0])
    # The two programs differ by a few units in the last place; there is no drift.
    assert_close(got, want, dtype, tolerance=4 * jnp.finfo(dtype).eps)


def row(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@every_baseline
@backward
def test_bfloat16_is_close_to_float64_over_many_steps(name, reverse):
    case = Case("bfloat16", steps=64, batch=(2,), lengths=(64, 33), resets=True)
    inputs = inputs_for(name, case, "bfloat16")
    got = outputs_of(name, inputs, reverse)
    with jax.enable_x64(True):
        exact = jax.tree.map(
            lambda leaf: leaf.astype("float64") if leaf.dtype == jnp.bfloat16 else leaf, inputs
        )
        run = reference_run(name)
        want = run(*exact[:5], exact.mask, reverse)
        assert_close(got, want, "bfloat16")


@every_baseline
def test_gates_are_evaluated_and_matmuls_accumulated_in_float32(name):
    inputs = inputs_for(name, dtype="bfloat16")
    jaxpr = jax.make_jaxpr(partial(outputs_of, name, reverse=False))(inputs)
    found = set()
    for equation in equations_of(jaxpr.jaxpr):
        if equation.primitive.name in ("tanh", "logistic", "rsqrt", "dot_general"):
            found.add(equation.primitive.name)
            assert {var.aval.dtype.name for var in equation.outvars} == {"float32"}
    assert "dot_general" in found


# --- transformations ----------------------------------------------------------------------------


@over_time
@pytest.mark.parametrize(
    ("mapped", "reverse"),
    [slow({"xs"}, True), ({"params"}, False), (set(Inputs._fields), True)],
    ids=["data", "params", "everything"],
)
def test_vmap_equals_a_loop(x64, name, mapped, reverse):
    models = [
        inputs_for(name, Case(f"model {i}", lengths=(5, i, 7), resets=True, mask=True))
        for i in range(2)
    ]
    models, arguments, axes = share_unless_mapped(models, mapped)
    got = jax.vmap(lambda one: outputs_and_gradients(name, one, reverse), in_axes=(axes,))(
        arguments
    )
    loop = [outputs_and_gradients(name, model, reverse) for model in models]
    assert_close(got, jax.tree.map(lambda *leaves: np.stack(leaves), *loop), "float64")


@over_time
def test_gradients_of_first_and_second_order_equal_finite_differences(x64, name):
    case = Case("differences", steps=4, batch=(2,), lengths=(4, 2), resets=True, hidden_size=2)
    inputs = inputs_for(name, case)

    @jax.jit
    def loss(params, xs, h0):
        masks = {"lengths": inputs.lengths, **resets_to(h0, inputs.resets)}
        last, states = BASELINES[name].run(params, xs, h0, **masks, reverse=True)
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), states, inputs.hs_bar)
        sines = jax.tree.map(lambda leaf: jnp.sum(jnp.sin(leaf)), last)
        return sum(jax.tree.leaves((products, sines)))

    primals = inputs.params, inputs.xs, inputs.h0
    check_grads(loss, primals, order=2, modes=["rev"], eps=1e-5)
    check_grads(loss, primals, order=1, modes=["fwd"], eps=1e-5)


@pytest.mark.parametrize(
    ("steps", "reverse"), [slow(2, False), (3, True), slow(8, True), (33, False)]
)
def test_min_gru_in_parallel_equals_min_gru_step_by_step(x64, steps, reverse):
    """With powers of two and with other numbers of steps."""
    draw = Draw(f"steps {steps}")
    lengths, resets = draw.rng.integers(0, steps + 1, 4), draw.bools(steps, 4, rate=0.1)
    inputs = inputs_for("min_gru", Case("tree", steps=steps, batch=(4,)))
    inputs = inputs._replace(lengths=lengths, resets=resets)
    got = outputs_and_gradients("min_gru in parallel", inputs, reverse)
    assert_close(got, outputs_and_gradients("min_gru", inputs, reverse), "float64")
