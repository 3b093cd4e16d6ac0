"""What the loop around a training step costs, on the classifier of `experiments.sentiment`."""

from experiments.training_benchmark.compare import Command, main

__all__ = ["Command", "main"]
