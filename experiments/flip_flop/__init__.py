"""The 3-bit flip-flop, and the eight memories inside a GRU that has learned it."""

from experiments.common.doors import open_door

__getattr__ = open_door(__name__, {"data": ["BITS", "draw_sequences"]})
