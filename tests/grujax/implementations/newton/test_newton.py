"""Newton's method: convergence, certificate, fallback, report, and its parts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grujax
from grujax import implementations
from grujax.implementations import newton
from grujax.implementations.gates import project_steps
from grujax.implementations.newton import rules
from grujax.implementations.newton.linear_recurrence import make_carry_fn, solve_recurrence
from grujax.implementations.newton.steps import (
    dense_jacobians,
    diagonal_jacobians,
    take_steps,
)
from grujax.implementations.types import RecurrenceArgs, StepMasks
from tests.helpers import (
    Case,
    Draw,
    assert_close,
    assert_equal,
    inputs_of,
    outputs_and_gradients,
    resets_to,
)

both_forms = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])
TOLERANCE = 8 * float(jnp.finfo("float32").eps)  # for fewer than 64 units


def network(hidden_size, radius=None, dtype="float32", reset_after=True, seed=""):
    """Random weights; with `radius` each gate's recurrent matrix has this spectral radius."""
    draw = Draw(f"newton {hidden_size} {seed}", "float64")
    if radius is None:
        params = grujax.init_gru(jax.random.key(len(seed)), 8, hidden_size, reset_after=reset_after)
    else:
        params = draw.params(8, hidden_size, reset_after)
        largest = [np.abs(np.linalg.eigvals(w)).max() for w in params.w_h]
        scaled = np.stack([radius * w / top for w, top in zip(params.w_h, largest, strict=True)])
        zeros = np.zeros_like(params.b_x)
        params = grujax.GRUParams(params.w_x, scaled, zeros, zeros[0], reset_after)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)


def noise(steps, rows=1, scale=1.0, dtype="float32"):
    return jnp.asarray(
        scale * Draw("noise", "float64").normal(rows, steps, 8).swapaxes(0, 1), dtype
    )


run = jax.jit(grujax.gru, static_argnames=("implementation", "reverse"))
report_of = jax.jit(grujax.newton_report, static_argnames=("method", "max_iterations", "reverse"))


# --- convergence --------------------------------------------------------------------------------

# One shape for each method, and networks that are data: most of the time here is compiling.
SIZES = pytest.mark.parametrize(("method", "size"), [("dense", 4), ("diagonal", 32)])
STEPS = 600


@SIZES
def test_few_iterations_reach_the_states_of_the_scan(method, size):
    assert newton.choose_method(size) == method
    xs = noise(STEPS, 2)
    most = {"dense": {None: 7, 1.0: 7, 2.0: 15}, "diagonal": {None: 22, 1.0: 22, 2.0: 70}}
    for radius, number in most[method].items():
        params = network(size, radius)
        report = report_of(params, xs)
        assert np.all(report.converged)
        assert not report.fell_back
        assert 3 <= report.iterations <= number
        assert np.all(report.residual <= TOLERANCE)
        got = run(params, xs, implementation="newton")
        assert_close(got, run(params, xs, implementation="scan"), "float32")


def test_iterations_do_not_grow_with_time():
    params = network(32)
    few, many = (report_of(params, noise(steps, 2)).iterations for steps in (STEPS, 6000))
    assert many <= few + 4


def test_damping_saves_iterations_for_a_sensitive_network():
    report = report_of(network(8, 3.0, seed="b"), noise(400, scale=0.1), method="dense")
    assert not report.fell_back
    assert report.iterations <= 15  # 26 without


def test_method_overrides_the_default():
    params, xs = network(4), noise(STEPS, 2)
    dense, diagonal = (report_of(params, xs, method=name) for name in ("dense", "diagonal"))
    assert dense.iterations < diagonal.iterations
    assert not dense.fell_back
    assert not diagonal.fell_back


@pytest.mark.parametrize(("size", "reset_after"), [(3, True), (6, False)])
def test_gradients_of_long_sequences_equal_plain(x64, size, reset_after):
    case = Case("long", steps=300, batch=(2,), lengths=(300, 150), hidden_size=size)
    inputs = inputs_of(case, reset_after)
    inputs = inputs._replace(resets=Draw("few").bools(300, 2, rate=0.02))
    got = outputs_and_gradients(inputs, False, "newton")
    assert_close(got, outputs_and_gradients(inputs, False, "plain"), "float64")


