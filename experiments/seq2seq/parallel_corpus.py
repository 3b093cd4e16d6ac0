"""Corpora of text pairs, source and target, with splits without leakage."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.common.data.splits import Split
from experiments.seq2seq import dates, ddtp, debian_indices
from experiments.seq2seq.debian_indices import Index

SHORT = 40  # words; longer descriptions are a separate part of the report
LARGEST_GROUP = 20  # in the held-out sets, so that no package family dominates the scores


class Corpus(NamedTuple):
    """N text pairs."""

    sources: list[str]
    targets: list[str]
    parts: np.ndarray  # str [N]: the kind of text
    split: Split
    checksums: Mapping[str, str] = {}  # sha256 of each text that it was read from; {}: it is drawn

    def select(self, indices: np.ndarray) -> tuple[list[str], list[str]]:
        """The sources and targets of these pairs."""
        return [self.sources[i] for i in indices], [self.targets[i] for i in indices]

    def record(self) -> dict[str, dict[str, str]]:
        """What names the data in the record of a training: {} for data that are drawn."""
        return {"checksums": dict(self.checksums)} if self.checksums else {}

    def origin(self) -> str:
        """What names the data in a report, on one line."""
        texts = ", ".join(f"{name} (sha256 {digest})" for name, digest in self.checksums.items())
        return f"Data: {texts or 'made from a seed'}."

    def reduced(self, num_pairs: int | None) -> "Corpus":
        """The same corpus with `num_pairs` random training pairs; None keeps all."""
        train = np.random.default_rng(0).permutation(self.split.train)[:num_pairs]
        return self._replace(split=self.split._replace(train=train))


def date_corpus(train: int = 7500, validation: int = 500, test: int = 1000) -> Corpus:
    """Dates in many languages and their ISO form, four texts per day.

    The arguments are numbers of days; the parts of the split share no day.
    """
    days = dates.draw_days(train + validation + test, seed=0)
    per_day = 4
    pairs = dates.write_dates(days, per_day, seed=1)
    ends = np.cumsum([train, validation, test]) * per_day
    split = Split(*np.split(np.arange(ends[-1]), ends[:-1]))
    return Corpus(pairs.texts, pairs.iso, np.full(ends[-1], "dates"), split)


def debian_corpus(target: str, validation: int = 1000, test: int = 2000) -> Corpus:
    """Debian's package descriptions, English -> `target`; see `experiments.seq2seq.ddtp`."""
    indices = debian_indices.fetch(("en", target))
    pairs = ddtp.read_pairs({language: index.text for language, index in indices.items()}, target)
    split = ddtp.split_pairs(pairs.groups, validation, test, seed=0)
    return Corpus(pairs.sources, pairs.targets, pairs.kinds, split, _checksums(indices))


def synopsis_corpus(validation: int = 1000, test: int = 2000) -> Corpus:
    """Debian's package descriptions with their synopses; see `experiments.seq2seq.ddtp`.

    `parts` separates short and long descriptions.
    """
    indices = debian_indices.fetch(("en",))
    pairs = ddtp.read_summaries(indices["en"].text)
    split = ddtp.split_pairs(pairs.groups, validation, test, seed=0, largest=LARGEST_GROUP)
    short = np.array([len(source.split()) <= SHORT for source in pairs.sources])
    parts = np.where(short, f"up to {SHORT} words", "longer")
    return Corpus(pairs.sources, pairs.targets, parts, split, _checksums(indices))


def _checksums(indices: Mapping[str, Index]) -> dict[str, str]:
    return {f"Translation-{language}": index.sha256 for language, index in indices.items()}
