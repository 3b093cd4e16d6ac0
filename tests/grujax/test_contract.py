"""The contract for time, for every implementation, in both directions and both reset forms."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import grujax
from tests.helpers import (
    BOTH,
    CASES,
    COMPILER,
    DTYPES_OF,
    IMPLEMENTATIONS,
    MASKED,
    TOLERANCE,
    Case,
    Draw,
    assert_close,
    assert_equal,
    best_dtype,
    equations_of,
    form_and_direction,
    inputs_of,
    one_form_and_direction,
    outputs_and_gradients,
    replace_unread,
    share_unless_mapped,
)
from tests.reference import Inputs, reference_gradients, reference_gru, reference_outputs

every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
# For what JAX itself does right with a plain scan.
every_own_gradient = pytest.mark.parametrize(
    "implementation", [name for name in IMPLEMENTATIONS if name != "plain"]
)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
both_forms = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])


@cache
def reference(case: Case, reset_after: bool, reverse: bool):
    """In float64, once for all implementations."""
    inputs = inputs_of(case, reset_after)
    return reference_outputs(inputs, reverse), reference_gradients(inputs, reverse)


# --- points 1, 3, 4 and 8: outputs and gradients ------------------------------------------------


@every_implementation
@form_and_direction
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_equal_the_textbook(x64, case, reset_after, reverse, implementation):
    dtype = best_dtype(implementation)
    got = outputs_and_gradients(inputs_of(case, reset_after, dtype), reverse, implementation)
    assert_close(got, reference(case, reset_after, reverse), dtype)


@every_own_gradient
@form_and_direction
def test_hundreds_of_steps_with_few_resets_agree_with_plain(
    x64, reset_after, reverse, implementation
):
    """However an implementation splits time, the result does not show it."""
    dtype = best_dtype(implementation)
    case = Case("hundreds", steps=257, batch=(4,), lengths=(257, 129, 40, 256))
    inputs = inputs_of(case, reset_after, dtype)
    inputs = inputs._replace(resets=Draw("rare").bools(257, 4, rate=0.05))
    got = outputs_and_gradients(inputs, reverse, implementation)
    assert_close(got, outputs_and_gradients(inputs, reverse, "plain"), dtype)


@every_implementation
@form_and_direction
def test_float32_agrees_to_1e_5(reset_after, reverse, implementation):
    inputs = inputs_of(BOTH, reset_after, "float32")
    outputs, gradients = outputs_and_gradients(inputs, reverse, implementation)
    with jax.enable_x64(True):
        want_outputs, want_gradients = reference(BOTH, reset_after, reverse)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((outputs, gradients)))
    assert_close(outputs, want_outputs, "float32")
    assert_close(gradients, want_gradients, "float32")


# All draws have one shape, so that each variant compiles once.
T, B = BOTH.steps, BOTH.batch[0]
any_lengths = st.tuples(*[st.integers(0, T)] * B)
any_resets = st.lists(st.booleans(), min_size=T * B, max_size=T * B)


@every_implementation
@given(lengths=any_lengths, resets=any_resets, reverse=st.booleans(), reset_after=st.booleans())
def test_any_lengths_and_resets_give_the_reference(
    implementation, lengths, resets, reverse, reset_after
):
    with jax.enable_x64(True):
        dtype = best_dtype(implementation)
        inputs = inputs_of(BOTH, reset_after, dtype)._replace(
            lengths=np.int32(lengths), resets=np.reshape(resets, (T, B))
        )
        outputs, gradients = outputs_and_gradients(inputs, reverse, implementation)
        exact = inputs_of(BOTH, reset_after)._replace(lengths=inputs.lengths, resets=inputs.resets)
        assert_close(outputs, reference_outputs(exact, reverse), dtype)
        assert_close(gradients, reference_gradients(exact, reverse), dtype)


@settings(max_examples=10)  # each compiles
@given(
    steps=st.integers(0, 3),
    batch=st.lists(st.integers(0, 2), max_size=3),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    reverse=st.booleans(),
    seed=st.text("abc", max_size=3),
)
def test_any_shape_gives_the_reference(steps, batch, sizes, reverse, seed):
    draw = Draw(seed, "float32")
    params, xs = draw.params(*sizes), draw.normal(steps, *batch, sizes[0])
    lengths = draw.rng.integers(0, steps + 1, batch)
    resets = draw.bools(steps, *batch)
    got = grujax.gru(params, xs, lengths=lengths, resets=resets, reverse=reverse)
    assert_close(got, reference_gru(params, xs, None, lengths, resets, reverse), "float32")


@form_and_direction
def test_segments_run_separately_give_the_same_outputs_and_gradients(x64, reset_after, reverse):
    """The strongest statement of what `lengths` and `resets` mean, by `gru` without them."""
    inputs = inputs_of(BOTH, reset_after)

    def run_segments(params, xs, h0):
        last, rows = [], []
        for b, length in enumerate(inputs.lengths):
            starts = [t for t in range(length) if t == 0 or inputs.resets[t, b]]
            runs = [
                grujax.gru(params, xs[start:end, b], h0[b], reverse=reverse)
                for start, end in zip(starts, [*starts[1:], length], strict=False)
            ]
            padding = jnp.zeros((T - length, h0.shape[-1]), h0.dtype)
            rows.append(jnp.concatenate([hs for _, hs in runs] + [padding]))
            last.append(runs[0 if reverse else -1][0] if runs else h0[b])
        return jnp.stack(last), jnp.stack(rows, axis=1)

    @jax.jit
    def outputs_and_gradients_of_segments(inputs):
        outputs, pull_back = jax.vjp(run_segments, inputs.params, inputs.xs, inputs.h0)
        return outputs, pull_back((inputs.h_last_bar, inputs.hs_bar))

    want = outputs_and_gradients_of_segments(inputs)
    for implementation in IMPLEMENTATIONS:
        if implementation == "native" and COMPILER is None:
            continue
        dtype = best_dtype(implementation)
        got = outputs_and_gradients(inputs_of(BOTH, reset_after, dtype), reverse, implementation)
        assert_close(got, want, dtype)


def test_h_last_and_alignment_by_hand():
    """One unit that counts: h' = h + 1 while small, with an update gate of one half."""
    tiny = 1e-3
    params = grujax.GRUParams(
        w_x=jnp.array([0.0, 0.0, tiny]).reshape(3, 1, 1),
        w_h=jnp.zeros((3, 1, 1)),
        b_x=jnp.zeros((3, 1)),
        b_hn=jnp.zeros(1),
    )
    xs = jnp.array([1.0, 2.0, 4.0, 8.0, np.nan, np.nan])[:, None]
    resets = jnp.array([False, False, True, False, True, True])
    h0 = jnp.array([16 * tiny])
    options = {"h0": h0, "lengths": jnp.array(4), "resets": resets, "reset_state": h0}
    forward_last, forward = grujax.gru(params, xs, **options)
    reverse_last, backward = grujax.gru(params, xs, **options, reverse=True)
    # h' = h/2 + x/2, from 16 at each segment's start.
    want_forward, want_backward = [8.5, 5.25, 10, 9, 0, 0], [5.0, 9.0, 8.0, 12.0, 0, 0]
    np.testing.assert_allclose(forward[:, 0] / tiny, want_forward, rtol=1e-4)  # tanh(x) ≈ x
    np.testing.assert_allclose(backward[:, 0] / tiny, want_backward, rtol=1e-4)  # tanh(x) ≈ x
    np.testing.assert_array_equal(forward_last, forward[3])
    np.testing.assert_array_equal(reverse_last, backward[0])