def test_vanishing_gradients_are_exact_relative_to_themselves(x64, fallbacks):
    """The loss depends on the last state alone, and its gradient vanishes on the way back."""
    params, xs = network(6, 1.0, "float64"), noise(150, dtype="float64")

    def gradient(implementation):
        def loss(xs):
            return jnp.sum(grujax.gru(params, xs, implementation=implementation)[0])

        return np.asarray(jax.jit(jax.grad(loss))(xs))[:, 0]

    got, want = gradient("newton"), gradient("plain")
    assert not fallbacks
    sizes = np.abs(want).max(-1)
    nothing = float(jnp.finfo("float64").eps) * sizes[-1]
    assert sizes[0] < nothing
    assert np.all(np.abs(got - want).max(-1) <= 1e-9 * np.maximum(sizes, nothing))


# All draws have one shape, so that each variant compiles once.
@settings(max_examples=12)
@given(
    radius=st.floats(0.1, 3),
    scale=st.floats(0, 3),
    lengths=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    resets=st.floats(0, 0.3),
    reverse=st.booleans(),
    seed=st.text("ab", max_size=3),
)
def test_any_network_equals_plain(radius, scale, lengths, resets, reverse, seed):
    with jax.enable_x64(True):
        inputs = inputs_of(Case("any", steps=40, batch=(2,), input_size=8), dtype="float64")
        inputs = inputs._replace(
            params=network(5, radius, "float64", seed=seed),
            xs=scale * inputs.xs,
            lengths=np.int32(lengths),
            resets=Draw(seed).bools(40, 2, rate=resets),
        )
        got = outputs_and_gradients(inputs, reverse, "newton")
        assert_close(got, outputs_and_gradients(inputs, reverse, "plain"), "float64", 1e-9)


# --- certificate and fallback -------------------------------------------------------------------


def test_converged_states_solve_the_equations_of_each_step():
    """By the equations of one step, in double precision."""
    params, xs = network(32), noise(STEPS, 2)
    _, hs = run(params, xs, implementation="newton")
    before = np.concatenate([np.zeros_like(hs[:1]), hs[:-1]])
    with jax.enable_x64(True):
        step = jax.tree.map(lambda leaf: np.float64(leaf), (params, before, xs))
        assert np.max(np.abs(grujax.gru_cell(*step) - hs)) < 1.5 * TOLERANCE


def test_too_few_iterations_do_not_converge():
    params, xs = network(32), noise(STEPS, 2)
    needed = int(report_of(params, xs).iterations)
    report = report_of(params, xs, max_iterations=needed - 1)
    assert report.fell_back
    assert report.iterations == needed - 1
    assert np.all(report.converged == (report.residual <= TOLERANCE))
    assert not np.all(report.converged)


def test_a_chaotic_network_falls_back_to_the_scan():
    params, xs = network(32, 6.0), noise(STEPS, 2, scale=0.1)
    report = report_of(params, xs)
    assert report.fell_back
    assert report.iterations == newton.MAX_ITERATIONS
    got = run(params, xs, implementation="newton")
    assert_equal(got, run(params, xs, implementation="scan"))
    _, plain = run(params, xs, implementation="plain")
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: np.float64(leaf), (params, xs))
        want = np.asarray(run(*exact, implementation="plain")[1])
    error, error_of_plain = (np.abs(np.asarray(hs) - want).max((1, 2)) for hs in (got[1], plain))
    # In float32 nobody knows the late states; the early ones both know as well.
    assert min(error[-100:].max(), error_of_plain[-100:].max()) > 0.1
    assert error[:10].max() < 3 * error_of_plain[:10].max() < 3e-5


def test_gradients_without_a_certificate_fall_back_to_the_scan(monkeypatch):
    monkeypatch.setattr(rules, "MAX_ITERATIONS", 2)
    inputs = inputs_of(Case("chaos", steps=40), dtype="float32")

    def gradients(implementation):
        def loss(params):
            return jnp.sum(grujax.gru(params, inputs.xs, implementation=implementation)[1] ** 2)

        return jax.jit(jax.grad(loss))(inputs.params)

    assert_close(gradients("newton"), gradients("scan"), "float32")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["xs", "h0", "params"])
