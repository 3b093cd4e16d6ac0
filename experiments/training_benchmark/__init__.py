"""Measures the overhead of the training loop, with the classifier of `experiments.sentiment`."""
