"""Explains a prediction of the sentiment model in an HTML page."""
