"""PyTorch on the CPU in its default mode: eager, with autograd."""

import numpy as np
from jax import Array

from experiments.benchmark.peers.problem import Problem, Program
from grujax import convert


def compile_program(problem: Problem, mode: str) -> Program:
    """`torch.nn.GRU`, eager, with autograd."""
    import torch

    def tensor(array: Array | np.ndarray) -> torch.Tensor:
        dtype = getattr(torch, array.dtype.name)
        return torch.from_numpy(np.array(array, np.float32)).to(dtype)

    def stack(states: list[list[Array]]) -> torch.Tensor:
        return torch.stack([tensor(state) for layer in states for state in layer])

    first = problem.layers[0][0]
    module = torch.nn.GRU(
        first.input_size,
        first.hidden_size,
        num_layers=len(problem.layers),
        bidirectional=len(problem.layers[0]) == 2,
        dtype=getattr(torch, first.w_h.dtype.name),
    )
    weights = convert.to_torch(problem.stack)
    module.load_state_dict({name: tensor(array) for name, array in weights.items()})
    xs, h0 = tensor(problem.xs).requires_grad_(), stack(problem.h0).requires_grad_()
    c, c_last = tensor(problem.c), stack(problem.c_last)
    lengths = None if problem.lengths is None else torch.from_numpy(np.array(problem.lengths))

    def forward():
        if lengths is None:
            hs, h_last = module(xs, h0)
            return h_last, hs
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False)
        packed_hs, h_last = module(packed, h0)
        return h_last, rnn.pad_packed_sequence(packed_hs, total_length=len(xs))[0]

    def training():
        h_last, hs = forward()
        loss = (hs * c).sum() + (h_last * c_last).sum()
        weights = list(module.parameters())
        *d_weights, d_xs, d_h0 = torch.autograd.grad(loss, [*weights, xs, h0])
        return loss, (d_weights, d_xs, d_h0)

    return Program(training if mode == "training" else torch.no_grad()(forward))
