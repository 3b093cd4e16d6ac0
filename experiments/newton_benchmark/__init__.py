"""When all steps at once pay: Newton"s method beside the scan and the platform"s kernel."""

from experiments.newton_benchmark.compare import main

__all__ = ["main"]
