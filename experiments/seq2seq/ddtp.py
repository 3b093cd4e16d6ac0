"""Debian's package descriptions and their translations by volunteers of the DDTP.

apt fetches them from the package index of the machine's Debian, or of a system derived from it,
into separate folders: it needs no root, and the system's lists stay untouched. The first call keeps
one file per language in the cache directory; later calls read these files.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data import DataError, cache_directory
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


def fetch(languages: Iterable[str]) -> dict[str, Path]:
    """Returns the file of each language, a gzipped Translation index, fetching it if necessary.

    `GRUJAX_DATA` may name a folder with the files Translation-en.gz, Translation-it.gz ...

    Raises:
      DataError: this system has no apt, or apt failed.
    """
    names = {language: f"Translation-{language}.gz" for language in languages}
    provided = os.environ.get("GRUJAX_DATA")
    for folder in ([Path(provided)] if provided else []) + [cache_directory() / "ddtp"]:
        if all((folder / name).is_file() for name in names.values()):
            return {language: folder / name for language, name in names.items()}
    _fetch_with_apt(cache_directory() / "ddtp", list(names))
    return {language: cache_directory() / "ddtp" / name for language, name in names.items()}


def read_pairs(files: dict[str, Path], target: str) -> Pairs:
    """Reads the aligned sentences, English -> `target`, of at most `MAX_WORDS` English words.

    Each synopsis is a pair, and each paragraph of a description that has equally many paragraphs in
    both languages. Duplicate sources keep their first translation.
    """
    english = read_descriptions(files["en"], "en")
    translated = read_descriptions(files[target], target)
    rows = []
    for md5 in translated.keys() & english.keys():
        package, synopsis, paragraphs = english[md5]
        _, target_synopsis, target_paragraphs = translated[md5]
        rows.append((package, KINDS[0], synopsis, target_synopsis))
        if len(paragraphs) == len(target_paragraphs):
            both = zip(paragraphs, target_paragraphs, strict=True)
            rows += [(package, KINDS[1], source, other) for source, other in both]
    rows = sorted(row for row in rows if len(row[2].split()) <= MAX_WORDS and row[2] and row[3])
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


def read_summaries(path: Path) -> Pairs:
    """Reads the English descriptions of `LENGTHS` words, with their synopses as targets.

    Descriptions with the same first `OPENING` words, or the same synopsis, are in one group.
    Duplicate descriptions keep their first synopsis.
    """
    rows = {}
    for package, synopsis, paragraphs in sorted(read_descriptions(path, "en").values()):
        words = " ".join(paragraphs).split()
        if synopsis and LENGTHS[0] <= len(words) <= LENGTHS[1]:
            rows.setdefault(" ".join(words).lower(), (package, " ".join(words), synopsis))
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


def read_descriptions(path: Path, language: str) -> dict[str, Description]:
    """Reads a Translation index: descriptions by the checksum of the English text."""
    description = re.compile(rf"^Description-{language}: (.*(?:\n .*)*)", re.M)
    found = {}
    for block in gzip.decompress(path.read_bytes()).decode("utf-8").split("\n\n"):
        package = re.search(r"^Package: (\S+)", block, re.M)
        md5 = re.search(r"^Description-md5: (\w+)", block, re.M)
        text = description.search(block)
        if package and md5 and text:
            synopsis, _, rest = text[1].partition("\n")
            paragraphs = re.split(r"\n \.(?=\n|$)", "\n" + rest)
            paragraphs = [" ".join(paragraph.split()) for paragraph in paragraphs]
            paragraphs = [paragraph for paragraph in paragraphs if paragraph]
            found[md5[1]] = Description(package[1], synopsis.strip(), paragraphs)
    return found


def _fetch_with_apt(folder: Path, languages: list[str]) -> None:
    apt, helper = shutil.which("apt-get"), Path("/usr/lib/apt/apt-helper")
    if apt is None or not helper.exists():
        raise DataError(
            "Debian's descriptions come through apt, which this system does not have. Copy the "
            f"files Translation-*.gz from the folder {folder} of a Debian machine that ran this "
            "experiment. Translation also runs without them: use `--data dates`."
        )
    print("Fetching Debian's package descriptions through apt ...", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as name:
        work = Path(name)
        for part in ("lists/partial", "cache/archives/partial"):
            (work / part).mkdir(parents=True)
        wanted = " ".join(f'"{language}";' for language in languages)
        (work / "apt.conf").write_text(
            f"#clear Acquire::Languages;\nAcquire::Languages {{ {wanted} }};\n"
            'Acquire::IndexTargets::deb::Packages::DefaultEnabled "false";\n'
            f'Dir::State::Lists "{work}/lists";\nDir::Cache "{work}/cache";\n'
        )
        command = [apt, "-q", "-c", str(work / "apt.conf"), "update"]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        for language in languages:
            indices = sorted((work / "lists").glob(f"*_i18n_Translation-{language}*"))
            if not indices:
                reason = (run.stderr.strip().splitlines() or ["no such language"])[-1]
                raise DataError(f"apt delivered no descriptions in {language!r} ({reason}).")
            texts = [subprocess.check_output([str(helper), "cat-file", str(i)]) for i in indices]
            path = work / f"Translation-{language}.gz"
            path.write_bytes(gzip.compress(b"\n\n".join(texts), mtime=0))
            path.replace(folder / path.name)
