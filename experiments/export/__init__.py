"""Exports the trained sentiment classifier to one ONNX file that needs neither JAX nor Python."""

from experiments.common.doors import open_door

__getattr__ = open_door(__name__, {"export": ["write_classifier"]})
