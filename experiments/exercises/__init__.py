"""Which exercise the arm does, felt by a watch: a bidirectional GRU on real wrist recordings."""

from experiments.exercises.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
