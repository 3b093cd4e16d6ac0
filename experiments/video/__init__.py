"""Moving digits: a GRU names digit, direction and speed, and predicts the next video frames."""

from experiments.video.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
