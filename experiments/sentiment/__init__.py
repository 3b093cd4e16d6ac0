"""Sentiment of real sentences in three classes: a bidirectional GRU with attention."""

from experiments.sentiment import vader
from experiments.sentiment.modules import WordEmbedding
from experiments.sentiment.report import describe_prediction
from experiments.sentiment.train import (
    COMMAND,
    EXAMPLES,
    MODEL,
    NUM_FOLDS,
    Classifier,
    Command,
    Settings,
    classifier_training,
    encode,
    main,
    make_train,
    prepare,
)

__all__ = [
    "COMMAND",
    "EXAMPLES",
    "MODEL",
    "NUM_FOLDS",
    "Classifier",
    "Command",
    "Settings",
    "WordEmbedding",
    "classifier_training",
    "describe_prediction",
    "encode",
    "main",
    "make_train",
    "prepare",
    "vader",
]
