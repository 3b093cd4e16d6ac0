"""Debian's Translation indices, the files with the package descriptions in one language.

apt fetches them from the package index of the machine's Debian, or of a system derived from it,
into separate folders: it needs no root, and the system's lists stay untouched. Only what is signed
counts, see `experiments.seq2seq.apt`.

The first call keeps one file per language in the cache directory, and beside it a record of the
checksums; later calls read these files.
"""

import gzip
import hashlib
import json
import os
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from experiments.common.data import DataError, cache_directory, provided_directory, unwritable
from experiments.seq2seq import apt

LIMIT = 10**9  # bytes of a text; Debian's English descriptions have 30 million


class Index(NamedTuple):
    """The descriptions in one language."""

    text: str
    sha256: str  # of the text


def fetch(languages: Iterable[str]) -> dict[str, Index]:
    """Returns the index of each language, fetching it if necessary.

    `GRUJAX_DATA` may name a folder with the files Translation-en.gz, Translation-it.gz ... These
    belong to the user and are not compared with anything.

    Raises:
      DataError: this system has no apt, apt failed, an index differs from what was signed, or a
        file is not an index.
    """
    languages = list(languages)
    provided = provided_directory()
    if provided is not None:
        paths = {language: provided / _filename(language) for language in languages}
        if all(path.is_file() for path in paths.values()):
            return {language: _read(path) for language, path in paths.items()}
    folder = cache_directory() / "ddtp"
    found = {language: _read_kept(folder / _filename(language)) for language in languages}
    missing = [language for language, index in found.items() if index is None]
    fetched = _fetch_with_apt(folder, missing) if missing else {}
    return {language: index or fetched[language] for language, index in found.items()}


def _filename(language: str) -> str:
    return f"Translation-{language}.gz"


def _read(path: Path) -> Index:
    """Reads a gzipped index."""
    try:
        with gzip.open(path) as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise DataError(f"{path} holds more than {LIMIT:,} bytes of text.")
        return _index(content)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a gzipped text in UTF-8 ({error}).") from None


def _index(content: bytes) -> Index:
    return Index(content.decode("utf-8"), hashlib.sha256(content).hexdigest())


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_kept(path: Path) -> Index | None:
    """Reads a file of the cache directory; None if it, or its record, is missing or damaged."""
    if not os.path.isfile(path):
        return None
    try:
        expected = json.loads(_record_of(path).read_text(encoding="utf-8"))["sha256"]
        index = _read(path)
    except (OSError, ValueError, LookupError, TypeError, DataError) as error:
        warnings.warn(f"{path} cannot be verified ({error}): fetching it again.", stacklevel=3)
        return None
    if index.sha256 != expected:
        warnings.warn(
            f"{path} is damaged (expected sha256 {expected}, got {index.sha256}): fetching it "
            "again.",
            stacklevel=3,
        )
        return None
    return index


def _fetch_with_apt(folder: Path, languages: list[str]) -> dict[str, Index]:
    """Fetches the indices of the languages, and keeps each with a record of its sources."""
    if not apt.is_installed():
        raise DataError(
            "Debian's descriptions come through apt, which this system does not have. Copy the "
            f"files Translation-*.gz from the folder {folder} of a Debian machine that ran this "
            "experiment into a folder here, and let the environment variable GRUJAX_DATA name it. "
            "Translation also runs without them: use `--data dates`."
        )
    print("Fetching Debian's package descriptions through apt ...", file=sys.stderr)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as name:
            targets, reason = apt.update(Path(name), languages)
            return {
                language: _keep(
                    folder,
                    Path(name),
                    language,
                    [target for target in targets if target["Language"] == language],
                    reason,
                )
                for language in languages
            }
    except OSError as error:
        raise unwritable(folder, error) from error


def _keep(
    folder: Path, work: Path, language: str, targets: list[dict[str, str]], reason: str
) -> Index:
    """Joins the texts of a language, and moves them into the cache directory with a record."""
    targets = sorted(targets, key=lambda target: target["Filename"])
    verified = [apt.verify(target) for target in targets]
    texts = [text for text, _ in verified]
    if not texts:
        raise DataError(f"apt delivered no signed descriptions in {language!r} ({reason}).")
    content = b"\n\n".join(texts)
    index = _index(content)
    path = folder / _filename(language)
    record = (
        json.dumps(
            {"sha256": index.sha256, "sources": [source for _, source in verified]}, indent=2
        )
        + "\n"
    )
    for place, written in (
        (path, gzip.compress(content, mtime=0)),
        (_record_of(path), record.encode()),
    ):
        (work / place.name).write_bytes(written)
        os.replace(work / place.name, place)
    return index