@every_implementation
@both_directions
def test_without_steps_h_last_is_h0_bit_for_bit(reverse, implementation):
    h0 = Draw("h0", "float32").normal(3, 5)
    params = Draw("params", "float32").params(4, 5)
    run = {"reverse": reverse, "implementation": implementation}
    empty_last, empty = grujax.gru(params, np.zeros((0, 3, 4), "float32"), h0, **run)
    assert_equal(empty_last, h0)
    assert empty.shape == (0, 3, 5)
    xs = Draw("xs", "float32").normal(7, 3, 4)
    short_last, short = grujax.gru(params, xs, h0, lengths=np.zeros(3, int), **run)
    assert_equal(short_last, h0)
    assert_equal(short, np.zeros((7, 3, 5), "float32"))


# --- point 2: the padding -----------------------------------------------------------------------


@every_implementation
@form_and_direction
def test_the_padding_changes_nothing(x64, reset_after, reverse, implementation):
    clean = inputs_of(BOTH, reset_after, best_dtype(implementation))
    want = outputs_and_gradients(clean, reverse, implementation)
    exists = np.arange(T)[:, None] < clean.lengths
    for value in (np.nan, np.inf, -np.inf, 1e30):
        # Resets in the padding, and cotangents of its outputs, do nothing either.
        dirty = replace_unread(clean, value)._replace(
            resets=clean.resets | ~exists,
            hs_bar=np.where(exists[..., None], clean.hs_bar, value),
        )
        got = outputs_and_gradients(dirty, reverse, implementation)
        assert_equal(got, want)
        (_, hs), (_, xs_bar, _) = got
        assert not np.any(np.where(exists[..., None], 0, hs))
        assert not np.any(np.where(exists[..., None], 0, xs_bar))


