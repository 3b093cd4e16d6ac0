"""Sentiment of real sentences in three classes: a bidirectional GRU with attention."""

from experiments.common.doors import open_door

__getattr__ = open_door(
    __name__,
    {
        "answering": ["check_text"],
        "model": ["NGRAMS", "NGRAM_SCALE", "Classifier", "WordEmbedding", "encode"],
        "report": ["Answer", "describe_answer"],
        "settings": ["COMMAND", "MODEL", "NUM_FOLDS", "Command", "Settings"],
        "train": [
            "EXAMPLES",
            "classifier_training",
            "main",
            "make_train",
        ],
        "training_data": ["prepare"],
        "vader": ["vader"],
    },
)
