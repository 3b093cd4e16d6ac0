"""A saved recognizer, and what it recognizes."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.confidence import describe_answer
from experiments.common.training.models import load_model
from experiments.speech.recognizer import Recognizer
from experiments.speech.spoken_digits import Standardizer
from experiments.speech_recognition.report import recognize_strings, to_digits

SHAPE = ("hidden_size", "num_layers", "bidirectional", "stride", "dropout")  # of a network


class Trained(NamedTuple):
    """A saved network."""

    model: Recognizer
    params: Any
    standardizer: Standardizer  # of its input
    temperature: float
    words: list[str]  # the names of its labels
    separator: str  # between them


def load_recognizer(path: Path, command: str) -> Trained:
    """Loads a saved network; `command` is the one that trains it, for the error message."""
    params, record, words = load_model(path, command)
    settings = record["settings"]
    model = Recognizer(
        *(settings[name] for name in SHAPE),
        num_labels=len(words),
        cell=settings.get("cell", "gru"),  # a model of version 0.1 has none
    )
    standardizer = Standardizer(*map(np.array, record["scale"]))
    temperature = record.get("temperature", 1.0)  # a model of version 0.1 has none
    return Trained(model, params, standardizer, temperature, words, record.get("separator", " "))


def recognize(trained: Trained, cepstra: np.ndarray, num_beams: int) -> str:
    """The text in cepstra [T, 13], with its calibrated probability."""
    frames = trained.standardizer.standardize(cepstra)
    inputs = (frames[None], np.array([len(frames)]), num_beams, trained.temperature)
    decoded = recognize_strings(trained.model, trained.params, *inputs).beam_search
    text = trained.separator.join(trained.words[label] for label in to_digits(decoded)[0])
    return describe_answer(np.exp(np.asarray(decoded.scores)), [text or "nothing"])
