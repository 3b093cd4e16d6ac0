"""The trained sentiment classifier as one ONNX file, which runs without JAX and without Python."""

from experiments.export.export import Command, main

__all__ = ["Command", "main"]
