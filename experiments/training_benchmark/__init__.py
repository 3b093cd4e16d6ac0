"""Measures the overhead of the training loop, with the classifier of `experiments.sentiment`."""

from experiments.training_benchmark.compare import Command, main

__all__ = ["Command", "main"]