@every_implementation
@both_directions
def test_resets_alone_in_the_padding_do_nothing(x64, reverse, implementation):
    inputs = inputs_of(BOTH, dtype=best_dtype(implementation))
    exists = np.arange(T)[:, None] < inputs.lengths
    in_the_padding = inputs._replace(resets=~exists)
    got = outputs_and_gradients(in_the_padding, reverse, implementation)
    nowhere = inputs._replace(resets=np.zeros_like(exists))
    assert_equal(got, outputs_and_gradients(nowhere, reverse, implementation))


@every_implementation
@both_directions
def test_a_nan_in_one_row_stays_in_that_row(reverse, implementation):
    inputs = inputs_of(BOTH, dtype="float32")
    xs = inputs.xs.copy()
    xs[0, 0] = np.nan
    broken = inputs._replace(xs=xs)
    (h_last, hs), (_, xs_bar, h0_bar) = outputs_and_gradients(broken, reverse, implementation)
    for array in (h_last[1:], hs[:, 1:], xs_bar[:, 1:], h0_bar[1:]):
        assert np.all(np.isfinite(array))


@every_implementation
@both_directions
def test_lengths_out_of_range_are_clipped_under_jit(x64, reverse, implementation):
    inputs = inputs_of(BOTH, dtype=best_dtype(implementation))
    outside = inputs._replace(lengths=np.int32([5, -3, T + 4]))
    got = outputs_and_gradients(outside, reverse, implementation)
    assert_equal(got, outputs_and_gradients(inputs, reverse, implementation))


# --- point 5: dtypes ----------------------------------------------------------------------------

DTYPES = [  # xs, params, result
    ("bfloat16", "bfloat16", "bfloat16"),
    ("float16", "float16", "float16"),
    ("float32", "bfloat16", "float32"),
    ("bfloat16", "float32", "float32"),
    ("float16", "bfloat16", "float32"),
]


@every_implementation
@pytest.mark.parametrize(("xs_dtype", "params_dtype", "dtype"), DTYPES)
def test_outputs_have_the_promoted_dtype_and_gradients_their_own(
    xs_dtype, params_dtype, dtype, implementation
):
    if dtype not in DTYPES_OF[implementation]:
        pytest.skip(f"has no {dtype}")
    draw = Draw("dtypes", "float32")
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, params_dtype), draw.params(4, 5))
    xs = jnp.asarray(draw.normal(3, 2, 4), xs_dtype)
    h0 = jnp.asarray(draw.normal(2, 5), "float32")  # has no say

    def run(params, xs, h0):
        return grujax.gru(params, xs, h0, lengths=jnp.array([3, 1]), implementation=implementation)

    def outputs_and_gradients_of(*primals):
        outputs, pull_back = jax.vjp(run, *primals)
        return outputs, pull_back(outputs)

    outputs, gradients = jax.eval_shape(outputs_and_gradients_of, params, xs, h0)
    assert {leaf.dtype.name for leaf in outputs} == {dtype}
    params_bar, xs_bar, h0_bar = gradients
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params_bar)} == {params_dtype}
    assert (xs_bar.dtype.name, h0_bar.dtype.name) == (xs_dtype, "float32")


@every_implementation
def test_float64_stays_float64(x64, implementation):
    if "float64" not in DTYPES_OF[implementation]:
        pytest.skip("has no float64")
    inputs = inputs_of(BOTH, dtype="float64")
    mixed = inputs._replace(params=jax.tree.map(jnp.float32, inputs.params))
    for got in (inputs, mixed):
        outputs = grujax.gru(got.params, got.xs, got.h0, implementation=implementation)
        assert {leaf.dtype.name for leaf in outputs} == {"float64"}


