"""The settings and flags of `experiments.export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.common.flags import (
    ALWAYS,
    MODE,
    CommonFlags,
    Flat,
    PositiveFloat,
)


@dataclass(frozen=True)
class Command:
    """Writes the trained classifier as an ONNX file and compares it with JAX, or uses the file."""

    model: Path = Path("runs/sentiment/lexicon-fold0-seed0/model.msgpack")  # to export
    seconds: PositiveFloat = 30.0  # of timing per batch size
    out: Annotated[Path, ALWAYS] = Path("runs/export")  # the output directory
    # a text for the exported file to classify
    predict: Annotated[str | None, MODE] = None
    common: Flat[CommonFlags] = CommonFlags()
