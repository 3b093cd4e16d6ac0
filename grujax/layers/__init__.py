"""Layers of two directions and stacks of layers. Pure functions, time-major."""

from grujax.layers.bidirectional import bidirectional_gru
from grujax.layers.merging import Merge, output_size
from grujax.layers.stacked import Layer, run_stack, stacked_gru

__all__ = [
    "Layer",
    "Merge",
    "bidirectional_gru",
    "output_size",
    "run_stack",
    "stacked_gru",
]
