"""The GRU on the CPU: grujax beside six libraries a Python user could pick instead."""

from experiments.benchmark.compare import Settings, main

__all__ = ["Settings", "main"]
