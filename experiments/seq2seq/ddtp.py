"""Debian's package descriptions and their translations by volunteers of the DDTP.

Their texts are `experiments.seq2seq.debian_indices`.
"""

import re
from typing import NamedTuple

import numpy as np

from experiments.common.data import DataError
from experiments.common.data.splits import Split, merge_groups

MAX_WORDS = 14  # of a source sentence
KINDS = ("synopsis", "paragraph")
LENGTHS = (20, 120)  # minimum and maximum number of words of a description to summarize
OPENING = 8  # two descriptions with this many first words in common count as versions of one
# Parts of package names that do not identify a program.
_GENERIC = re.compile(
    r"bin|bioc|cli|com|common|cran|data|dbg|dev|doc|docs|elpa|examples|extra|extras|fonts|gir1|"
    r"github|gnome|go|golang|gui|haskell|java|kde|lib|libghc|librust|libs|lua|node|perl|php|plugin|"
    r"plugins|prof|python|python2|python3|r|ros|ruby|runtime|rust|rs|src|task|tests|texlive|tools|"
    r"utils|x11|xserver"
)


class Description(NamedTuple):
    """The index entry of a package."""

    package: str
    synopsis: str
    paragraphs: list[str]


class Pairs(NamedTuple):
    """N texts and their targets, without duplicate sources."""

    sources: list[str]
    targets: list[str]
    kinds: np.ndarray  # str [N]: the kind of source, one of KINDS or "description"
    groups: np.ndarray  # int [N]: the same for equal package families or equal texts


def read_pairs(texts: dict[str, str], target: str) -> Pairs:
    """Reads the aligned sentences, English -> `target`, of at most `MAX_WORDS` English words.

    Each synopsis is a pair, and each paragraph of a description that has equally many paragraphs in
    both languages. Duplicate sources keep their first translation.

    Args:
      texts: the indices of "en" and `target`.
      target: the language of the translations.

    Raises:
      DataError: an index has no descriptions, or the two have none in common.
    """
    english = read_descriptions(texts["en"], "en")
    translated = read_descriptions(texts[target], target)
    rows = []
    for md5 in translated.keys() & english.keys():
        package, synopsis, paragraphs = english[md5]
        _, target_synopsis, target_paragraphs = translated[md5]
        rows.append((package, KINDS[0], synopsis, target_synopsis))
        if len(paragraphs) == len(target_paragraphs):
            both = zip(paragraphs, target_paragraphs, strict=True)
            rows += [(package, KINDS[1], source, other) for source, other in both]
    rows = sorted(row for row in rows if len(row[2].split()) <= MAX_WORDS and row[2] and row[3])
    if not rows:
        raise DataError(f"No English description has a translation into {target!r}.")
    sources = [" ".join(row[2].lower().split()) for row in rows]
    groups = merge_groups([package_family(row[0]) for row in rows], sources)
    first = np.unique(sources, return_index=True)[1]
    first.sort()
    return Pairs(
        [rows[i][2] for i in first],
        [rows[i][3] for i in first],
        np.array([rows[i][1] for i in first]),
        groups[first],
    )


def read_summaries(text: str) -> Pairs:
    """Reads the English descriptions of `LENGTHS` words, with their synopses as targets.

    Descriptions with the same first `OPENING` words, or the same synopsis, are in one group.
    Duplicate descriptions keep their first synopsis.

    Raises:
      DataError: the index has no such descriptions.
    """
    rows = {}
    for package, synopsis, paragraphs in sorted(read_descriptions(text, "en").values()):
        words = " ".join(paragraphs).split()
        if synopsis and LENGTHS[0] <= len(words) <= LENGTHS[1]:
            rows.setdefault(" ".join(words).lower(), (package, " ".join(words), synopsis))
    if not rows:
        raise DataError(f"No description has {LENGTHS[0]} to {LENGTHS[1]} words and a synopsis.")
    packages, sources, targets = (list(column) for column in zip(*rows.values(), strict=True))
    openings = [" ".join(source.split()[:OPENING]) for source in rows]
    synopses = [" ".join(target.lower().split()) for target in targets]
    groups = merge_groups([package_family(name) for name in packages], openings, synopses)
    return Pairs(sources, targets, np.full(len(rows), "description"), groups)


def package_family(name: str) -> str:
    """Guesses the program of a package: "libx2go-utils-perl" and "x2go-doc" are "x2go"."""
    words = [word for word in re.split(r"[-+._]", name.lower()) if word]
    specific = [word for word in words if not _GENERIC.fullmatch(word) and not word.isdigit()]
    word = (specific or words)[0]
    word = word.removeprefix("lib") if len(word) > 5 else word
    return word.rstrip("0123456789") or word


def split_pairs(
    groups: np.ndarray, num_validation: int, num_test: int, seed: int, largest: int | None = None
) -> Split:
    """Draws whole groups at random for the test set, then for the validation set.

    Texts such as "This package contains the documentation." connect thousands of families into one
    large group. Groups of more than `largest` pairs, by default 1% of all, are used for training.
    """
    sizes = np.bincount(groups)
    largest = max(1, len(groups) // 100) if largest is None else largest
    small = np.flatnonzero((sizes > 0) & (sizes <= largest))
    small = np.random.default_rng(seed).permutation(small)
    total = np.cumsum(sizes[small])
    test = small[total <= num_test]
    validation = small[(total > num_test) & (total <= num_test + num_validation)]
    held_out = [np.isin(groups, validation), np.isin(groups, test)]
    train = ~(held_out[0] | held_out[1])
    return Split(*(np.flatnonzero(part) for part in (train, *held_out)))


def read_descriptions(index: str, language: str) -> dict[str, Description]:
    """Reads a Translation index: descriptions by the checksum of the English text.

    Raises:
      DataError: the index has none.
    """
    description = re.compile(rf"^Description-{language}: (.*(?:\n .*)*)", re.M)
    found = {}
    for block in index.split("\n\n"):
        package = re.search(r"^Package: (\S+)", block, re.M)
        md5 = re.search(r"^Description-md5: (\w+)", block, re.M)
        text = description.search(block)
        if package and md5 and text:
            synopsis, _, rest = text[1].partition("\n")
            paragraphs = re.split(r"\n \.(?=\n|$)", "\n" + rest)
            paragraphs = [" ".join(paragraph.split()) for paragraph in paragraphs]
            paragraphs = [paragraph for paragraph in paragraphs if paragraph]
            found[md5[1]] = Description(package[1], synopsis.strip(), paragraphs)
    if not found:
        raise DataError(f"The index holds no descriptions in {language!r}.")
    return found
