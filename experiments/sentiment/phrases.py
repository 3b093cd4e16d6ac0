"""Sentences with a negation, a contrast or an idiom, drawn from a grammar.

Rated sentences have few of them. The grammar was written before any model was tested with it, and
without sight of the check list. In its files, under [name] stand alternatives, separated by bars or
lines, and {name} stands for one of them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.sentiment.vader import CLASSES, plain_words

GRAMMAR = Path(__file__).with_name("grammar")  # the folder
RATINGS = 1.5, 2.5  # the smallest and the largest of positive sentences
_SLOT = re.compile(r"\{(.+?)\}")
Grammar = Mapping[str, Sequence[str]]  # the alternatives of each name


class Phrases(NamedTuple):
    """N different sentences."""

    texts: np.ndarray  # str [N]
    ratings: np.ndarray  # float [N], -4 to 4; 0 for neutral ones
    labels: np.ndarray  # int [N], positions in `CLASSES`


@cache
def read_grammar() -> Grammar:
    """Reads all files of the grammar."""
    grammar: dict[str, list[str]] = {}
    for path in sorted(GRAMMAR.glob("*.txt")):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("["):
                alternatives = grammar.setdefault(line[1:-1], [])
            elif not line.startswith("#"):
                alternatives += map(str.strip, line.split("|"))
    return grammar


def draw_phrases(number: int, seed: int, held_out: Iterable[str] = ()) -> Phrases:
    """Draws `number` sentences, a third of each class, and none that `held_out` has."""
    rng = np.random.default_rng(seed)
    excluded, texts = set(map(plain_words, held_out)), []
    while len(texts) < number:
        text = draw(CLASSES[len(texts) % len(CLASSES)], rng)
        if (words := plain_words(text)) not in excluded:
            excluded.add(words)
            texts.append(text)
    labels = np.arange(number) % len(CLASSES)
    ratings = (labels - 1) * rng.uniform(*RATINGS, number)
    return Phrases(np.array(texts, object), ratings, labels)


def draw(name: str, rng: np.random.Generator) -> str:
    """Draws a sentence for which `name` stands in the grammar."""
    text = " ".join(_expand(name, read_grammar(), rng).split())
    text = re.sub(r"\ba (?=[aeio]|u[gnp])", "an ", text)
    return text[:1].upper() + text[1:]


def _expand(name: str, grammar: Grammar, rng: np.random.Generator) -> str:
    """Replaces a name by one of its alternatives, and the names in it likewise."""
    alternatives = grammar[name]
    chosen = alternatives[rng.integers(len(alternatives))]
    return _SLOT.sub(lambda slot: _expand(slot[1], grammar, rng), chosen)
