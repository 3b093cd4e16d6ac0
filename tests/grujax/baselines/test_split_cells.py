"""Cells whose products leave the loop, beside the same cells that `scan_cell` takes as a whole."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import grujax
from grujax import baselines
from grujax.implementations import split_cells
from tests.fixtures.baseline_cells import BASELINES
from tests.helpers import Draw, assert_close

CELLS = {
    "lstm": baselines.lstm_cell,
    "rnn": baselines.rnn_cell,
    "layer_norm_gru": baselines.layer_norm_gru_cell,
}
every_cell = pytest.mark.parametrize("name", list(CELLS))


def as_a_whole(cell):
    """The cell under another name: `scan_cell` does not know that it has two parts."""
    return lambda params, state, x: cell(params, state, x)


def draw(name: str, steps: int, rows: int = 2):
    case, numbers = BASELINES[name], Draw(name, "float64")
    params, xs = case.draw_params(numbers, 3, 4), numbers.normal(steps, rows, 3)
    state0 = case.make_state(lambda: numbers.normal(rows, 4))
    return params, jnp.asarray(xs), jax.tree.map(jnp.asarray, state0)


def loss(cell, params, xs, state0, reverse=False):
    steps, rows = xs.shape[:2]
    time = np.arange(steps)[:, None]
    last, states = grujax.scan_cell(
        cell,
        params,
        xs,
        state0,
        lengths=np.int32([steps, steps // 2][:rows]),
        mask=np.broadcast_to(time % 7 != 3, (steps, rows)),
        resets=np.broadcast_to(time % 11 == 5, (steps, rows)),
        reset_state=jax.tree.map(lambda leaf: 0.5 * leaf, state0),
        reverse=reverse,
    )
    leaves = [*jax.tree.leaves(last), *jax.tree.leaves(states)]
    return sum(jnp.sum(jnp.sin(leaf) * leaf) for leaf in leaves)


# In chunks of 16 steps: 16 of them; and 17, of which the first has 4.
@every_cell
@pytest.mark.parametrize(("steps", "reverse"), [(256, False), (260, True)])
def test_chunks_do_not_show(x64, name, steps, reverse):
    arguments = draw(name, steps)
    of_loss = [
        jax.jit(jax.value_and_grad(partial(loss, cell, reverse=reverse), (0, 1, 2)))(*arguments)
        for cell in (CELLS[name], as_a_whole(CELLS[name]))
    ]
    assert_close(*of_loss, "float64")


@every_cell
def test_forward_mode_and_second_derivatives(x64, name):
    arguments = draw(name, 6)

    @partial(jax.jit, static_argnums=0)
    def derivatives(cell, arguments):
        value = partial(loss, cell)
        tangents = jax.tree.map(jnp.cos, arguments)
        gradient = jax.grad(value, (0, 1, 2))
        return (
            jax.jvp(value, arguments, tangents),
            jax.jvp(lambda *arguments: gradient(*arguments), arguments, tangents)[1],
        )

    cell = CELLS[name]
    assert_close(derivatives(cell, arguments), derivatives(as_a_whole(cell), arguments), "float64")


@every_cell
def test_the_loop_has_one_product_a_step_forward_and_one_back(name):
    """The others are outside of the loops, over all steps."""
    params, xs, state0 = jax.tree.map(jnp.float32, draw(name, 6))
    jaxpr = jax.make_jaxpr(jax.grad(partial(loss, CELLS[name])))(params, xs, state0)
    products = [str(loop).count("dot_general") for loop in _loops(jaxpr.jaxpr)]
    assert [number for number in products if number] == [1, 1]


def _loops(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        else:
            for inner in jaxprs_in_params(equation.params):
                yield from _loops(inner)


@every_cell
def test_many_rows_other_dtypes_and_no_steps_run_as_a_whole(name):
    params, xs, state0 = jax.tree.map(jnp.float32, draw(name, 3, rows=split_cells.MOST_ROWS))
    cell = CELLS[name]
    assert split_cells.find(cell, params, xs, state0) is not None
    assert split_cells.find(as_a_whole(cell), params, xs, state0) is None
    assert split_cells.find(cell, params, xs[:0], state0) is None
    more = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), state0)
    assert split_cells.find(cell, params, jnp.concatenate([xs, xs], 1), more) is None
