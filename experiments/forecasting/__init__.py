"""Forecasts of weather, stocks and any table, by GRUs that correct a linear forecast."""

from experiments.forecasting.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
