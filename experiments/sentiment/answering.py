"""Answers for single texts, with reasons to doubt them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import softmax

from experiments.common.command import InputError
from experiments.common.data.records import clean_text
from experiments.common.data.text import has_meaning, tokenize, word_form
from experiments.common.data.user_files import quote
from experiments.common.training.models import load_model
from experiments.sentiment import vader
from experiments.sentiment.model import Classifier, encode
from experiments.sentiment.report import Answer
from experiments.sentiment.settings import COMMAND, MODEL, Settings


def predict(directory: Path, sentence: str) -> Answer:
    """The answer of the model that was trained in `directory`; `check_text` raises."""
    params, record, vocabulary = load_model(directory / MODEL, COMMAND)
    settings, classes = Settings.of(record), record.get("classes", vader.CLASSES)
    sentence = clean_text(sentence)
    notes = check_text(sentence, vocabulary, record)
    inputs = encode([sentence], vocabulary, record["lexicon"], settings)
    model = Classifier(settings, len(vocabulary), len(classes))
    apply = jax.jit(partial(model.apply, train=False))  # one program compiles fastest
    logits, _, attention = map(np.asarray, apply(params, inputs))
    tokens = tokenize(sentence)[: settings.max_tokens]
    probabilities = softmax(logits[0])
    return Answer(classes, probabilities, tokens, attention[0, : len(tokens)], notes)


def check_text(sentence: str, vocabulary: Iterable[str], record: dict[str, Any]) -> list[str]:
    """Looks at a text that is to be classified.

    Args:
      sentence: the text.
      vocabulary: the words that the model knows.
      record: what `load_model` returns: its settings, and on how many texts it is calibrated.

    Returns: one sentence per reason to doubt the answer, and how it is calibrated.

    Raises:
      InputError: the text has no word, or none that the model knows.
    """
    tokens, max_tokens = tokenize(sentence), record["settings"]["max_tokens"]
    known = set(vocabulary)
    words = [token for token in tokens[:max_tokens] if has_meaning(token)]
    unknown = [word for word in words if word_form(word) not in known]
    if not words:
        raise InputError(f"{quote(sentence)} has no word; a text to classify is expected.")
    if len(unknown) == len(words):
        raise InputError(
            f"The model knows no word of {quote(sentence)}, so it does not classify it."
        )
    notes = []
    if unknown:
        listed = ", ".join(dict.fromkeys(unknown))
        notes.append(f"The model does not know {len(unknown)} of {len(words)} words: {listed}.")
    if len(tokens) > max_tokens:
        notes.append(f"Only the first {max_tokens} of {len(tokens)} words and signs are read.")
    if "calibrated_on" in record:
        number = record["calibrated_on"]
        notes.append(f"The percentages are calibrated on {number:,} validation texts.")
    return notes
