"""Exercise recognition from a wrist sensor: a bidirectional GRU on 140 real recordings."""

from experiments.exercises.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
