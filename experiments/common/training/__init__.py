"""Training: pure functions of a state, the loop that saves and resumes, many devices."""

from experiments.common.training.functional import (
    Metrics,
    PyTree,
    Recipe,
    Training,
    TrainState,
    adamw_warmup_cosine,
    as_function,
    end_epoch,
    make_training,
    make_usual_training,
    map_batches,
    start,
    train,
)

__all__ = [
    "Metrics",
    "PyTree",
    "Recipe",
    "TrainState",
    "Training",
    "adamw_warmup_cosine",
    "as_function",
    "end_epoch",
    "make_training",
    "make_usual_training",
    "map_batches",
    "start",
    "train",
]