def test_values_that_are_not_finite_give_the_result_of_the_scan(where, value):
    inputs = inputs_of(Case("broken", steps=20, batch=(2,)), dtype="float32")
    if where == "xs":
        inputs.xs[7, 0, 0] = value
    elif where == "h0":
        inputs.h0[0, 0] = value
    else:
        inputs.params.w_h[2, 0, 0] = value
    got = outputs_and_gradients(inputs, False, "newton")
    want = outputs_and_gradients(inputs, False, "scan")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), got, want)


def test_nan_does_not_converge():
    inputs = inputs_of(Case("broken", steps=20, batch=(2,)), dtype="float32")
    inputs.xs[7, 0, 0] = np.nan
    report = report_of(inputs.params, inputs.xs)
    assert report.fell_back
    assert report.iterations == 0  # given up at once
    assert np.isnan(report.residual[0])
    assert not report.converged[0]


@pytest.fixture
def fallbacks(monkeypatch):
    """A list that grows whenever a pass of the scan replaces Newton's method."""
    runs = []

    def count(run):
        def counted(*arguments):
            jax.debug.callback(lambda: runs.append(run.__name__))
            return run(*arguments)

        return counted

    for name in ("forward_pass", "tangent_pass", "backward_pass"):
        monkeypatch.setattr(rules.scan, name, count(getattr(rules.scan, name)))
    return runs


@pytest.mark.parametrize(("size", "reset_after", "reverse"), [(3, True, True), (6, False, False)])
def test_no_mask_makes_it_fall_back(size, reset_after, reverse, fallbacks):
    case = Case("masks", steps=60, batch=(3,), lengths=(60, 0, 40), hidden_size=size)
    inputs = inputs_of(case, reset_after, "float32")
    resets = Draw("few").bools(60, 3, rate=0.1)
    regularizers = {"zoneout": 0.2, "recurrent_dropout": 0.2, "key": jax.random.key(0)}

    def run_on(params, xs, h0, implementation):
        masks = {"lengths": inputs.lengths, **resets_to(h0, resets), "reverse": reverse}
        return grujax.gru(params, xs, h0, **masks, **regularizers, implementation=implementation)

    @partial(jax.jit, static_argnames="implementation")
    def gradients(params, xs, h0, implementation):
        run = partial(run_on, implementation=implementation)
        return jax.vjp(run, params, xs, h0)[1]((inputs.h_last_bar, inputs.hs_bar))

    got = gradients(*inputs[:3], implementation="newton")
    jax.effects_barrier()
    assert not fallbacks
    assert_close(got, gradients(*inputs[:3], implementation="plain"), "float32")


def test_vmap_runs_the_scan_only_if_some_row_needs_it(fallbacks):
    params, xs = network(6), noise(50, 3)

    @jax.jit
    def over_data(xs):
        return jax.vmap(
            lambda x: grujax.gru(params, x, implementation="newton"), in_axes=1, out_axes=(0, 1)
        )(xs)

    outputs = over_data(xs)
    jax.effects_barrier()
    assert not fallbacks
    assert_close(outputs, run(params, xs), "float32")
    broken = over_data(xs.at[3, 1, 0].set(np.nan))
    jax.effects_barrier()
    assert set(fallbacks) == {"forward_pass"}
    assert_close(
        jax.tree.map(lambda leaf: leaf[..., ::2, :], broken), run(params, xs[:, ::2]), "float32"
    )


def test_bfloat16_is_iterated_in_float32():
    inputs = inputs_of(Case("narrow", steps=300, batch=(2,)), dtype="bfloat16")
    hs = {
        name: np.float32(run(inputs.params, inputs.xs, implementation=name)[1])
        for name in ("newton", "plain")
    }
    wide = jax.tree.map(np.float32, (inputs.params, inputs.xs))
    exact = run(*wide, implementation="plain")[1]
    error, error_of_plain = (np.abs(hs[name] - exact).max() for name in ("newton", "plain"))
    assert error <= 2**-8  # one rounding of values below 1, at the end
    assert error < error_of_plain


# --- the report ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_the_report_has_a_residual_for_each_row(batch):
    inputs = inputs_of(Case("rows", batch=batch, hidden_size=6), dtype="float32")
    report = grujax.newton_report(inputs.params, inputs.xs, inputs.h0, zoneout=0.2, reverse=True)
    shapes = jax.tree.map(jnp.shape, report)
    assert shapes == grujax.NewtonReport((), batch, batch, ())
    assert not report.fell_back