LONG_PADDING = Case("padding", steps=400, batch=(3,), lengths=(3, 0, 400), hidden_size=8)


@every_implementation
@form_and_direction
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_padding_carries_the_state_bit_for_bit(dtype, reset_after, reverse, implementation):
    inputs = inputs_of(LONG_PADDING, reset_after, dtype)

    @jax.jit
    def run(inputs):
        return grujax.gru(
            inputs.params,
            inputs.xs,
            inputs.h0,
            lengths=inputs.lengths,
            reverse=reverse,
            implementation=implementation,
        )

    h_last, hs = run(inputs)
    assert_equal(h_last[1], inputs.h0[1])
    # XLA may evaluate a step twice, for the carry and for `hs`, one unit in the last place apart.
    for row, length in ((0, 3), (2, 400)):
        state = np.asarray(hs[0 if reverse else length - 1, row])
        if dtype == "float32":
            np.testing.assert_array_max_ulp(h_last[row], state, maxulp=2)
        else:
            assert_equal(h_last[row], state)
    if reverse:  # 397 steps of padding before the first real one
        short = inputs._replace(xs=inputs.xs[:3], lengths=np.int32([3, 0, 3]))
        short_last, short_hs = run(short)
        want = short_last[0], short_hs[:, 0]
        # Two programs: a few units in the last place, and no drift.
        assert_close((h_last[0], hs[:3, 0]), want, dtype, tolerance=4 * jnp.finfo(dtype).eps)


@every_implementation
@form_and_direction
def test_bfloat16_is_close_to_float64_over_many_steps(reset_after, reverse, implementation):
    case = Case("bfloat16", steps=64, batch=(2,), lengths=(64, 33), resets=True)
    inputs = inputs_of(case, reset_after, "bfloat16")
    got_outputs, got_gradients = outputs_and_gradients(inputs, reverse, implementation)
    with jax.enable_x64(True):
        exact = jax.tree.map(
            lambda leaf: leaf.astype("float64") if leaf.dtype == jnp.bfloat16 else leaf, inputs
        )
        assert_close(got_outputs, reference_outputs(exact, reverse), "bfloat16")
        assert_close(got_gradients, reference_gradients(exact, reverse), "bfloat16")


@every_implementation
@both_forms
def test_gates_are_evaluated_and_matmuls_accumulated_in_float32(reset_after, implementation):
    inputs = inputs_of(BOTH, reset_after, "bfloat16")
    jaxpr = jax.make_jaxpr(
        lambda params, xs: grujax.gru(params, xs, implementation=implementation)
    )(inputs.params, inputs.xs)
    for equation in equations_of(jaxpr.jaxpr):
        if equation.primitive.name in ("tanh", "logistic", "dot_general"):
            assert {var.aval.dtype.name for var in equation.outvars} == {"float32"}


# --- point 6: transformations -------------------------------------------------------------------


@every_implementation
@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("mapped", "reset_after"),
    [
        ({"xs"}, True),
        ({"params"}, True),
        ({"params", "xs"}, False),
        ({"lengths", "resets", "mask"}, True),
        ({"h0"}, True),
        (set(Inputs._fields), True),
        (set(Inputs._fields), False),
    ],
    ids=["data", "params", "both before", "masks", "h0", "everything", "everything before"],
)
def test_vmap_equals_a_loop(x64, mapped, reset_after, reverse, implementation):
    dtype = best_dtype(implementation)
    models = [
        inputs_of(Case(f"model {i}", lengths=(5, i, 7), resets=True, mask=True), reset_after, dtype)
        for i in range(2)
    ]
    models, arguments, axes = share_unless_mapped(models, mapped)
    got = jax.vmap(
        lambda inputs: outputs_and_gradients(inputs, reverse, implementation), in_axes=(axes,)
    )(arguments)
    loop = [outputs_and_gradients(model, reverse, implementation) for model in models]
    assert_close(got, jax.tree.map(lambda *leaves: np.stack(leaves), *loop), dtype)


