"""Sentiment of real sentences in three classes: a bidirectional GRU with attention."""

from experiments.common.doors import open_door

__getattr__ = open_door(
    __name__,
    {
        "modules": ["WordEmbedding"],
        "report": ["describe_prediction"],
        "settings": ["NUM_FOLDS", "Command", "Settings"],
        "train": [
            "COMMAND",
            "EXAMPLES",
            "MODEL",
            "Classifier",
            "classifier_training",
            "encode",
            "main",
            "make_train",
            "prepare",
            "vader",
        ],
    },
)
