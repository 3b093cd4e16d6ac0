"""Text generation: GRU, LSTM and RNN as language models of characters."""

from experiments.text_generation.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
