"""Exports the trained sentiment classifier to one ONNX file that needs neither JAX nor Python."""

from experiments.export.export import Command, main

__all__ = ["Command", "main"]
