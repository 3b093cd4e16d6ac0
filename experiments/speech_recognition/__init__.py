"""Speech recognition: GRUs trained with CTC on strings of spoken digits, offline and streaming."""

from experiments.speech_recognition.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
