"""Speech recognition: GRUs trained with CTC on strings of spoken digits, offline and streaming."""

from experiments.common.doors import open_door

__getattr__ = open_door(
    __name__,
    {
        "examples": ["Examples", "measure_errors"],
        "settings": ["Settings"],
        "train": ["DIGITS", "WIDTH", "make_recognizer", "make_training", "prepare"],
    },
)
