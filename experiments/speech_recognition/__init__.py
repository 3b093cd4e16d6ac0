"""Speech recognition: connected spoken digits, GRUs trained with CTC, whole strings or streams."""

from experiments.speech_recognition.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
