"""Moving digits: which digit, whither, how fast, and what comes next, by a convolution and a GRU."""

from experiments.video.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
