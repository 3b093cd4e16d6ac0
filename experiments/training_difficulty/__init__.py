"""Why recurrent networks are hard to train over long times, and which trick helps, by how much."""

from experiments.training_difficulty.compare import Settings, main, make_train

__all__ = ["Settings", "main", "make_train"]
