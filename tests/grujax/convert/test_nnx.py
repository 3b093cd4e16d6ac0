"""Weights from and to Flax NNX; its modules are the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import grujax
import grujax.nnx
from grujax.convert import from_nnx, to_nnx
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 7, 4, 3, 5  # noqa: E741
LENGTHS = np.array([7, 4, 1, 6])
XS = Draw("xs", "float32").normal(T, B, I)


def randomize(module):
    """Draws random weights and biases."""
    draw = Draw("nnx", "float32")
    state = jax.tree.map(
        lambda leaf: draw.normal(*leaf.shape, scale=0.6), nnx.state(module, nnx.Param)
    )
    nnx.update(module, state)
    return module


def random_cell():
    return randomize(nnx.GRUCell(I, H, rngs=nnx.Rngs(0)))


def params_without_b_hn():
    params = Draw("params", "float32").params(I, H)
    return grujax.GRUParams(params.w_x, params.w_h, params.b_x, 0 * params.b_hn)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_agrees_with_rnn(lengths):
    rnn = nnx.RNN(random_cell(), time_major=True, return_carry=True)
    h_last, hs = rnn(XS, seq_lengths=lengths)
    exists = np.ones((T, B)) if lengths is None else np.arange(T)[:, None] < lengths
    got = grujax.gru(from_nnx(rnn), XS, lengths=lengths)
    assert_close(got, (h_last, hs * exists[..., None]), "float32")


def test_reads_cells_modules_states_and_dicts():
    cell = random_cell()
    rnn = nnx.RNN(cell)
    params = from_nnx(cell)
    for same in (rnn, nnx.state(cell), nnx.state(rnn), nnx.to_pure_dict(nnx.state(rnn))):
        assert_equal(from_nnx(same), params)


def test_to_nnx_runs_in_flax():
    params = params_without_b_hn()
    rnn = nnx.RNN(to_nnx(params), time_major=True, return_carry=True)
    assert_close(rnn(XS), grujax.gru(params, XS), "float32")


def test_a_round_trip_is_exact():
    params, cell = params_without_b_hn(), random_cell()
    assert_equal(from_nnx(to_nnx(params)), params)
    assert_equal(
        nnx.to_pure_dict(nnx.state(to_nnx(from_nnx(cell)), nnx.Param)),
        nnx.to_pure_dict(nnx.state(cell, nnx.Param)),
    )


def test_bfloat16_stays_bfloat16():
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), params_without_b_hn())
    assert_equal(from_nnx(to_nnx(params)), params)


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_cell_of_grujax_keeps_b_hn_and_its_form(reset_after):
    cell = randomize(grujax.nnx.GRUCell(I, H, reset_after=reset_after, rngs=nnx.Rngs(0)))
    assert_equal(from_nnx(cell), cell.gru_params())
    bare = grujax.nnx.GRUCell(I, H, recurrent_bias=False, rngs=nnx.Rngs(0))
    assert_equal(from_nnx(bare), bare.gru_params())


def test_errors_for_parameters_that_nnx_cannot_represent():
    draw = Draw("refused", "float32")
    with pytest.raises(
        ValueError, match=r"`b_hn` of shape \[5\] must be zero, .* largest entry is"
    ):
        to_nnx(draw.params(I, H))
    with pytest.raises(ValueError, match=r"flax\.nnx\.GRUCell .*`reset_after=True`"):
        to_nnx(draw.params(I, H, reset_after=False))


def test_errors_for_modules_that_are_not_a_gru():
    with pytest.raises(ValueError, match=r"`activation_fn` of the cell must be tanh.*'relu'"):
        from_nnx(nnx.GRUCell(I, H, activation_fn=nnx.relu, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"no `dense_h\.kernel`.* got Linear"):
        from_nnx(nnx.Linear(I, H, rngs=nnx.Rngs(0)))
    state = nnx.to_pure_dict(nnx.state(random_cell()))
    state["dense_i"]["bias"] = jnp.ones(H)
    with pytest.raises(ValueError, match=r"`dense_i\.bias` has shape \[5\], expected \[3H\]"):
        from_nnx(state)
    # An LSTM's arrays have the same names.
    with pytest.raises(
        ValueError, match=r"`dense_h\.kernel` has shape \[5, 20\], expected \[H, 3H\]"
    ):
        from_nnx(nnx.OptimizedLSTMCell(I, H, rngs=nnx.Rngs(0)))


def test_an_equivalent_activation_is_accepted():
    cell = nnx.GRUCell(I, H, gate_fn=lambda x: 1 / (1 + jnp.exp(-x)), rngs=nnx.Rngs(0))
    assert from_nnx(cell).input_size == I


def test_a_learned_initial_state_is_refused():
    module = grujax.nnx.GRU(4, 5, learned_h0=True, rngs=nnx.Rngs(0))
    for given in (module, nnx.state(module)):
        with pytest.raises(ValueError, match=r"`h0`, a learned initial state.*shape \[5\]"):
            from_nnx(given)
    assert from_nnx(module.cell).hidden_size == 5
