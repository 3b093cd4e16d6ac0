"""Population-based training compared with a random sweep, on the adding problem."""
