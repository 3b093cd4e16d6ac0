"""Explains a prediction of the sentiment model in an HTML page."""

from experiments.interpret.interpret import Command, main

__all__ = ["Command", "main"]
