import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from experiments.common.cells import CELLS, hidden_size_for
from grujax.baselines import count_parameters
from tests.helpers import Draw, assert_close, assert_equal

every_cell = pytest.mark.parametrize("name", CELLS)
T, B, I, H = 6, 3, 4, 5  # noqa: E741


def random_params(name: str):
    """As `init` shapes them, with random biases too."""
    draw = Draw(name, "float32")
    params = CELLS[name].init(jax.random.key(0), I, H)
    return jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.6), params)


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_running_a_cell_is_scan_cell_over_its_step(name, reverse):
    cell, draw = CELLS[name], Draw("data", "float32")
    params, xs = random_params(name), draw.normal(T, B, I)
    state0 = jax.tree.map(
        lambda leaf: draw.normal(*leaf.shape), cell.initial_state((B, H), "float32")
    )
    time = {"lengths": np.array([6, 0, 4]), "resets": draw.bools(T, B), "reverse": reverse}
    state_last, outputs = cell.run(params, xs, state0, **time)
    want_last, states = grujax.scan_cell(cell.step, params, xs, state0, **time, reset_state=0.0)
    assert outputs.shape == (T, B, H)
    assert_close((state_last, outputs), (want_last, cell.output(states)), "float32")


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_state_left_out_is_zero_in_the_dtype_of_the_run(name, dtype):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), random_params(name))
    xs = jnp.asarray(Draw("data", "float32").normal(T, I), dtype)
    run = CELLS[name].run
    got = run(params, xs)
    assert_equal(got, run(params, xs, CELLS[name].initial_state((H,), dtype)))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(got)} == {dtype}


@every_cell
@pytest.mark.parametrize("input_size", [1, 64])
@pytest.mark.parametrize("parameters", [1, 1337, 74_112])
def test_no_hidden_size_comes_closer(name, input_size, parameters):
    def distance(hidden_size: int) -> int:
        params = jax.eval_shape(
            lambda key: CELLS[name].init(key, input_size, hidden_size), jax.random.key(0)
        )
        return abs(count_parameters(params) - parameters)

    size = hidden_size_for(CELLS[name], input_size, parameters)
    neighbors = [other for other in (size - 1, size + 1) if other > 0]
    assert all(distance(size) <= distance(other) for other in neighbors)


@every_cell
def test_a_cells_own_count_gives_its_size_back(name):
    assert hidden_size_for(CELLS[name], I, count_parameters(random_params(name))) == H
