"""The settings and flags of `experiments.interpret`."""

from dataclasses import dataclass
from pathlib import Path

from experiments.common.flags import (
    CommonFlags,
    Flat,
)


@dataclass(frozen=True)
class Command:
    """Explains the prediction of the trained sentiment model for a text."""

    text: str = "not bad at all, I would buy it again"  # the text to explain
    model: Path = Path("runs/sentiment")  # the output directory of experiments.sentiment
    out: Path = Path("runs/interpret")  # the directory for the report
    common: Flat[CommonFlags] = CommonFlags()
