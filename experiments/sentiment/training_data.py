"""What a classifier learns from: rated sentences and phrases, or the user's texts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.common.data import text
from experiments.common.data.splits import Split
from experiments.sentiment import phrases, user_texts, vader
from experiments.sentiment.check_list import TEXTS
from experiments.sentiment.model import encode
from experiments.sentiment.settings import Settings


class Data(NamedTuple):
    """The data of one training: the inputs from `encode`, and the targets."""

    # inputs, "target" [N, C], "class_weight" [N], "rating" [N], "rating_weight" [N]
    train: dict[str, Any]
    validation: dict[str, Any]  # inputs, "label" [N]
    vocabulary: list[str]
    classes: Sequence[str] = vader.CLASSES  # C


def prepare(sentences: vader.Sentences, split: Split, lexicon: bool, settings: Settings) -> Data:
    """Builds vocabulary and arrays.

    Film snippets train only the rating, not the classes.
    """
    held_out = np.concatenate([split.validation, split.test])
    known = split.train
    if settings.film_weight:
        known = np.concatenate([known, vader.film_snippets(sentences, held_out)])
    drawn = draw_unseen_phrases(sentences, split, settings)
    texts = np.concatenate([sentences.texts[known], drawn.texts])
    ratings = np.concatenate([sentences.ratings[known], drawn.ratings])
    vocabulary = text.build_vocabulary(map(text.word_forms, texts), min_count=2)
    train = encode(texts, vocabulary, lexicon, settings)
    train["target"] = vader.soft_labels(ratings, settings.label_width)
    train["target"][: len(known)] *= class_weights(
        sentences.labels[split.train], len(vader.CLASSES), settings.class_balance
    )
    kinds = len(split.train), len(known) - len(split.train), len(drawn.texts)
    weight = settings.phrase_weight
    weights = settings.rating_weight, settings.film_weight, weight * settings.rating_weight
    train["class_weight"] = np.repeat((1.0, 0.0, weight), kinds)
    train["rating"], train["rating_weight"] = ratings, np.repeat(weights, kinds)
    validation = encode(sentences.texts[split.validation], vocabulary, lexicon, settings)
    validation["label"] = sentences.labels[split.validation]
    return Data(train, validation, vocabulary)


def draw_unseen_phrases(
    sentences: vader.Sentences, split: Split, settings: Settings
) -> phrases.Phrases:
    """Draws phrases that are neither held out in the split nor on the check list."""
    held_out = sentences.texts[np.concatenate([split.validation, split.test])]
    return phrases.draw_phrases(settings.num_phrases, 0, [*held_out, *TEXTS])


def class_weights(labels: np.ndarray, num_classes: int, balance: float) -> np.ndarray:
    """Weights [C] with a mean of 1 over the labels [N]: all 1 if `balance` is 0.

    With 1 all classes have the same total weight, so that rare ones count as much.
    """
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)
    weights = (counts / len(labels)) ** -balance
    return (weights / weights[labels].mean()).astype(np.float32)


def prepare_user_texts(data: user_texts.LabeledTexts, settings: Settings) -> Data:
    """Builds vocabulary and arrays of the user's texts, which have no ratings."""
    known = data.split.train
    vocabulary = text.build_vocabulary(map(text.word_forms, data.texts[known]), min_count=2)
    train = encode(data.texts[known], vocabulary, False, settings)
    labels, num_classes = data.labels[known], len(data.classes)
    weights = class_weights(labels, num_classes, settings.class_balance)
    train["target"] = (weights * np.eye(num_classes, dtype=np.float32))[labels]
    train["class_weight"] = np.ones(len(known))
    train["rating"] = train["rating_weight"] = np.zeros(len(known))
    validation = encode(data.texts[data.split.validation], vocabulary, False, settings)
    validation["label"] = data.labels[data.split.validation]
    return Data(train, validation, vocabulary, data.classes)