def models_and_loss(implementation: str, reset_after: bool, reverse: bool):
    """Three models' parameters, stacked, and a loss of the parameters and a scale of the data."""
    inputs = inputs_of(BOTH, reset_after, best_dtype(implementation))
    models = jax.tree.map(lambda leaf: np.stack([leaf, leaf / 2, -leaf]), inputs.params)

    def loss(params, scale):
        h_last, hs = grujax.gru(
            params,
            scale * inputs.xs,
            inputs.h0,
            lengths=inputs.lengths,
            resets=inputs.resets,
            reset_state=inputs.h0,
            reverse=reverse,
            implementation=implementation,
        )
        return jnp.vdot(h_last, inputs.h_last_bar) + jnp.vdot(hs**2, inputs.hs_bar)

    return models, loss


@every_own_gradient
@one_form_and_direction
def test_grad_of_vmap_over_models_equals_a_loop(x64, reset_after, reverse, implementation):
    models, loss = models_and_loss(implementation, reset_after, reverse)

    @jax.jit
    @jax.grad
    def got(models):
        return jnp.sum(jax.vmap(loss, in_axes=(0, None))(models, 1.0) ** 2)

    @jax.jit
    @jax.grad
    def want(models):
        each = (jax.tree.map(lambda leaf, i=i: leaf[i], models) for i in range(3))
        return sum(loss(model, 1.0) ** 2 for model in each)

    assert_close(got(models), want(models), best_dtype(implementation))


@every_own_gradient
@one_form_and_direction
def test_vmaps_nest_models_over_data(x64, reset_after, reverse, implementation):
    models, loss = models_and_loss(implementation, reset_after, reverse)
    scales = np.array([1.0, 0.5], best_dtype(implementation))
    gradient = jax.grad(loss)
    over_data = jax.vmap(gradient, in_axes=(None, 0))
    got = jax.jit(jax.vmap(over_data, in_axes=(0, None)))(models, scales)
    over_models = jax.vmap(gradient, in_axes=(0, None))
    turned = jax.jit(jax.vmap(over_models, in_axes=(None, 0)))(models, scales)
    dtype = best_dtype(implementation)
    assert_close(jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), turned), got, dtype)
    gradient = jax.jit(gradient)
    for i in range(3):
        for j, scale in enumerate(scales):
            want = gradient(jax.tree.map(lambda leaf, i=i: leaf[i], models), scale)
            assert_close(jax.tree.map(lambda leaf, at=(i, j): leaf[at], got), want, dtype)


@every_own_gradient
@one_form_and_direction
def test_second_derivatives_map_over_models(x64, reset_after, reverse, implementation):
    models, loss = models_and_loss(implementation, reset_after, reverse)
    curvature = jax.grad(jax.grad(loss, argnums=1), argnums=1)
    got = jax.jit(jax.vmap(curvature, in_axes=(0, None)))(models, 1.0)
    one = jax.jit(curvature)
    want = np.stack([one(jax.tree.map(lambda leaf, i=i: leaf[i], models), 1.0) for i in range(3)])
    assert_close(got, want, best_dtype(implementation))


@every_implementation
@one_form_and_direction
def test_first_and_second_derivatives_equal_finite_differences(
    x64, reset_after, reverse, implementation
):
    case = Case("differences", steps=4, batch=(2,), lengths=(4, 2), resets=True, hidden_size=2)
    if "float64" not in DTYPES_OF[implementation]:
        pytest.skip("finite differences need float64")
    inputs = inputs_of(case, reset_after)

    @jax.jit
    def loss(params, xs, h0):
        h_last, hs = grujax.gru(
            params,
            xs,
            h0,
            lengths=inputs.lengths,
            resets=inputs.resets,
            reset_state=h0,
            reverse=reverse,
            implementation=implementation,
        )
        return jnp.sum(jnp.sin(h_last)) + jnp.sum(hs * inputs.hs_bar)

    check_grads(loss, (inputs.params, inputs.xs, inputs.h0), order=2, modes=["rev"], eps=1e-5)


def gradient_of_gradient(inputs: Inputs, reverse: bool, implementation: str):
    """Of the squared gradient of a loss, with respect to (params, xs, h0)."""

    def loss(arguments):
        params, xs, h0 = arguments
        h_last, hs = grujax.gru(
            params,
            xs,
            h0,
            lengths=inputs.lengths,
            mask=inputs.mask,
            resets=inputs.resets,
            reset_state=h0,
            reverse=reverse,
            implementation=implementation,
        )
        return jnp.vdot(h_last, inputs.h_last_bar) + jnp.vdot(hs**2, inputs.hs_bar)

    def squared_gradient(arguments):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(loss)(arguments)))

    return jax.jit(jax.grad(squared_gradient))((inputs.params, inputs.xs, inputs.h0))


