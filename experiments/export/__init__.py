"""Exports the trained sentiment classifier to one ONNX file that needs neither JAX nor Python."""
