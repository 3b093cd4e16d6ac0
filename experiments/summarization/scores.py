"""Baselines and scores of one-line summaries."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from experiments.seq2seq.translation_scores import translation_memory

ROUGE = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
WORDS = 8  # per baseline summary; the synopses have 6.6 on average
_DEFINITION = re.compile(
    r"\b(?:is an?|is the|are|(?:provides?|contains?|implements?)(?: an?| the)?) ", re.I
)
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")


def baselines(
    known: tuple[Sequence[str], Sequence[str]], texts: Sequence[str]
) -> dict[str, list[str]]:
    """The summaries of each baseline; `known` are the training texts and their summaries."""
    return {
        "first sentence": [first_sentence(text) for text in texts],
        f'{WORDS} words after "is a", "provides" ...': [words_after_definition(t) for t in texts],
        "nearest neighbor": translation_memory(*known, texts),
    }


def first_sentence(text: str) -> str:
    """The text up to the first period, the lead."""
    return _SENTENCE_END.split(text, maxsplit=1)[0]


def words_after_definition(text: str) -> str:
    """The `WORDS` words after "is a", "provides the" and the like in the first sentence.

    Without such a phrase, its first words.
    """
    sentence = first_sentence(text)
    found = _DEFINITION.search(sentence)
    return " ".join(sentence[found.end() if found else 0 :].split()[:WORDS])


def best_window(text: str, reference: str) -> str:
    """The `WORDS` consecutive words with the highest ROUGE-1, by an oracle with the reference."""
    tokenize = DefaultTokenizer(use_stemmer=True).tokenize
    words = text.split()
    tokens = [Counter(tokenize(word)) for word in words]
    wanted = Counter(tokenize(reference))

    def rouge_1(start: int) -> float:
        window = sum(tokens[start : start + WORDS], Counter())
        return 2 * (window & wanted).total() / max(1, window.total() + wanted.total())

    start = max(range(max(1, len(words) - WORDS + 1)), key=rouge_1)
    return " ".join(words[start : start + WORDS])


def score_summaries(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The mean F of rouge-score's ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), in percent.

    In lower case and with Porter's stemmer, as in See et al. 2017.
    """
    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True)
    pairs = zip(outputs, references, strict=True)
    scores = [scorer.score(reference, output) for output, reference in pairs]
    return {
        column: 100 * float(np.mean([score[name].fmeasure for score in scores]))
        for column, name in ROUGE.items()
    }


def new_word_rate(sources: Sequence[str], outputs: Sequence[str]) -> float:
    """The fraction of output words that are not in the source, with words as in ROUGE."""
    new, total = 0, 0
    for source, output in zip(sources, outputs, strict=True):
        known = set(_words(source))
        new += sum(word not in known for word in _words(output))
        total += len(_words(output))
    return new / max(total, 1)


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())
