"""Summarization: a description of a package becomes one line, by GRUs that write and copy."""

from experiments.summarization.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
