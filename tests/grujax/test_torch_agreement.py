"""Agreement with PyTorch: outputs, final states, and the gradients of weights, inputs and h0."""

import jax
import numpy as np
import pytest

import grujax
from tests.helpers import Draw, assert_close

torch = pytest.importorskip("torch", reason="PyTorch is the oracle, on one Python version")

T, B, I, H = 9, 4, 3, 5  # noqa: E741
LENGTHS = np.array([9, 4, 1, 6])


def torch_gru(num_layers: int, bidirectional: bool):
    """A torch.nn.GRU with random weights and random biases."""
    module = torch.nn.GRU(I, H, num_layers, bidirectional=bidirectional)
    draw = Draw(f"torch {num_layers} {bidirectional}", "float32")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(draw.normal(*parameter.shape, scale=0.5)))
    return module


def params_from(module, read, suffix: str) -> grujax.GRUParams:
    """One direction of one layer; torch packs the gates r, z, n along rows, and has two biases."""
    w_ih, w_hh, b_ih, b_hh = (
        np.split(read(getattr(module, f"{name}_{suffix}")), 3)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return grujax.GRUParams(
        w_x=np.stack([w.T for w in w_ih]),
        w_h=np.stack([w.T for w in w_hh]),
        b_x=np.stack([b_ih[0] + b_hh[0], b_ih[1] + b_hh[1], b_ih[2]]),
        b_hn=b_hh[2],
    )


def value_of(parameter):
    return parameter.detach().numpy()


def layers_from(module, params=params_from, read=value_of):
    layers = []
    for layer in range(module.num_layers):
        forward = params(module, read, f"l{layer}")
        if module.bidirectional:
            layers.append((forward, params(module, read, f"l{layer}_reverse")))
        else:
            layers.append(forward)
    return layers


def gradients_from(module):
    """The gradients in the same layout: both of torch's biases have that of their sum."""

    def params(module, read, suffix):
        gradients = params_from(module, read, suffix)
        b_ih = np.stack(np.split(read(getattr(module, f"bias_ih_{suffix}")), 3))
        return grujax.GRUParams(gradients.w_x, gradients.w_h, b_ih, gradients.b_hn)

    return layers_from(module, params, lambda parameter: parameter.grad.numpy())


def states_from(stacked, bidirectional: bool):
    """torch's [layers · directions, B, H] in the structure of `stacked_gru`."""
    states = list(stacked)
    if not bidirectional:
        return states
    return list(zip(states[::2], states[1::2], strict=True))


def _slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "packed"),
    [
        (1, False, False),
        (3, True, True),
        _slow(1, False, True),
        _slow(1, True, False),
        _slow(1, True, True),
        _slow(3, False, False),
        _slow(3, False, True),
        _slow(3, True, False),
    ],
)
def test_agrees_with_torch(num_layers, bidirectional, packed):
    module = torch_gru(num_layers, bidirectional)
    draw = Draw("data", "float32")
    directions = 2 if bidirectional else 1
    xs, h0 = draw.normal(T, B, I), draw.normal(num_layers * directions, B, H)
    h_last_bar, hs_bar = draw.normal(*h0.shape), draw.normal(T, B, directions * H)

    torch_xs = torch.tensor(xs, requires_grad=True)
    torch_h0 = torch.tensor(h0, requires_grad=True)
    if packed:
        sequence = torch.nn.utils.rnn.pack_padded_sequence(
            torch_xs, torch.tensor(LENGTHS), enforce_sorted=False
        )
        outputs, torch_last = module(sequence, torch_h0)
        torch_hs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, total_length=T)
    else:
        torch_hs, torch_last = module(torch_xs, torch_h0)
    loss = (torch_hs * torch.tensor(hs_bar)).sum() + (torch_last * torch.tensor(h_last_bar)).sum()
    loss.backward()

    def run(layers, xs, h0):
        return grujax.stacked_gru(layers, xs, h0, lengths=LENGTHS if packed else None)

    arguments = layers_from(module), xs, states_from(h0, bidirectional)
    outputs, pull_back = jax.vjp(jax.jit(run), *arguments)
    gradients = pull_back((states_from(h_last_bar, bidirectional), hs_bar))
    want_outputs = states_from(value_of(torch_last), bidirectional), value_of(torch_hs)
    assert_close(outputs, want_outputs, "float32")
    want_gradients = (
        gradients_from(module),
        torch_xs.grad.numpy(),
        states_from(torch_h0.grad.numpy(), bidirectional),
    )
    assert_close(gradients, want_gradients, "float32")


def test_a_reversed_gru_is_the_second_direction_of_torch():
    module = torch_gru(1, bidirectional=True)
    xs = Draw("reverse", "float32").normal(T, B, I)
    torch_hs, torch_last = module(torch.tensor(xs))
    (_, backward), *_ = layers_from(module)
    want = value_of(torch_last)[1], value_of(torch_hs)[..., H:]
    assert_close(grujax.gru(backward, xs, reverse=True), want, "float32")
