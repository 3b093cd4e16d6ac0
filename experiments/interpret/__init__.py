"""Why the sentiment model says so: a page that explains its answer to any sentence."""

from experiments.interpret.interpret import Command, main

__all__ = ["Command", "main"]
