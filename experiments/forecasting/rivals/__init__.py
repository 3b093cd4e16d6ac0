"""Forecasts without a network, with which the networks are compared."""
