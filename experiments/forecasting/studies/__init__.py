"""The built-in data sets, each as a forecasting problem with its rivals."""
