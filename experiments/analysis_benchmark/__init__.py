"""How long the two costly analyses take, compiled, at the sizes that research uses."""

from experiments.analysis_benchmark.compare import main

__all__ = ["main"]
