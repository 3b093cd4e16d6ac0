"""The settings and flags of `experiments.sentiment`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from experiments.common.flags import (
    ALWAYS,
    MODE,
    DropoutRate,
    Flat,
    MonitorFlags,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Range,
    ScaleFlags,
)

NUM_FOLDS = 5


@dataclass(frozen=True)
class Settings:
    """The settings of a training."""

    embedding_size: PositiveInt = 48  # of words, prefixes and suffixes, which are added
    hidden_size: PositiveInt = 64  # of the GRU, in each direction
    num_layers: PositiveInt = 1  # of bidirectional GRUs
    max_tokens: PositiveInt = 40  # longer sentences, 3% of them, are truncated
    subword_buckets: PositiveInt = 16384  # of the hashed prefixes and suffixes
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 6  # at most
    patience: PositiveInt = 3  # epochs without a better validation score
    learning_rate: PositiveFloat = 2e-3  # the peak: one epoch of warm-up, then a cosine
    weight_decay: NonNegativeFloat = 0.02
    max_gradient_norm: PositiveFloat = 1.0
    dropout: DropoutRate = 0.5  # of embeddings, GRU outputs and the pooled vector
    token_dropout: DropoutRate = 0.25  # share of words read as unknown; half as many are zeroed
    label_width: PositiveFloat = 0.35  # sd, in rating units, of the noise that softens the labels
    rating_weight: NonNegativeFloat = 0.3  # of the squared error of the predicted mean rating
    film_weight: NonNegativeFloat = 0.3  # the same on 10,605 rated film snippets; 0 leaves them out


@dataclass(frozen=True)
class Command:
    """Trains and compares the classifiers, or applies a trained one."""

    settings: Flat[Settings] = Settings()
    folds: Annotated[int, Range(1, NUM_FOLDS)] = 1  # of the five folds
    seeds: PositiveInt = 1  # trainings per fold and kind of input
    out: Annotated[Path, ALWAYS] = Path("runs/sentiment")  # the output directory
    # a text to classify with the saved model, without training
    predict: Annotated[str | None, MODE] = None
    # write the saved model as a file for onnxruntime, without training
    export: Annotated[Literal["onnx"] | None, MODE] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched
