"""Translation: a bidirectional GRU encoder, a GRU decoder with additive attention, beam search."""

from experiments.translation.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
