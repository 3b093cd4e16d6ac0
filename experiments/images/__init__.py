"""Images as sequences: handwritten digits read row by row, pixel by pixel, and in sweeps."""

from experiments.images.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
