"""SnAp, e-prop and UORO: where they are exact, what they drop, and what they are on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import baselines, online
from tests.grujax.online.cases import B, H, I, assert_equal, bptt, differs, problem_of
from tests.grujax.online.cases import online as run_online
from tests.helpers import Draw


def diagonal(problem):
    """The problem with recurrent matrices that are diagonal."""
    params = problem.params
    w_h = params.w_h * jnp.eye(H)
    return problem._replace(params=jax.tree.map(lambda a: w_h if a is params.w_h else a, params))


@pytest.mark.parametrize(
    "name",
    [
        "gru",
        pytest.param("gru_reset_before", marks=pytest.mark.slow),
        pytest.param("rnn", marks=pytest.mark.slow),
    ],
)
def test_snap_1_is_exact_for_diagonal_recurrent_matrices_only(x64, name):
    full = problem_of(name)
    problem = diagonal(full)
    assert_equal(run_online(problem, "snap"), bptt(problem))
    assert differs(run_online(full, "snap")[1], bptt(full)[1])


def chain(params, h, x):
    """Each unit reads the unit before it, so that a parameter reaches one unit more per step."""
    before = jnp.concatenate([jnp.zeros_like(h[..., :1]), h[..., :-1]], -1)
    return jnp.tanh(params["a"] * h + params["b"] * before + x @ params["w"])


def chain_problem():
    problem = problem_of("gru")
    draw = np.random.default_rng(0)
    shapes = {"a": (H,), "b": (H,), "w": (I, H)}
    params = {name: jnp.asarray(draw.normal(size=shape)) for name, shape in shapes.items()}
    return problem._replace(cell=chain, params=params)


@pytest.mark.parametrize(
    ("order", "slots"),
    [(2, 2), (9, 3), *(pytest.param(n, n, marks=pytest.mark.slow) for n in (1, 3))],
)
def test_the_pattern_of_a_chain_grows_by_a_unit_with_each_order(order, slots):
    problem = chain_problem()
    method = online.snap(chain, order)
    carry = method.init(problem.params, jnp.zeros((B, H)), x=problem.xs[0])
    assert carry.influence.shape == (B, slots, 2 * H + I * H)
    assert carry.pattern.entries.sum(0).max() == slots


def test_snap_is_exact_from_the_depth_of_the_pattern_on(x64):
    problem = chain_problem()
    want = bptt(problem)
    assert_equal(run_online(problem, online.snap(chain, H)), want)
    assert differs(run_online(problem, online.snap(chain, H - 1))[1], want[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru", "lstm", "layer_norm_gru", "two_layers", "leaky"])
def test_snap_of_a_large_order_is_exact(x64, name):
    problem = problem_of(name)
    assert_equal(run_online(problem, online.snap(problem.cell, 5)), bptt(problem))


@pytest.mark.parametrize(
    ("name", "order", "slots"),
    [
        ("lstm", 1, 2),
        *(
            pytest.param(*values, marks=pytest.mark.slow)
            for values in (("rnn", 1, 1), ("gru", 1, 1), ("gru", 2, H), ("layer_norm_gru", 1, H))
        ),
    ],
)
def test_slots_of_the_cells(name, order, slots):
    problem = problem_of(name, "float32")
    carry = online.snap(problem.cell, order).init(problem.params, problem.state0)
    assert carry.influence.shape[1] == slots


def gru_that_keeps(params, h, x):
    """The GRU, whose gates and candidate read a state without a gradient."""
    gates = grujax.gru_gates(params, jax.lax.stop_gradient(h), x)
    return gates.update * h + (1 - gates.update) * gates.candidate


def lstm_that_keeps(params, state, x):
    return baselines.lstm_cell(params, state._replace(h=jax.lax.stop_gradient(state.h)), x)


def leaky_that_keeps(params, state, x):
    mixed = jax.lax.stop_gradient(state["slow"]) @ params["w"] + x @ params["v"]
    fast = jnp.tanh(mixed + params["b"])
    return {"slow": 0.9 * state["slow"] + 0.1 * jnp.concatenate([fast, fast], -1), "fast": fast}


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("gru_reset_before", gru_that_keeps),
        ("leaky", leaky_that_keeps),
        pytest.param("gru", gru_that_keeps, marks=pytest.mark.slow),
        pytest.param("lstm", lstm_that_keeps, marks=pytest.mark.slow),
        pytest.param("min_gru", baselines.min_gru_cell, marks=pytest.mark.slow),
    ],
)
def test_eprop_is_bptt_without_the_paths_through_products(x64, name, cell):
    problem = problem_of(name)
    assert_equal(run_online(problem, "eprop")[1], bptt(problem, cell)[1])


def test_eprop_refuses_products_that_it_cannot_see():
    def looped(params, h, x):
        return jax.lax.fori_loop(0, 2, lambda _, h: jnp.tanh(h @ params + x), h)

    with pytest.raises(ValueError, match=r"product inside of `(while|scan)`"):
        online.eprop(looped).init(jnp.eye(H), jnp.zeros((B, H)), x=jnp.zeros((B, H)))


@pytest.mark.parametrize("name", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_the_mean_of_uoro_is_the_gradient(x64, name):
    problem = problem_of(name)
    keys = jax.random.split(jax.random.key(0), 4096)
    draws = jax.vmap(lambda key: run_online(problem, "uoro", key=key)[1])(keys)
    for got, want in zip(jax.tree.leaves(draws), jax.tree.leaves(bptt(problem)[1]), strict=True):
        error = np.std(got, axis=0) / np.sqrt(len(keys))
        assert (np.abs(np.mean(got, axis=0) - want) <= 4 * error + 1e-12).all()
        assert error.max() > 1e-4  # it does vary


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_are_refused(dtype):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), Draw("16").params(I, H))
    with pytest.raises(ValueError, match=f"`params` must be float32 or float64, got {dtype}"):
        online.gradient(grujax.gru_cell, params, jnp.ones((4, B, I)), jnp.sum)


def test_what_is_missing_is_named():
    params, h, x = jnp.eye(H), jnp.zeros((B, H)), jnp.zeros((B, H))

    def cell(params, h, x):
        return jnp.tanh(h @ params + x)

    with pytest.raises(ValueError, match="`x`, an example of the inputs, must be given"):
        online.snap(cell).init(params, h)
    with pytest.raises(ValueError, match="`x` must be floating, got int32"):
        online.snap(cell).init(params, h, x=x.astype(int))
    with pytest.raises(ValueError, match="`key` must be one JAX random key"):
        online.uoro(cell).init(params, h)
    with pytest.raises(ValueError, match="`h0` must be given"):
        online.gradient(cell, params, x[None], jnp.sum)
    method = online.rtrl(cell)
    with pytest.raises(ValueError, match="`x` holds an array of shape"):
        method.step(params, method.init(params, h), x[:1])
    with pytest.raises(ValueError, match="`cell` must return a state of the structure"):
        online.rtrl(lambda params, h, x: (h,)).step(params, method.init(params, h), x)
    with pytest.raises(ValueError, match="`d_state` must have the structure and the shapes"):
        method.gradient(method.init(params, h), h[:1])
