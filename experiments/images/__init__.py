"""Images as sequences: digits classified by rows, by pixels, and by sweeps in four directions."""

from experiments.images.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
