"""How utterances are distorted for training: the amounts; `digit_strings` applies them."""

from typing import NamedTuple

from experiments.common.flags import NonNegativeFloat


class Distortion(NamedTuple):
    """How utterances are changed for training, in units of each coefficient's deviation."""

    speed: NonNegativeFloat = 0.0  # range of the logarithm of the speed: 0.15 means exp(±0.15)
    loudness: NonNegativeFloat = 0.0  # deviation of an utterance's offset of the first coefficient
    color: NonNegativeFloat = 0.0  # deviation of its offsets of the other coefficients
    noise: NonNegativeFloat = (
        0.0  # largest deviation of the noise; each string draws its own from 0 to this
    )
    masked: NonNegativeFloat = (
        0.0  # longest mask, in frames; two stretches of each string become zero
    )
