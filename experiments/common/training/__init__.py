"""Training: pure functions of a state, a loop that saves and resumes, several devices.

The files, in the order in which they build on each other: `devices`, `rendezvous`, `processes`,
`scale` (where a training runs), `gradients`, `functional`, `standard`, `batches` (pure functions),
`metrics`, `orbax_checkpoints`, `checkpoints`, `run_directory`, `recording`, `loop`, `models` (what
it writes).
"""

from experiments.common.training.batches import map_batches
from experiments.common.training.functional import (
    Metrics,
    PyTree,
    Training,
    TrainState,
    as_function,
    end_epoch,
    init_train_state,
    make_training,
    train,
)
from experiments.common.training.standard import (
    TrainingSettings,
    adamw_warmup_cosine,
    make_standard_training,
)

__all__ = [
    "Metrics",
    "PyTree",
    "TrainState",
    "Training",
    "TrainingSettings",
    "adamw_warmup_cosine",
    "as_function",
    "end_epoch",
    "init_train_state",
    "make_standard_training",
    "make_training",
    "map_batches",
    "train",
]
