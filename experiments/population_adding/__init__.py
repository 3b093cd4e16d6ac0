"""Population-based training beside a random sweep of the same length, on the adding problem."""

from experiments.population_adding.population import Settings, main

__all__ = ["Settings", "main"]
