"""Text generation: GRU, LSTM and RNN read books character by character, and go on writing."""

from experiments.text_generation.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