@every_own_gradient
@one_form_and_direction
def test_gradients_of_gradients_equal_plain(x64, reset_after, reverse, implementation):
    dtype = best_dtype(implementation)
    case = Case("twice", steps=37, batch=(2,), lengths=(37, 20), resets=True, mask=True)
    inputs = replace_unread(inputs_of(case, reset_after, dtype), np.nan)
    got = gradient_of_gradient(inputs, reverse, implementation)
    want = gradient_of_gradient(inputs, reverse, "plain")
    assert_close(got, want, dtype, tolerance=100 * TOLERANCE[dtype])  # second derivatives


@every_implementation
@form_and_direction
def test_forward_mode_and_reverse_mode_are_transposes(x64, reset_after, reverse, implementation):
    dtype = best_dtype(implementation)
    inputs = inputs_of(MASKED, reset_after, dtype)
    primals = (inputs.params, inputs.xs, inputs.h0)
    draw = Draw("tangents", dtype)
    tangents = jax.tree.map(lambda leaf: draw.normal(*leaf.shape), primals)

    def run(*arguments):
        return grujax.gru(
            *arguments,
            lengths=inputs.lengths,
            mask=inputs.mask,
            resets=inputs.resets,
            reset_state=arguments[2],
            reverse=reverse,
            implementation=implementation,
        )

    _, (h_last_dot, hs_dot) = jax.jvp(run, primals, tangents)
    _, gradients = outputs_and_gradients(inputs, reverse, implementation)
    push = np.vdot(h_last_dot, inputs.h_last_bar) + np.vdot(hs_dot, inputs.hs_bar)
    pull = sum(
        np.vdot(gradient, tangent)
        for gradient, tangent in zip(
            jax.tree.leaves(gradients), jax.tree.leaves(tangents), strict=True
        )
    )
    assert_close(push, pull, dtype, tolerance=10 * TOLERANCE[dtype])  # sums of many terms


@every_implementation
def test_works_without_jit_and_under_checkpoint(x64, implementation):
    dtype = best_dtype(implementation)
    inputs = inputs_of(BOTH, dtype=dtype)
    want_outputs, (want, _, _) = outputs_and_gradients(inputs, True, implementation)

    @jax.checkpoint
    def run(params):
        return grujax.gru(
            params,
            inputs.xs,
            inputs.h0,
            lengths=inputs.lengths,
            resets=inputs.resets,
            reset_state=inputs.h0,
            reverse=True,
            implementation=implementation,
        )

    outputs, pull_back = jax.vjp(run, inputs.params)
    assert_close(outputs, want_outputs, dtype)
    assert_close(pull_back((inputs.h_last_bar, inputs.hs_bar)), (want,), dtype)


@every_implementation
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_exports_for_every_platform(platform, implementation):
    inputs = inputs_of(BOTH, dtype="float32")

    def loss(params, xs, lengths):
        return jnp.sum(grujax.gru(params, xs, lengths=lengths, implementation=implementation)[1])

    program = jax.jit(jax.value_and_grad(loss))
    exported = jax.export.export(program, platforms=[platform])(
        *jax.tree.map(jnp.asarray, (inputs.params, inputs.xs, inputs.lengths))
    )
    assert exported.platforms == (platform,)


@every_implementation
@both_directions
def test_exports_with_symbolic_time_and_batch_sizes(reverse, implementation):
    inputs = inputs_of(BOTH, dtype="float32")

    @jax.jit
    def run(xs, lengths):
        return grujax.gru(
            inputs.params, xs, lengths=lengths, reverse=reverse, implementation=implementation
        )

    steps, batch = jax.export.symbolic_shape("steps, batch")
    arguments = (
        jax.ShapeDtypeStruct((steps, batch, inputs.xs.shape[-1]), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    exported = jax.export.export(run)(*arguments)
    got = exported.call(inputs.xs, inputs.lengths)
    assert_close(got, run(inputs.xs, inputs.lengths), "float32")
