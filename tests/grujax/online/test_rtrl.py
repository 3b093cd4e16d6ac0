"""Real-time recurrent learning gives the gradient of backpropagation through time."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import baselines, online
from tests.fixtures.baseline_cells import draw_rnn
from tests.grujax.online.cases import CASES, H, I, assert_equal, bptt, problem_of
from tests.grujax.online.cases import online as run_online
from tests.helpers import Draw

PARAMS = Draw("params", "float32").params(I, H)
FAST = ("gru", "gru_reset_before", "leaky")


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_it_equals_bptt_with_lengths_resets_and_skipped_steps(x64, name):
    problem = problem_of(name)
    assert_equal(run_online(problem, "rtrl"), bptt(problem))


def any_cell(params, h, x):
    """The GRU, without its closed form."""
    return grujax.gru_cell(params, h, x)


@pytest.mark.parametrize(("reset_after", "batch"), [(True, ()), (False, (2, 2))])
def test_the_closed_form_of_the_gru_is_the_step_of_any_cell(x64, reset_after, batch):
    draw = Draw("closed form")
    params, x, h = draw.params(I, H, reset_after), draw.normal(*batch, I), draw.normal(*batch, H)
    influence = draw.normal(*batch, H, grujax.baselines.count_parameters(params))

    @partial(jax.jit, static_argnums=0)
    def step(cell, params, x, h, influence):
        method = online.rtrl(cell)
        carry = replace(method.init(params, h), influence=influence)
        carry, new_h = method.step(params, carry, x)
        return carry.influence, new_h, method.gradient(carry, jnp.cos(new_h))

    closed, general = (step(cell, params, x, h, influence) for cell in (grujax.gru_cell, any_cell))
    assert_equal(closed, general, tolerance=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_vmap_over_rows_and_over_models(x64, name):
    problem = problem_of(name)
    method = online.rtrl(problem.cell)

    def step_of_row(params, state, x):
        carry, new_state = method.step(params, method.init(params, state), x)
        return method.gradient(carry, new_state)

    x = problem.xs[0]
    rows = jax.vmap(step_of_row, (None, 0, 0))(problem.params, problem.state0, x)
    batch = step_of_row(problem.params, problem.state0, x)
    assert_equal(jax.tree.map(lambda leaf: leaf.sum(0), rows), batch)

    models = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), problem.params)
    of_models = jax.vmap(step_of_row, (0, None, None))(models, problem.state0, x)
    assert_equal(jax.tree.map(lambda leaf: leaf[0], of_models), batch)


def memory_of(run, *arguments):
    return jax.jit(run).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def test_the_memory_of_a_stream_does_not_grow_with_its_length():
    params = PARAMS
    method = online.rtrl(grujax.gru_cell)

    def learn(params, xs):
        def step(loop, x):
            carry, total = loop
            carry, h = method.step(params, carry, x)
            return (carry, jax.tree.map(jnp.add, total, method.gradient(carry, h))), None

        start = method.init(params, jnp.zeros((1, H))), jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(step, start, xs)[0][1]

    sizes = [
        memory_of(learn, params, jax.ShapeDtypeStruct((steps, 1, I), jnp.float32))
        for steps in (100, 100_000)
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.slow
@pytest.mark.parametrize("cell", [grujax.gru_cell, baselines.rnn_cell])
def test_of_a_sequence_only_states_and_their_gradients_grow(cell):
    params = PARAMS if cell is grujax.gru_cell else draw_rnn(Draw("rnn", "float32"), I, H)

    def run(params, xs):
        return online.gradient(cell, params, xs, lambda hs: (hs**2).sum())

    sizes = [
        memory_of(run, params, jax.ShapeDtypeStruct((steps, 1, I), jnp.float32))
        for steps in (100, 100_000)
    ]
    number = (100_000 - 100) * 4  # of bytes, for one number per step; XLA may keep one of its own
    assert sizes[1] - sizes[0] <= 2 * H * number + number


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (2, 3, 0)])
@pytest.mark.parametrize("method", ["rtrl", "snap", "eprop", "uoro"])
@pytest.mark.parametrize("cell", [grujax.gru_cell, lambda *step: grujax.gru_cell(*step)])
def test_no_steps_and_no_rows_have_no_gradient(cell, method, shape):
    key = {"key": jax.random.key(0)} if method == "uoro" else {}
    gradient = jax.jit(
        lambda params: online.gradient(
            cell, params, jnp.ones((*shape, I)), jnp.sum, method=method, **key
        )
    )(PARAMS)
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))


def test_a_reset_clears_the_influence_of_its_rows_alone():
    carry = online.rtrl(grujax.gru_cell).init(PARAMS, jnp.ones((2, H)))
    carry = replace(carry, influence=1 + carry.influence)
    after = online.reset(carry, jnp.array([True, False]), reset_state=0.5)
    np.testing.assert_array_equal(after.state[0], 0.5)
    np.testing.assert_array_equal(after.influence[0], 0)
    np.testing.assert_array_equal(after.state[1], carry.state[1])
    np.testing.assert_array_equal(after.influence[1], carry.influence[1])
