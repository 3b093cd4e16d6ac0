"""Searches: Optuna asks for trials, and the programs of sweeps run them.

`search` has the function, `loop` asks, runs and tells, `space` makes grujax's distributions those
of Optuna, and `studies` keeps the trials in a study.
"""
