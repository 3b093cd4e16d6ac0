"""Flax Linen modules: thin, batch-major views of the functional GRU.

`GRUCell`, `GRU` and `BidirectionalGRU` have the same parameter trees as `flax.linen.GRUCell`,
`nn.RNN(nn.GRUCell(...))` and an `nn.Bidirectional` of two of these, and draw the same values from
the same key. A checkpoint saved by Flax loads here and gives the same outputs. The activations are
fixed (sigmoid and tanh).

Every module has a method `gru_params(input_size)` that returns its parameters in the form that the
functional core takes:

    params = module.apply(variables, input_size, method="gru_params")
"""

from grujax import serialization as _serialization  # noqa: F401 (registers the parameters)
from grujax.linen.bidirectional import BidirectionalGRU
from grujax.linen.cell import GRUCell
from grujax.linen.layer import GRU
from grujax.linen.stacked import StackedGRU

__all__ = ["GRU", "BidirectionalGRU", "GRUCell", "StackedGRU"]
