"""Why recurrent networks are hard to train over long times, and how much each trick helps."""

from experiments.training_difficulty.compare import Settings, main, make_train

__all__ = ["Settings", "main", "make_train"]
