"""Corpora of text pairs, source and target, with splits without leakage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.records import Fields, read_records
from experiments.common.data.splits import Split, merge_groups, note_equal
from experiments.common.report.counts import count
from experiments.seq2seq import dates, ddtp, debian_indices
from experiments.seq2seq.debian_indices import Index

SHORT = 40  # words; longer descriptions are a separate part of the report
MIN_PAIRS = 200  # of the user
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

    The arguments are numbers of days; the parts of the split share no day. `parts` separates dates
    that are typed from those of CLDR.
    """
    days = dates.draw_days(train + validation + test, seed=0)
    per_day = 4
    pairs = dates.write_dates(days, per_day, seed=1)
    ends = np.cumsum([train, validation, test]) * per_day
    split = Split(*np.split(np.arange(ends[-1]), ends[:-1]))
    is_typed = np.array(pairs.locales) == dates.TYPED
    parts = np.where(is_typed, "typed in English or numbers", "written, as in CLDR")
    return Corpus(pairs.texts, pairs.iso, parts, split)


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


def user_corpus(
    path: Path, fields: Fields, columns: Sequence[str] | None = None
) -> tuple[Corpus, list[str]]:
    """The user's text pairs; 5% are for validation and 10% for testing, at most as many as above.

    Pairs that share a text are on one side. Returns: the corpus, and one sentence per thing that
    the user may not expect.

    Raises:
      InputError: it cannot be read, see `read_records`, or there are too few pairs.
    """
    records = read_records(path, fields, columns)
    sources, targets = records.column(0), records.column(1)
    number = len(set(records.rows))
    if number < MIN_PAIRS:
        raise InputError(
            f"{path} has {count(number, 'pair', 'different pairs')}; at least {MIN_PAIRS} are "
            "needed."
        )
    groups = merge_groups(*([text.casefold() for text in side] for side in (sources, targets)))
    held_out = min(number // 20, 1000), min(number // 10, 2000)
    split = ddtp.split_pairs(groups, *held_out, seed=0, largest=LARGEST_GROUP)
    if min(map(len, split)) < MIN_PAIRS // 40:
        raise InputError(
            f"{path}: too many pairs share a text with others, directly or through others; at "
            f"least {MIN_PAIRS} should not."
        )
    sizes = [f"{len(part):,}" for part in split]
    notes = [
        *records.notes,
        *note_equal(merge_groups(records.rows), "pair"),
        f"{len(sources):,} pairs: {sizes[0]} for training, {sizes[1]} for validation, {sizes[2]} "
        "for testing.",
    ]
    checksums = {path.name: records.digest()}
    return Corpus(sources, targets, np.full(len(sources), "own"), split, checksums), notes


def _checksums(indices: Mapping[str, Index]) -> dict[str, str]:
    return {f"Translation-{language}": index.sha256 for language, index in indices.items()}