def test_the_report_works_under_vmap_and_without_steps():
    params, xs = network(32), noise(STEPS, 3)
    mapped = jax.jit(jax.vmap(lambda x: grujax.newton_report(params, x), in_axes=1))(xs)
    assert np.max(mapped.iterations[:2]) == report_of(params, xs[:, :2]).iterations
    empty = grujax.newton_report(params, xs[:0])
    assert_equal(
        empty, grujax.NewtonReport(np.int32(0), np.zeros(3, "f"), np.ones(3, bool), np.False_)
    )


def test_bad_arguments_of_the_report_raise():
    params, xs = network(3), noise(5)
    with pytest.raises(ValueError, match='`method` must be None, "dense" or "diagonal", got'):
        grujax.newton_report(params, xs, method="full")
    for value in (0, 2.0, True):
        with pytest.raises(ValueError, match="`max_iterations` must be a positive integer, got"):
            grujax.newton_report(params, xs, max_iterations=value)
    with pytest.raises(ValueError, match=r"`xs` has shape \[5, 1, 7\] but `params` expect"):
        grujax.newton_report(params, xs[..., :7])
    T, B = jax.export.symbolic_shape("T,B")
    open_shape = jax.ShapeDtypeStruct((T, B, 8), jnp.float32)
    with pytest.raises(ValueError, match=r"needs to know time and batch, got \['T', 'B'\]"):
        jax.export.export(jax.jit(lambda xs: grujax.newton_report(params, xs)))(open_shape)


def test_newton_is_never_the_default():
    assert implementations.choose(None) is not implementations.choose("newton")


# --- the parts ----------------------------------------------------------------------------------


@both_forms
@pytest.mark.parametrize("special", [False, True], ids=["bare", "masks"])
def test_jacobians_equal_autodiff(x64, special, reset_after):
    inputs = inputs_of(Case("jacobians", steps=4, batch=(2,)), reset_after)
    draw = Draw("masks of jacobians")
    masks = StepMasks()
    if special:
        masks = StepMasks(
            valid=jnp.array([[True, True]] * 3 + [[True, False]]),
            kept=draw.bools(4, 2, 5),
            zoneout_rate=jnp.float64(0.3),
            recurrent_dropout_mask=jnp.asarray(draw.bools(2, 5) / 0.6),
        )
    before = jnp.asarray(draw.normal(4, 2, 5))
    params = jax.tree.map(jnp.asarray, inputs.params)
    h = before[0]
    projected = project_steps(RecurrenceArgs(params, inputs.xs, h, h, masks))

    def after(before):
        return take_steps(inputs.params, projected, masks, before)

    everything = jax.jacfwd(lambda before: after(before).after)(before)  # [T, B, H, T, B, H]
    want = np.einsum("tbitbj->tbij", everything)
    got = dense_jacobians(inputs.params, masks, after(before))
    assert_close(got, want, "float64")
    diagonals = diagonal_jacobians(inputs.params, masks, after(before))
    assert_close(diagonals, np.einsum("tbii->tbi", want), "float64")


@pytest.mark.parametrize("steps", [1, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_linear_recurrence_equals_a_loop(x64, reverse, steps):
    draw = Draw("linear")
    dense, terms = draw.normal(steps, 2, 3, 3), draw.normal(steps, 2, 3)
    diagonal = draw.normal(steps, 2, 3)
    solve = jax.jit(partial(solve_recurrence, reverse=reverse))
    for factors in (dense, diagonal):
        matrices = factors if factors is dense else diagonal[..., None] * np.eye(3)
        y, want = np.zeros((2, 3)), np.zeros_like(terms)
        for t in reversed(range(steps)) if reverse else range(steps):
            y = want[t] = np.einsum("bij,bj->bi", matrices[t], y) + terms[t]
        assert_close(solve(factors, terms), want, "float64")


@given(keep=st.lists(st.booleans(), min_size=24, max_size=24))
def test_kept_states_are_copied_bit_for_bit(keep):
    draw = Draw("copied", "float32")
    states, start = draw.normal(8, 1, 3), draw.normal(1, 3)
    keep = np.reshape(keep, (8, 1, 3))
    h, want = start, np.zeros_like(states)
    for t in range(8):
        h = want[t] = np.where(keep[t], h, states[t])
    assert_equal(make_carry_fn(keep, start)(states), want)
