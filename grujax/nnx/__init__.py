"""Flax NNX modules: thin, batch-major views of the functional GRU.

`GRUCell`, `GRU` and `BidirectionalGRU` keep the parameter trees of `flax.nnx.GRUCell`,
`nnx.RNN(nnx.GRUCell(...))` and `nnx.Bidirectional` of two of these, plus the candidate's recurrent
bias `b_hn`, which Flax's cell leaves out. `recurrent_bias=False` leaves it out here too, so that a
checkpoint saved by Flax restores strictly. The activations are fixed (sigmoid and tanh).

Every module has a method `gru_params()` that returns its parameters as the functional core takes
them.
"""

from grujax.nnx.cell import CellOptions, GRUCell
from grujax.nnx.layers import GRU, BidirectionalGRU, LayerOptions, Options, StackedGRU

__all__ = [
    "GRU",
    "BidirectionalGRU",
    "CellOptions",
    "GRUCell",
    "LayerOptions",
    "Options",
    "StackedGRU",
]
