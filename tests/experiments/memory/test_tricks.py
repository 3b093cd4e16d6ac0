"""Each trick changes the parameters that it names, and no others."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory.tricks import TRICKS, init_cell, is_applicable
from tests.helpers import assert_close, assert_equal

T, I, H = 24, 5, 6  # noqa: E741
every_cell = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
CARRY_GATE = 1  # its row, in both the GRU's and the LSTM's biases


@cache
def init(cell: str, trick: str, hidden_size: int = H):
    draw = partial(init_cell, cell, TRICKS[trick], I, hidden_size, T)
    return jax.jit(draw)(jax.random.key(1))


def biases(cell: str, params) -> np.ndarray:
    return np.asarray(params.b_x if cell == "gru" else params.b)


@every_cell
def test_plain_draws_normal_matrices_without_biases(cell):
    assert not biases(cell, init(cell, "plain")).any()
    large = init(cell, "plain", hidden_size=100)
    np.testing.assert_allclose(np.std(large.w_h), 0.1, rtol=0.05)  # at least 10,000 draws


@every_cell
def test_orthogonal_changes_only_the_recurrent_matrices(cell):
    params, plain = init(cell, "orthogonal"), init(cell, "plain")
    squares = jnp.swapaxes(params.w_h, -1, -2) @ params.w_h
    assert_close(squares, np.broadcast_to(np.eye(H), squares.shape), "float32")
    assert np.any(np.asarray(plain.w_h) != np.asarray(params.w_h))
    assert_equal(params.w_x, plain.w_x)
    assert_equal(biases(cell, params), biases(cell, plain))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_biases_of_the_carry_gate(cell):
    plain, one, chrono = (init(cell, name) for name in ("plain", "gate bias", "chrono"))
    want = np.zeros_like(biases(cell, plain))
    want[CARRY_GATE] = 1
    assert_equal(biases(cell, one), want)
    drawn = biases(cell, chrono)
    assert np.all((drawn[CARRY_GATE] >= 0) & (drawn[CARRY_GATE] <= np.log(T - 1)))
    assert len(np.unique(drawn[CARRY_GATE])) == H
    want = np.zeros_like(drawn)
    want[CARRY_GATE] = drawn[CARRY_GATE]
    if cell == "lstm":  # the input gate
        want[0] = -drawn[CARRY_GATE]
    assert_equal(drawn, want)
    assert_equal(one.w_h, plain.w_h)
    assert_equal(chrono.w_h, plain.w_h)


def test_an_rnn_has_no_carry_gate():
    assert [trick for trick in TRICKS if not is_applicable(trick, "rnn")] == ["chrono", "gate bias"]
    assert all(is_applicable(trick, cell) for trick in TRICKS for cell in ("lstm", "gru"))
