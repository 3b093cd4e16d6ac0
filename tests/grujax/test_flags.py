"""The flags of JAX that people debug with: the same results under each, and no error of our own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import grujax
from grujax import analysis, attention, baselines
from tests.helpers import (
    BOTH,
    DTYPES_OF,
    IMPLEMENTATIONS,
    MASKED,
    TOLERANCE,
    Case,
    Draw,
    assert_close,
    inputs_of,
    pull_back_through,
)

FLAGS = {
    "disable_jit": jax.disable_jit,
    "rank_promotion": partial(jax.numpy_rank_promotion, "raise"),
    "dtype_promotion": partial(jax.numpy_dtype_promotion, "strict"),
    "debug_nans": partial(jax.debug_nans, True),
    "debug_infs": partial(jax.debug_infs, True),
    "check_tracer_leaks": jax.checking_leaks,
    "enable_checks": partial(jax.enable_checks, True),
    "enable_x64": partial(jax.enable_x64, True),
}
slow = pytest.mark.slow
every_flag = pytest.mark.parametrize("flag", FLAGS)
CHEAP = {
    ("rank_promotion", "scan", "float32"),
    ("dtype_promotion", "scan", "bfloat16"),
    ("dtype_promotion", "native", "bfloat16"),
    ("debug_infs", "scan", "float32"),
    ("disable_jit", "native", "float32"),
    ("enable_checks", "native", "float32"),
}
every_case = pytest.mark.parametrize(
    ("flag", "implementation", "dtype"),
    [
        pytest.param(*case, marks=() if case in CHEAP else slow)
        for name in (*IMPLEMENTATIONS, "newton")
        for dtype in DTYPES_OF[name]
        for flag in FLAGS
        if (case := (flag, name, dtype))[2] != "float64"
    ],
)

OPTIONS = {
    "bare": {},
    "zoneout": {"zoneout": 0.2},
    "masks": {"zoneout": 0.3, "recurrent_dropout": 0.4, "key": jax.random.key(0)},
    "segments": {"stop_gradient_every": 3},
}


def jitted_or_not(flag, run):
    """Eager for what looks at each operation, and compiled for all others: it takes no time."""
    return run if flag in ("disable_jit", "debug_infs", "debug_nans") else jax.jit(run)


@every_case
def test_outputs_and_gradients_are_those_without_the_flag(flag, implementation, dtype):
    check_gru(flag, implementation, dtype, True, {})


@slow
@every_flag
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, "newton"])
@pytest.mark.parametrize("options", OPTIONS)
def test_options_and_the_other_form_under_a_flag(flag, implementation, options):
    check_gru(flag, implementation, "float32", False, OPTIONS[options])


def check_gru(flag, implementation, dtype, reset_after, options):
    inputs = jax.tree.map(jnp.asarray, inputs_of(MASKED, reset_after, dtype))
    run = partial(grujax.gru, implementation=implementation, **options)

    def outputs_and_gradients(inputs):
        return pull_back_through(run, inputs, True)

    want = jax.jit(outputs_and_gradients)(inputs)
    with FLAGS[flag]():
        got = jitted_or_not(flag, outputs_and_gradients)(inputs)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(got)} == {dtype}
    assert_close(got, want, dtype)


# --- everything else that a user meets ----------------------------------------------------------

I, H, T, B = 3, 4, 5, 2  # noqa: E741


def layers(dtype):
    """Functions of no argument, each with a gradient inside, on arrays of this dtype."""
    draw = Draw("flags", dtype)
    key, lengths = jax.random.key(0), jnp.array([T, 2])
    xs, h0 = jnp.asarray(draw.normal(T, B, I)), jnp.asarray(draw.normal(B, H))
    resets = jnp.asarray(draw.bools(T, B))
    params = jax.tree.map(jnp.asarray, draw.params(I, H))
    upper = jax.tree.map(jnp.asarray, draw.params(2 * H, H))
    shared = {"lengths": lengths, "resets": resets}

    def gradient(run, *primals):
        def loss(*primals):
            return sum(leaf.astype("float32").sum() for leaf in jax.tree.leaves(run(*primals)))

        return jax.value_and_grad(loss, range(len(primals)))(*primals)

    def scan(cell, params, state):
        run = partial(grujax.scan_cell, cell, **shared, reset_state=state)
        return gradient(run, params, xs, state)

    def attend():
        attended = attention.init_additive_attention(key, H, I, 3, dtype=dtype)

        def run(attended, queries, keys):
            mask = jnp.arange(T)[:, None] < lengths[None]
            memory = attention.project_keys(attended, keys, mask=mask)
            return attention.additive_attention(attended, queries, memory, keys, mask=mask)

        return gradient(run, attended, jnp.stack([h0] * 3), xs)

    drawn = {"dtype": dtype}
    return {
        "cell": lambda: gradient(grujax.gru_cell, params, h0, xs[0]),
        "cell of one state": lambda: gradient(grujax.gru_cell, params, h0[0], xs[0]),
        "stack": lambda: gradient(
            lambda lower, upper: grujax.stacked_gru(
                [(lower, lower), upper], xs, dropout=0.5, key=key, **shared
            ),
            params,
            upper,
        ),
        "lstm": lambda: scan(
            baselines.lstm_cell,
            baselines.init_lstm(key, I, H, **drawn),
            baselines.LSTMState(h0, h0),
        ),
        "rnn": lambda: scan(baselines.rnn_cell, baselines.init_rnn(key, I, H, **drawn), h0),
        "layer_norm_gru": lambda: scan(
            baselines.layer_norm_gru_cell, baselines.init_layer_norm_gru(key, I, H, **drawn), h0
        ),
        "min_gru": lambda: gradient(
            partial(baselines.min_gru, **shared, reset_state=0.0),
            baselines.init_min_gru(key, I, H, **drawn),
            xs,
            h0,
        ),
        "attention": attend,
    }


NAMES = list(layers("float32"))


CHEAP_LAYERS = {("rank_promotion", "cell of one state"), ("dtype_promotion", "lstm")}


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        pytest.param(*case, marks=() if case in CHEAP_LAYERS else slow)
        for name in NAMES
        for flag in FLAGS
        if (case := (flag, name))
    ],
)
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=slow), "bfloat16"])
def test_layers_are_the_same_under_a_flag(flag, name, dtype):
    want = layers(dtype)[name]()
    with FLAGS[flag]():
        got = layers(dtype)[name]()
    assert_close(got, want, dtype, tolerance=3 * TOLERANCE[dtype])  # sums


@slow
@every_flag
@pytest.mark.parametrize("view", ["linen", "nnx"])
@pytest.mark.parametrize("module", ["GRU", "BidirectionalGRU", "StackedGRU"])
def test_flax_modules_run_under_a_flag(flag, view, module):
    xs = jnp.ones((B, T, I))
    sizes = {"num_layers": 2, "bidirectional": True} if module == "StackedGRU" else {}
    options = {"lengths": jnp.array([T, 0]), "resets": jnp.zeros((B, T), bool)}
    with FLAGS[flag]():
        if view == "linen":
            layer = getattr(grujax.linen, module)(H, learned_h0=True, **sizes)
            variables = layer.init(jax.random.key(0), xs)

            def loss(variables):
                return layer.apply(variables, xs, **options)[1].sum()

            gradient = jax.grad(loss)(variables)
        else:
            from flax import nnx

            layer = getattr(grujax.nnx, module)(I, H, learned_h0=True, rngs=nnx.Rngs(0), **sizes)
            gradient = nnx.grad(lambda layer: layer(xs, **options)[1].sum())(layer)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("implementation", [None, "plain", "scan"])
def test_no_steps_without_jit(implementation):
    params, h0 = grujax.init_gru(jax.random.key(0), I, H), jnp.ones((B, H))
    with jax.disable_jit():
        h_last, hs = grujax.gru(params, jnp.zeros((0, B, I)), h0, implementation=implementation)
    np.testing.assert_array_equal(h_last, h0)
    assert hs.shape == (0, B, H)


@slow
@every_flag
def test_analysis_runs_under_a_flag(flag):
    draw = Draw("analysis", "float32")
    params, xs = jax.tree.map(jnp.asarray, (draw.params(I, H), draw.normal(T, B, I)))
    lengths = jnp.array([T, 2])
    with FLAGS[flag]():
        results = {
            "gates": analysis.trace_gates(params, xs, lengths=lengths),
            "jacobian": analysis.step_jacobian(params, jnp.zeros((B, H)), xs[0]),
            "flow": analysis.gradient_flow(params, xs, lambda _, hs: hs.sum(), lengths=lengths),
            "exponents": analysis.lyapunov_exponents(params, xs, num_exponents=2),
            "attribution": analysis.integrated_gradients(
                lambda xs: grujax.gru(params, xs)[1].sum(), xs, steps=4
            ),
        }
    for name, result in results.items():
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result)), name


# --- checkify -----------------------------------------------------------------------------------

ERRORS = {
    "nan": checkify.nan_checks,
    "div": checkify.div_checks,
    "index": checkify.index_checks,
    "user": checkify.user_checks,
    "all": checkify.all_checks,
}


@pytest.mark.parametrize(
    ("implementation", "errors"),
    [
        pytest.param(name, errors, marks=() if (name, errors) == ("scan", "all") else slow)
        for name in (*IMPLEMENTATIONS, "newton")
        for errors in ERRORS
    ],
)
def test_checkify_finds_no_error_but_the_users(implementation, errors):
    """A NaN inside a custom derivative or a kernel is found by the first operation behind it."""
    inputs = jax.tree.map(jnp.asarray, inputs_of(BOTH, dtype="float32"))
    run = partial(grujax.gru, implementation=implementation)

    def outputs_and_gradients(inputs):
        return jax.tree.map(lambda leaf: 1.0 * leaf, pull_back_through(run, inputs, True))

    checked = jax.jit(checkify.checkify(outputs_and_gradients, errors=ERRORS[errors]))
    error, got = checked(inputs)
    assert error.get() is None
    assert_close(got, jax.jit(outputs_and_gradients)(inputs), "float32")
    if errors in ("nan", "all"):
        broken = inputs._replace(xs=inputs.xs.at[0, 0].set(jnp.nan))
        assert "nan" in checked(broken)[0].get()


# --- what each flag is for ----------------------------------------------------------------------


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_debug_nans_and_infs_still_find_the_users(implementation):
    inputs = inputs_of(Case("broken", steps=3, batch=(2,)), dtype="float32")
    xs = inputs.xs.copy()
    xs[1, 0] = np.nan
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        jax.block_until_ready(grujax.gru(inputs.params, xs, implementation=implementation))
    h0 = np.full((2, 5), np.inf, "float32")
    with jax.debug_infs(True), pytest.raises(FloatingPointError):
        jax.block_until_ready(
            grujax.gru(inputs.params, inputs.xs, h0, implementation=implementation)
        )
