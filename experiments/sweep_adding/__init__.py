"""How long can an RNN, an LSTM and a GRU remember? The adding problem, swept over T."""

from experiments.sweep_adding.sweep import Settings, main, make_train

__all__ = ["Settings", "main", "make_train"]
