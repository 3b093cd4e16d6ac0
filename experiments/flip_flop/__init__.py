"""The 3-bit flip-flop, and the eight memories inside a GRU that has learned it."""

from experiments.flip_flop.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
