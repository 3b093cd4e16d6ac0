"""Text generation: GRU, LSTM and RNN as language models of characters."""

from experiments.common.doors import open_door

__getattr__ = open_door(
    __name__,
    {
        "model": ["STEPS", "CharacterModel"],
        "onnx_model": ["build_model"],
        "prose": ["read_corpus"],
        "settings": ["COMPARED"],
        "train": ["SHARES", "language_training", "make_model", "prepare"],
    },
)
