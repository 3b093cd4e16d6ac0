"""Figures of a sweep.

`overview` has all of them in one, `parallel` the parallel coordinates, `marginals` the metric
against each hyperparameter, and `axes` what they share.
"""
