"""Weights from and to Flax NNX; its modules are the reference."""

from dataclasses import replace

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
    with pytest.raises(ValueError, match=r"`cell_or_state.activation_fn` must be tanh.*'relu'"):
        from_nnx(nnx.GRUCell(I, H, activation_fn=nnx.relu, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"not of a GRU: `kernel`, `bias`"):
        from_nnx(nnx.Linear(I, H, rngs=nnx.Rngs(0)))
    state = nnx.to_pure_dict(nnx.state(random_cell()))
    state["dense_i"]["bias"] = jnp.ones(H)
    with pytest.raises(ValueError, match=r"`dense_i\.bias` has shape \[5\], expected \[3H\]"):
        from_nnx(state)
    # An LSTM's arrays have the same names.
    with pytest.raises(ValueError, match=r"misses `dense_i\.bias` of a GRU"):
        from_nnx(nnx.OptimizedLSTMCell(I, H, rngs=nnx.Rngs(0)))


def test_an_equivalent_activation_is_accepted():
    cell = nnx.GRUCell(I, H, gate_fn=lambda x: 1 / (1 + jnp.exp(-x)), rngs=nnx.Rngs(0))
    assert from_nnx(cell).input_size == I


def test_a_learned_initial_state_is_refused():
    module = grujax.nnx.GRU(4, 5, learned_h0=True, rngs=nnx.Rngs(0))
    for given in (module, nnx.state(module)):
        with pytest.raises(ValueError, match=r"not of a GRU: `h0`.*a learned initial state"):
            from_nnx(given)
    assert from_nnx(module.cell).hidden_size == 5


def trees_with_a_recurrent_bias() -> dict:
    """Trees of cells with a recurrent bias `[3H]`, and what they mean."""
    tree, draw = nnx.to_pure_dict(nnx.state(random_cell(), nnx.Param)), Draw("bias", "float32")
    params, bias = from_nnx(tree), draw.normal(3, H)
    b_x = params.b_x.at[:2].add(bias[:2])
    both = {"kernel": tree["dense_h"]["kernel"], "bias": bias.reshape(3 * H)}
    return {
        "hn_bias": (tree | {"hn_bias": bias[2]}, replace(params, b_hn=bias[2])),
        "b_hn": (tree | {"b_hn": bias[2]}, replace(params, b_hn=bias[2])),
        "dense_h.bias": (tree | {"dense_h": both}, replace(params, b_x=b_x, b_hn=bias[2])),
    }


@pytest.mark.parametrize("name", ["hn_bias", "b_hn", "dense_h.bias"])
def test_a_recurrent_bias_is_kept(name):
    tree, want = trees_with_a_recurrent_bias()[name]
    assert_equal(from_nnx(tree), want)
    assert_equal(from_nnx({"cell": tree}), want)
    with pytest.raises(ValueError, match=rf"one of .*`{name}`.* got 2 of them"):
        from_nnx(
            tree | ({"b_hn": tree["hn_bias"]} if name == "hn_bias" else {"hn_bias": want.b_hn})
        )


def test_the_cell_of_grujax_loads_trees_with_hn_bias():
    tree, want = trees_with_a_recurrent_bias()["hn_bias"]
    cell = grujax.nnx.GRUCell(I, H, rngs=nnx.Rngs(0))
    nnx.update(cell, tree)
    assert_equal(cell.gru_params(), want)
    assert set(nnx.state(cell)) == {"dense_i", "dense_h", "b_hn"}
    nnx.update(cell, {"hn_bias": nnx.Param(jnp.ones(H))})
    assert_equal(cell.hn_bias[...], jnp.ones(H))
    bare = grujax.nnx.GRUCell(I, H, recurrent_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`hn_bias` is given, but .*`recurrent_bias=False`"):
        nnx.update(bare, tree)


class NewerCell(nnx.GRUCell):
    """The cell of a Flax that has a recurrent bias for the candidate."""

    def __init__(self, in_features, hidden_features, *, param_dtype=jnp.float32, **options):
        super().__init__(in_features, hidden_features, param_dtype=param_dtype, **options)
        self.hn_bias = nnx.Param(jnp.zeros(hidden_features, param_dtype))


class NewestCell(NewerCell):
    """The cell of a Flax that has a parameter of another name."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.scale = nnx.Param(jnp.ones(3))


def test_to_nnx_fills_the_cell_of_the_flax_that_is_installed(monkeypatch):
    params = Draw("params", "float32").params(I, H)
    monkeypatch.setattr(nnx, "GRUCell", NewerCell)
    cell = to_nnx(params)
    assert_equal(cell.hn_bias[...], params.b_hn)
    assert_equal(from_nnx(nnx.state(cell)), params)
    monkeypatch.setattr(nnx, "GRUCell", NewestCell)
    with pytest.raises(ValueError, match=r"has the parameters `scale` in this version of Flax"):
        to_nnx(params)


def test_both_directions_and_stacks():
    stack = grujax.nnx.StackedGRU(I, H, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    randomize(stack)
    for given in (stack, nnx.state(stack), nnx.to_pure_dict(nnx.state(stack))):
        assert_equal(from_nnx(given), stack.gru_params())
        assert_equal(from_nnx(given, prefix="layers.1"), stack.gru_params()[1])


def test_two_directions_that_share_a_cell():
    rnn = nnx.RNN(random_cell())
    module = nnx.Bidirectional(rnn, rnn, time_major=True)
    for given in (module, nnx.state(module)):
        got = grujax.bidirectional_gru(from_nnx(given), XS)[1]
        assert_close(got, module(XS), "float32")


def test_a_gru_inside_a_model():
    model = nnx.Dict(encoder=nnx.RNN(random_cell()), head=nnx.Linear(H, 2, rngs=nnx.Rngs(0)))
    for given in (model, nnx.state(model)):
        assert_equal(from_nnx(given, prefix="encoder"), from_nnx(model.encoder))
        for prefix in ("", "head", "decoder"):
            with pytest.raises(ValueError, match=r"GRUs are under `prefix` 'encoder\.'"):
                from_nnx(given, prefix=prefix)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda cell: nnx.RNN(cell, reverse=True), "reverse"),
        (lambda cell: nnx.Bidirectional(nnx.RNN(cell), nnx.RNN(cell), merge_fn=jnp.add), "merge"),
        (lambda _: grujax.nnx.BidirectionalGRU(I, H, merge="sum", rngs=nnx.Rngs(0)), "merge"),
        (lambda _: grujax.nnx.StackedGRU(I, H, 2, residual=True, rngs=nnx.Rngs(0)), "residual"),
        (lambda _: grujax.nnx.GRU(I, H, reverse=True, rngs=nnx.Rngs(0)), "reverse"),
    ],
)
def test_an_option_that_parameters_do_not_hold_is_refused(make, option):
    module = make(random_cell())
    with pytest.raises(ValueError, match=rf"the option `{option}`, which parameters do not hold"):
        from_nnx(module)
    assert from_nnx(nnx.state(module))


def test_another_step_is_refused():
    class Other(nnx.GRUCell):
        def __call__(self, carry, inputs):
            return super().__call__(-carry, inputs)

    with pytest.raises(ValueError, match="the class Other replaces its `__call__`"):
        from_nnx(nnx.RNN(Other(I, H, rngs=nnx.Rngs(0))))
