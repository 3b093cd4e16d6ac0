"""Weights from and to PyTorch, which is the reference where it is installed."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax.convert import from_torch, to_torch
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 9, 4, 3, 5  # noqa: E741
LENGTHS = np.array([9, 4, 1, 6])


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the oracle, on one Python version")


def random_layers(num_layers: int, bidirectional: bool, reset_after: bool = True) -> list:
    draw = Draw(f"layers {num_layers} {bidirectional}", "float32")
    sizes = [I] + [H * (1 + bidirectional)] * (num_layers - 1)
    if bidirectional:
        return [tuple(draw.params(size, H, reset_after) for _ in range(2)) for size in sizes]
    return [draw.params(size, H, reset_after) for size in sizes]


def random_state(num_layers: int = 1, bidirectional: bool = False, bias: bool = True) -> dict:
    """A random state dict, with both biases of every gate."""
    draw = Draw(f"state {num_layers} {bidirectional}", "float32")
    state = {}
    for layer in range(num_layers):
        width = I if layer == 0 else H * (1 + bidirectional)
        for end in (f"_l{layer}", f"_l{layer}_reverse")[: 1 + bidirectional]:
            state[f"weight_ih{end}"] = draw.normal(3 * H, width, scale=0.5)
            state[f"weight_hh{end}"] = draw.normal(3 * H, H, scale=0.5)
            if bias:
                state[f"bias_ih{end}"] = draw.normal(3 * H)
                state[f"bias_hh{end}"] = draw.normal(3 * H)
    return state


def module_of(torch, state: dict, num_layers: int, bidirectional: bool, **options):
    module = torch.nn.GRU(I, H, num_layers, bidirectional=bidirectional, **options)
    module.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return module


def run_torch(torch, module, xs, lengths=None):
    """`(h_last, hs)` in the structure of `stacked_gru`."""
    with torch.no_grad():
        if lengths is None:
            hs, last = module(torch.tensor(xs))
        else:
            packed = torch.nn.utils.rnn.pack_padded_sequence(
                torch.tensor(xs), torch.tensor(lengths), enforce_sorted=False
            )
            outputs, last = module(packed)
            hs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, total_length=T)
    states = list(last.numpy())
    if module.bidirectional:
        states = list(zip(states[::2], states[1::2], strict=True))
    return states, hs.numpy()


PICKED = [(1, False, False, False), (3, True, True, True)]


@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "bias", "is_packed"),
    [
        pytest.param(*case, marks=[] if case in PICKED else pytest.mark.slow)
        for case in product((1, 3), *[(False, True)] * 3)
    ],
)
def test_from_torch_agrees_with_torch(torch, num_layers, bidirectional, bias, is_packed):
    lengths = LENGTHS if is_packed else None
    state = random_state(num_layers, bidirectional, bias)
    module = module_of(torch, state, num_layers, bidirectional, bias=bias)
    xs = Draw("xs", "float32").normal(T, B, I)
    got = grujax.stacked_gru(from_torch(module.state_dict()), xs, lengths=lengths)
    assert_close(got, run_torch(torch, module, xs, lengths), "float32")


@pytest.mark.parametrize(
    ("num_layers", "bidirectional"),
    [
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(3, False, marks=pytest.mark.slow),
        (3, True),
    ],
)
def test_torch_runs_the_result_of_to_torch(torch, num_layers, bidirectional):
    layers = random_layers(num_layers, bidirectional)
    module = module_of(torch, to_torch(layers), num_layers, bidirectional)
    xs = Draw("xs", "float32").normal(T, B, I)
    assert_close(run_torch(torch, module, xs), grujax.stacked_gru(layers, xs), "float32")


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
def test_a_round_trip_is_exact(bidirectional):
    layers = random_layers(3, bidirectional)
    state = to_torch(layers)
    assert all(isinstance(tensor, np.ndarray) for tensor in state.values())
    assert_equal(from_torch(state), layers)
    again = to_torch(from_torch(state))
    assert list(again) == list(state)
    assert_equal(again, state)


def test_the_biases_are_added():
    state = random_state()
    again = to_torch(from_torch(state))
    total = state["bias_ih_l0"] + state["bias_hh_l0"]
    np.testing.assert_allclose(again["bias_ih_l0"] + again["bias_hh_l0"], total, atol=1e-6)
    assert not again["bias_hh_l0"][: 2 * H].any()
    np.testing.assert_array_equal(again["bias_hh_l0"][2 * H :], state["bias_hh_l0"][2 * H :])


@pytest.mark.parametrize("prefix", ["encoder.gru.", "encoder.gru"])
def test_a_gru_inside_a_model(prefix):
    state = random_state(2)
    model = {f"encoder.gru.{name}": value for name, value in state.items()}
    model["head.weight"] = np.ones((2, H), "float32")
    assert_equal(from_torch(model, prefix=prefix), from_torch(state))


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_an_error_lists_the_right_prefixes(prefix):
    model = {f"encoder.gru.{name}": value for name, value in random_state().items()}
    model |= {f"decoder.{name}": value for name, value in random_state().items()}
    with pytest.raises(ValueError, match=r"`encoder\.gru\.weight_ih_l0`.*'decoder\.', 'encoder\.g"):
        from_torch(model, prefix=prefix)


def test_nothing_under_the_prefix():
    with pytest.raises(ValueError, match=r"nothing under `prefix` 'gru\.'; GRUs are under .* ''\."):
        from_torch(random_state(), prefix="gru")
    with pytest.raises(ValueError, match=r"nothing under `prefix` ''; .* no GRU elsewhere"):
        from_torch({})


def test_bfloat16_tensors_stay_bfloat16(torch):
    state = {name: torch.tensor(value).bfloat16() for name, value in random_state().items()}
    (params,) = from_torch(state)
    assert params.w_x.dtype == jnp.bfloat16
    want = state["weight_ih_l0"].float().numpy().reshape(3, H, I).swapaxes(1, 2)
    np.testing.assert_array_equal(np.asarray(params.w_x, "float32"), want)


@pytest.mark.slow
def test_float64_stays_float64_if_enabled(x64):
    state = {name: value.astype("float64") for name, value in random_state(2, True).items()}
    layers = from_torch(state)
    assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {np.dtype("float64")}
    assert_equal(from_torch(to_torch(layers)), layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_hh_l0": np.ones((4 * H, H), "f")}, r"`weight_hh_l0` .*\[20, 5\].*\[3H, H\]"),
        ({"weight_ih_l0": np.ones((4 * H, I), "f")}, r"`weight_ih_l0` .*\[20, 3\].*\[3H, I\]"),
        ({"weight_ih_l1": np.ones((3 * H, 9), "f")}, r"`weight_ih_l1` .*\[15, 9\].* I = 10"),
        ({"bias_hh_l1_reverse": np.ones(H, "f")}, r"`bias_hh_l1_reverse` has shape \[5\].*\[3H\]"),
        ({"bias_ih_l0": np.ones(3 * H, int)}, r"`bias_ih_l0` must have a floating dtype"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        from_torch(random_state(2, True) | change)


@pytest.mark.parametrize("name", ["weight_ih_l0", "bias_hh_l1", "weight_hh_l1_reverse"])
def test_a_missing_tensor_is_named(name):
    state = random_state(2, True)
    del state[name]
    with pytest.raises(ValueError, match=f"misses `{name}`"):
        from_torch(state)


def test_errors_for_layers_that_torch_cannot_represent():
    draw = Draw("refused", "float32")
    with pytest.raises(ValueError, match=r"reset_after=False.*another function"):
        to_torch(random_layers(1, False, reset_after=False))
    with pytest.raises(ValueError, match=r"one hidden size for all layers, .*\[5, 4\]"):
        to_torch([draw.params(I, H), draw.params(H, 4)])
    with pytest.raises(ValueError, match=r"`layers\[1\]` has `w_x` .*\[3, 4, 5\].*size 5"):
        to_torch([draw.params(I, H), draw.params(4, H)])
    with pytest.raises(ValueError, match=r"as many directions .*\[1, 2\]"):
        to_torch([draw.params(I, H), (draw.params(H, H), draw.params(H, H))])
    with pytest.raises(ValueError, match="non-empty list of GRUParams"):
        to_torch(draw.params(I, H))


def test_errors_for_layers_that_do_not_form_a_stack():
    draw = Draw("refused", "float32")
    three = tuple(draw.params(I, H) for _ in range(3))
    with pytest.raises(ValueError, match=r"`layers\[0\]` must be .* pair .*got a tuple of 3"):
        to_torch([three])
    with pytest.raises(ValueError, match=r"directions of `layers\[0\]` have input sizes \[3, 4\]"):
        to_torch([(draw.params(3, H), draw.params(4, H))])


def test_converted_layers_train():
    layers = from_torch(random_state(2, True))
    xs = Draw("xs", "float32").normal(T, B, I)
    gradient = jax.grad(lambda layers: grujax.stacked_gru(layers, xs)[1].sum())(layers)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_one_layer(torch, bias):
    cell = torch.nn.GRUCell(I, H, bias=bias)
    x, h = Draw("x", "float32").normal(B, I), Draw("h", "float32").normal(B, H)
    want = cell(torch.tensor(x), torch.tensor(h)).detach().numpy()
    for given in (cell, cell.state_dict()):
        (params,) = from_torch(given)
        assert_close(grujax.gru_cell(params, h, x), want, "float32")


def test_takes_modules(torch):
    gru = torch.nn.GRU(I, H, 2, bidirectional=True, dropout=0.3)
    model = torch.nn.ModuleDict({"gru": gru, "cell": torch.nn.GRUCell(I, H)})
    assert_equal(from_torch(gru), from_torch(gru.state_dict()))
    assert_equal(from_torch(model, prefix="gru"), from_torch(gru.state_dict()))
    assert_equal(from_torch(model, prefix="cell."), from_torch(model["cell"].state_dict()))
    with pytest.raises(ValueError, match=r"GRUs are under `prefix` 'cell\.', 'gru\.'"):
        from_torch(model)

    class Other(torch.nn.GRU):
        def forward(self, xs, h=None):
            return super().forward(-xs, h)

    with pytest.raises(ValueError, match=r"class Other replaces its `forward`"):
        from_torch(Other(I, H))
    with pytest.raises(ValueError, match=r"must be a torch GRU, got LSTM"):
        from_torch(torch.nn.LSTM(I, H))


def test_names_of_a_cell_beside_those_of_layers_are_refused():
    state = random_state()
    cell = {name.removesuffix("_l0"): tensor for name, tensor in state.items()}
    assert_equal(from_torch(cell), from_torch(state))
    with pytest.raises(ValueError, match="which are not the layers or directions of one"):
        from_torch(state | cell)
