"""Forecasts of weather, stocks and any table, by GRUs that correct a linear forecast."""
