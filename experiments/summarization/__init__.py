"""Summarization: GRUs that write and copy turn a package description into one line."""

from experiments.summarization.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
