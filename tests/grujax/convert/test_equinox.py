"""Weights from and to Equinox; its cell is the reference."""

import jax
import jax.numpy as jnp
import pytest

import grujax
from grujax.convert import from_equinox, to_equinox
from tests.helpers import Draw, assert_close, assert_equal

equinox = pytest.importorskip("equinox")

T, B, I, H = 7, 4, 3, 5  # noqa: E741
KEY = jax.random.key(0)
XS, H0 = Draw("xs", "float32").normal(T, B, I), Draw("h0", "float32").normal(B, H)


def random_cell(use_bias: bool = True):
    cell = equinox.nn.GRUCell(I, H, use_bias=use_bias, key=jax.random.key(0))
    draw = Draw("equinox", "float32")
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(*leaf.shape, scale=0.6)), cell)


def run_equinox(cell):
    def step(h, x):
        h = jax.vmap(cell)(x, h)
        return h, h

    return jax.lax.scan(step, H0, XS)


@pytest.mark.parametrize("use_bias", [True, False])
def test_agrees_with_equinox(use_bias):
    cell = random_cell(use_bias)
    assert_close(grujax.gru(from_equinox(cell), XS, H0), run_equinox(cell), "float32")


def test_to_equinox_runs_in_equinox():
    params = Draw("params", "float32").params(I, H)
    assert_close(run_equinox(to_equinox(params)), grujax.gru(params, XS, H0), "float32")


def test_a_round_trip_is_exact():
    params, cell = Draw("params", "float32").params(I, H), random_cell()
    assert_equal(from_equinox(to_equinox(params)), params)
    assert_equal(to_equinox(from_equinox(cell)), cell)


def test_errors_name_the_tensor():
    cell = equinox.tree_at(lambda cell: cell.weight_ih, random_cell(), jnp.ones((12, I)))
    with pytest.raises(ValueError, match=r"`weight_ih` has shape \[12, 3\], expected \[3H, I\]"):
        from_equinox(cell)
    with pytest.raises(ValueError, match=r"must hold a GRU at `prefix` .*, got LSTMCell"):
        from_equinox(equinox.nn.LSTMCell(I, H, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"equinox\.nn\.GRUCell .*`reset_after=True`"):
        to_equinox(Draw("before", "float32").params(I, H, reset_after=False))


class Model(equinox.Module):
    cells: list
    head: equinox.nn.Linear


def test_a_cell_inside_a_model():
    model = Model([random_cell(), random_cell(False)], equinox.nn.Linear(3, 2, key=KEY))
    assert_equal(from_equinox(model, prefix="cells.0"), from_equinox(model.cells[0]))
    assert_equal(from_equinox(model, prefix="cells.1"), from_equinox(model.cells[1]))
    for prefix in ("", "head", "cells", "cells.2"):
        with pytest.raises(ValueError, match=r"GRUs are under `prefix` 'cells\.0', 'cells\.1'"):
            from_equinox(model, prefix=prefix)


def test_another_step_is_refused():
    class Other(equinox.nn.GRUCell):
        def __call__(self, input, hidden, *, key=None):
            return super().__call__(-input, hidden)

    with pytest.raises(ValueError, match="the class Other replaces its `__call__`"):
        from_equinox(Other(I, H, key=KEY))
