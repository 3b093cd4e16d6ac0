"""The settings and flags of `experiments.tutorial`."""

from dataclasses import dataclass

from experiments.common.flags import CommonFlags, Flat, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True)
class Command:
    """Trains one classifier."""

    hidden_size: PositiveInt = 64  # H
    max_words: PositiveInt = 40  # T; longer sentences are cut
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 3
    learning_rate: PositiveFloat = 3e-3
    seed: NonNegativeInt = 0
    common: Flat[CommonFlags] = CommonFlags()
