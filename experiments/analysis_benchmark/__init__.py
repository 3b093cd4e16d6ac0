"""Times the two slowest analyses, compiled, at sizes that are common in research."""

from experiments.analysis_benchmark.compare import main

__all__ = ["main"]
