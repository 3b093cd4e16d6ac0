"""Speech synthesis: a GRU learns to speak strings of digits like a teacher, espeak-ng."""

from experiments.speech_synthesis.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
