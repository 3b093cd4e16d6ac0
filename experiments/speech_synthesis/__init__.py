"""Speech synthesis: a GRU that learns to say strings of digits from another synthesiser"s voice."""

from experiments.speech_synthesis.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
