"""Population-based training compared with a random sweep, on the adding problem."""

from experiments.population_adding.population import Settings, main

__all__ = ["Settings", "main"]
