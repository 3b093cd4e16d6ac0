"""Flax NNX modules: thin, batch-major views of the functional GRU.

`GRUCell`, `GRU` and `BidirectionalGRU` have the same parameter trees as `flax.nnx.GRUCell`,
`nnx.RNN(nnx.GRUCell(...))` and an `nnx.Bidirectional` of two of these, plus the candidate's
recurrent bias `b_hn`, which Flax's cell does not have. With `recurrent_bias=False` it is absent
here too, and a checkpoint saved by Flax restores strictly. The activations are fixed (sigmoid and
tanh).

Every module has a method `gru_params()` that returns its parameters in the form that the functional
core takes.
"""

from grujax import serialization as _serialization  # noqa: F401 (registers the parameters)
from grujax.nnx.bidirectional import BidirectionalGRU
from grujax.nnx.cell import GRUCell
from grujax.nnx.layer import GRU
from grujax.nnx.options import CellOptions, LayerOptions, Options
from grujax.nnx.stacked import StackedGRU

__all__ = [
    "GRU",
    "BidirectionalGRU",
    "CellOptions",
    "GRUCell",
    "LayerOptions",
    "Options",
    "StackedGRU",
]
