"""Forecasts of weather, stocks and any table, with intervals."""

from experiments.forecasting.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
