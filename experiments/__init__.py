"""Experiments: scripts that a person reads top to bottom, run as `python -m experiments.NAME`."""
