"""The baselines: agreement with PyTorch and Flax, initialization, sizes, and bad input.

`test_contract.py` tests the contract for time.
"""

import dataclasses
from functools import partial
from inspect import signature

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

import grujax
from grujax import baselines
from tests.fixtures.baseline_cells import (
    draw_block_gru_cell,
    draw_layer_norm_gru,
    draw_lstm,
    draw_min_gru,
    draw_rnn,
    lstm_state,
)
from tests.helpers import Draw, assert_close, assert_equal, one_array

T, B, I, H = 9, 4, 3, 5  # noqa: E741
INITS = {
    "rnn": baselines.init_rnn,
    "lstm": baselines.init_lstm,
    "layer_norm_gru": baselines.init_layer_norm_gru,
    "min_gru": baselines.init_min_gru,
    "block_gru_cell": partial(baselines.init_block_gru_cell, blocks=1),
}
every_init = pytest.mark.parametrize("init", INITS.values(), ids=INITS.keys())


# --- other libraries ----------------------------------------------------------------------------


def outputs_and_gradients(run, arguments, cotangents):
    outputs, pull_back = jax.vjp(jax.jit(run), *arguments)
    return outputs, pull_back(cotangents)


def torch_module(kind: str):
    """A torch.nn.RNN or LSTM with random weights and random biases."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle, on one Python version")
    module = getattr(torch.nn, kind)(I, H)
    draw = Draw(kind, "float32")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(draw.normal(*parameter.shape, scale=0.5)))
    return torch, module


def params_from_torch(kind: type, module, read, biases=("bias_ih_l0", "bias_hh_l0")):
    """torch packs the gates along rows, and has two biases; only their sum matters."""
    gates = 1 if kind is baselines.RNNParams else 4
    w_x, w_h = (
        np.stack([w.T for w in np.split(read(getattr(module, name)), gates)])
        for name in ("weight_ih_l0", "weight_hh_l0")
    )
    b = sum(read(getattr(module, name)) for name in biases).reshape(gates, H)
    leaves = (w_x, w_h, b) if gates > 1 else (w_x[0], w_h[0], b[0])
    return kind(*leaves)


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_agrees_with_torch(kind):
    torch, module = torch_module(kind)
    params_type = {"RNN": baselines.RNNParams, "LSTM": baselines.LSTMParams}[kind]
    cell = {"RNN": baselines.rnn_cell, "LSTM": baselines.lstm_cell}[kind]
    make_state = lstm_state if kind == "LSTM" else one_array
    draw = Draw("data", "float32")
    xs, state0 = draw.normal(T, B, I), make_state(lambda: draw.normal(B, H))
    last_bar, outputs_bar = make_state(lambda: draw.normal(B, H)), draw.normal(T, B, H)

    torch_xs = torch.tensor(xs, requires_grad=True)
    torch_state0 = [torch.tensor(s[None], requires_grad=True) for s in jax.tree.leaves(state0)]
    arguments = tuple(torch_state0) if kind == "LSTM" else torch_state0[0]
    torch_outputs, torch_last = module(torch_xs, arguments)
    torch_last = torch_last if kind == "LSTM" else (torch_last,)
    products = [torch_outputs * torch.tensor(outputs_bar)]
    for last, bar in zip(torch_last, jax.tree.leaves(last_bar), strict=True):
        products.append(last[0] * torch.tensor(bar))
    sum(product.sum() for product in products).backward()

    def run(params, xs, state0):
        last, states = grujax.scan_cell(cell, params, xs, state0)
        return last, states.h if kind == "LSTM" else states

    def value(tensor):
        return tensor.detach().numpy()

    def grad(tensor):
        return tensor.grad.numpy()

    def state_of(values):
        values = iter(values)
        return make_state(lambda: next(values))

    params = params_from_torch(params_type, module, value)
    got = outputs_and_gradients(run, (params, xs, state0), (last_bar, outputs_bar))
    want = (
        (state_of(value(last)[0] for last in torch_last), value(torch_outputs)),
        (
            params_from_torch(params_type, module, grad, biases=("bias_ih_l0",)),
            grad(torch_xs),
            state_of(grad(state)[0] for state in torch_state0),
        ),
    )
    assert_close(got, want, "float32")


def lstm_for_flax(params: baselines.LSTMParams):
    """The parameters of flax.linen.LSTMCell, whose biases belong to the recurrent part."""
    inputs = {f"i{g}": {"kernel": params.w_x[i]} for i, g in enumerate("ifgo")}
    recurrent = {
        f"h{g}": {"kernel": params.w_h[i], "bias": params.b[i]} for i, g in enumerate("ifgo")
    }
    return {"params": {"cell": inputs | recurrent}}


def test_the_lstm_agrees_with_flax():
    draw = Draw("flax", "float32")
    params, xs = draw_lstm(draw, I, H), draw.normal(T, B, I)
    state0 = lstm_state(lambda: draw.normal(B, H))
    layer = nn.RNN(nn.LSTMCell(H), time_major=True, return_carry=True)

    def theirs(params, xs, state0):
        carry = (state0.c, state0.h)
        (c, h), outputs = layer.apply(lstm_for_flax(params), xs, initial_carry=carry)
        return baselines.LSTMState(h=h, c=c), outputs

    def ours(params, xs, state0):
        last, states = grujax.scan_cell(baselines.lstm_cell, params, xs, state0)
        return last, states.h

    cotangents = lstm_state(lambda: draw.normal(B, H)), draw.normal(T, B, H)
    got = outputs_and_gradients(ours, (params, xs, state0), cotangents)
    assert_close(got, outputs_and_gradients(theirs, (params, xs, state0), cotangents), "float32")


def test_the_layer_normalized_gru_agrees_with_dense_and_layer_norm_of_flax():
    draw = Draw("layer norm", "float32")
    params, h, x = draw_layer_norm_gru(draw, I, H), draw.normal(B, H), draw.normal(B, I)

    def joined(gates):  # [3, ..., H] -> [..., 3H]
        return jnp.concatenate(list(gates), axis=-1)

    def theirs(params, h, x):
        kernel = jnp.concatenate([joined(params.w_h), joined(params.w_x)])
        joint = nn.Dense(3 * H, use_bias=False).apply(
            {"params": {"kernel": kernel}}, jnp.concatenate([h, x], axis=-1)
        )
        norm = {"scale": joined(params.scale), "bias": joined(params.offset)}
        joint = nn.LayerNorm(epsilon=1e-3).apply({"params": norm}, joint)
        reset, update, candidate = jnp.split(joint, 3, axis=-1)
        reset, update = nn.sigmoid(reset), nn.sigmoid(update)
        return update * h + (1 - update) * jnp.tanh(reset * candidate)

    cotangent = draw.normal(B, H)
    got = outputs_and_gradients(baselines.layer_norm_gru_cell, (params, h, x), cotangent)
    assert_close(got, outputs_and_gradients(theirs, (params, h, x), cotangent), "float32")


# --- one step -----------------------------------------------------------------------------------

CELLS = {  # name: (cell, parameters, state)
    "rnn": (baselines.rnn_cell, draw_rnn, one_array),
    "lstm": (baselines.lstm_cell, draw_lstm, lstm_state),
    "layer_norm_gru": (baselines.layer_norm_gru_cell, draw_layer_norm_gru, one_array),
    "min_gru": (baselines.min_gru_cell, draw_min_gru, one_array),
    "block_gru_cell": (baselines.block_gru_cell, draw_block_gru_cell, one_array),
}
every_cell = pytest.mark.parametrize("name", CELLS)


@every_cell
def test_one_state_is_broadcast_over_a_batch_of_inputs(name):
    cell, draw_params, make_state = CELLS[name]
    draw = Draw("broadcast", "float32")
    params, state, x = (
        draw_params(draw, I, H),
        make_state(lambda: draw.normal(H)),
        draw.normal(B, I),
    )
    full = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (B, H)), state)
    assert_close(cell(params, state, x), cell(params, full, x), "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_update_gate_of_one_carries_the_state_bit_for_bit(dtype):
    draw = Draw("carry", "float32")
    infinite = np.float32([[0], [np.inf], [0]])
    layer_norm = draw_layer_norm_gru(draw, I, H)
    layer_norm = dataclasses.replace(layer_norm, offset=layer_norm.offset + infinite)
    minimal = draw_min_gru(draw, I, H)
    minimal = dataclasses.replace(minimal, b=minimal.b + infinite[1:])
    h, x = (jnp.asarray(draw.normal(B, size), dtype) for size in (H, I))
    for cell, params in (
        (baselines.layer_norm_gru_cell, layer_norm),
        (baselines.min_gru_cell, minimal),
    ):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
        assert_equal(cell(params, h, x), h)


# --- parameters ---------------------------------------------------------------------------------


@every_init
def test_parameters_are_a_frozen_pytree_of_the_given_sizes_and_dtype(init):
    params = init(jax.random.key(0), I, np.int64(H), dtype=jnp.bfloat16)
    assert (params.input_size, params.hidden_size) == (I, H)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.w_x = None


@pytest.mark.parametrize(
    ("init", "count"),
    [
        (grujax.init_gru, 3 * (I * H + H**2) + 4 * H),
        (baselines.init_rnn, I * H + H**2 + H),
        (baselines.init_lstm, 4 * (I * H + H**2 + H)),
        (baselines.init_layer_norm_gru, 3 * (I * H + H**2) + 6 * H),
        (baselines.init_min_gru, 2 * (I * H + H)),
    ],
)
def test_parameter_counts(init, count):
    assert baselines.count_parameters(init(jax.random.key(0), I, H)) == count


@pytest.mark.parametrize("name", ["rnn", "lstm", "layer_norm_gru"])
def test_the_recurrent_matrix_of_each_gate_is_orthogonal(name):
    w_h = np.asarray(INITS[name](jax.random.key(0), 4, 16).w_h)
    for gate in w_h.reshape(-1, 16, 16):
        np.testing.assert_allclose(gate @ gate.T, np.eye(16), atol=1e-5)


@every_init
def test_gates_and_matrices_draw_different_numbers(init):
    normal = initializers.normal()
    names = ("kernel_init", "recurrent_kernel_init", "bias_init", "forget_bias_init")
    known = signature(init).parameters
    params = init(jax.random.key(0), H, H, **{name: normal for name in names if name in known})
    w_h = getattr(params, "w_h", np.zeros((0, H, H)))
    matrices = [*params.w_x.reshape(-1, H, H), *w_h.reshape(-1, H, H)]
    assert len({np.asarray(array).tobytes() for array in matrices}) == len(matrices)
    if hasattr(params, "b"):
        vectors = list(params.b.reshape(-1, H))
        assert len({np.asarray(array).tobytes() for array in vectors}) == len(vectors)


def test_forget_and_update_gates_have_positive_biases_by_default():
    key = jax.random.key(0)
    assert_equal(
        baselines.init_lstm(key, I, H).b, np.float32([[0], [1], [0], [0]]) * np.ones(H, "float32")
    )
    assert_equal(
        baselines.init_layer_norm_gru(key, I, H).offset,
        np.float32([[0], [1], [0]]) * np.ones(H, "float32"),
    )


def test_bias_initializers_apply_to_the_gates_in_their_names():
    constant, key = initializers.constant, jax.random.key(0)
    lstm = baselines.init_lstm(key, I, H, bias_init=constant(2), forget_bias_init=constant(3))
    assert lstm.b[:, 0].tolist() == [2, 3, 2, 2]
    minimal = baselines.init_min_gru(key, I, H, bias_init=constant(2))
    assert minimal.b[:, 0].tolist() == [2, 2]
    minimal = baselines.init_min_gru(key, I, H, update_bias_init=constant(3))
    assert minimal.b[:, 0].tolist() == [3, 0]
    layer_norm = baselines.init_layer_norm_gru(key, I, H, update_bias_init=constant(3))
    assert layer_norm.offset[:, 0].tolist() == [0, 3, 0]


@every_init
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": 0}, r"`input_size` must be a positive integer, got 0"),
        ({"hidden_size": 2.0}, r"`hidden_size` must be a positive integer, got 2.0"),
        ({"dtype": jnp.int32}, r"`dtype` must be a floating dtype, got int32"),
    ],
)
def test_bad_sizes(init, arguments, message):
    with pytest.raises(ValueError, match=message):
        init(jax.random.key(0), **{"input_size": I, "hidden_size": H, **arguments})


# --- bad input ----------------------------------------------------------------------------------


def wrong_steps(params, state, x):
    """Invalid `(params, state, x)` and the error message of each."""
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), params)
    integers = jax.tree.map(lambda leaf: leaf.astype(int), params)
    wide = jax.tree.map(lambda leaf: np.ones((B, H + 1), "float32"), state)
    rows = jax.tree.map(lambda leaf: leaf[:2], state)
    return {
        "x of another input size": ((params, state, x[:, :2]), r"`x` has shape \[4, 2\].*size 3"),
        "x of integers": ((params, state, x.astype(int)), "`x` must have a floating dtype"),
        "a state of another size": ((params, wide, x), r"`h` has shape \[4, 6\].*hidden size 5"),
        "batches that do not fit": (
            (params, rows, x),
            r"equal batch axes, or none, got .*\[2, 5\]",
        ),
        "params of another kind": (
            ({}, state, x),
            rf"must be an instance of {type(params).__name__}, got a dict",
        ),
        "params of several models": ((stacked, state, x), r"must have the shapes w_x \[.*vmap"),
        "params of integers": ((integers, state, x), "`params` must have a floating dtype"),
    }


@every_cell
def test_bad_steps(name):
    cell, draw_params, make_state = CELLS[name]
    draw = Draw("bad", "float32")
    step = draw_params(draw, I, H), make_state(lambda: draw.normal(B, H)), draw.normal(B, I)
    for arguments, message in wrong_steps(*step).values():
        with pytest.raises(ValueError, match=message):
            cell(*arguments)


def test_an_lstm_requires_an_lstm_state():
    draw = Draw("state", "float32")
    params, h, x = draw_lstm(draw, I, H), draw.normal(B, H), draw.normal(B, I)
    for state, got in ((h, "an array"), ((h, h), "a tuple of 2")):
        with pytest.raises(
            ValueError, match=rf"`state` must be an instance of LSTMState, got {got}"
        ):
            baselines.lstm_cell(params, state, x)
    with pytest.raises(ValueError, match=r"`c` has shape \[4, 4\].*hidden size 5"):
        baselines.lstm_cell(params, baselines.LSTMState(h=h, c=h[:, :4]), x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"params": {}}, "`params` must be an instance of MinGRUParams, got a dict"),
        ({"xs": np.ones((T, B, 2), "float32")}, r"`xs` has shape \[9, 4, 2\].*input size 3"),
        ({"xs": np.ones(I, "float32")}, r"`xs` must have shape \[T, B, I\] or \[T, I\]"),
        ({"h0": np.ones((3, H), "float32")}, r"`h0` has shape \[3, 5\] and does not broadcast"),
        ({"lengths": np.full(B, T + 1)}, r"`lengths` must lie in \[0, T\]"),
        ({"resets": np.zeros((T, B))}, "`resets` must be bool"),
    ],
)
def test_bad_sequences(wrong, message):
    draw = Draw("bad", "float32")
    arguments = {"params": draw_min_gru(draw, I, H), "xs": draw.normal(T, B, I), **wrong}
    with pytest.raises(ValueError, match=message):
        baselines.min_gru(**arguments)
