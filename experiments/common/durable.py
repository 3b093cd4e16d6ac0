"""Files that outlive a crash: written in full or not at all, checked when they are read back.

`write_durably` writes, `seal` and `unseal` add and check a checksum, `write_json` and `read_json`
do both for JSON. `lock_directory` keeps a second process out of a folder. Reading deletes nothing.
"""

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"  # the file by which a process claims a folder

_SEAL = b"sha256 "  # begins a sealed file; the digest and a line break follow
_DIGITS = hashlib.sha256().digest_size * 2
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)  # file systems without the concept


class DamagedFileError(ValueError):
    """A file does not hold what was written to it; the message names it."""


class DirectoryInUseError(RuntimeError):
    """Another process uses the folder."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, an OSError that names no file, as from `read` and `write`, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(_temporary(path))):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def describe(error: BaseException) -> str:
    """What failed, as text: for an OSError, the file and the reason."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"cannot write to {error.filename}: a file is where a folder should be"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read or write {error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "out of memory"
    return str(error).strip() or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of `describe`, without a period: another library's reason."""
    return describe(error).partition("\n")[0].rstrip(".")


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file such that after a crash it has the old content or the new one, in full.

    The folder is created if it does not exist. When the function returns, the content is on the
    disk.

    Raises:
      OSError: it cannot be written; an existing file is as before.
    """
    temporary = _temporary(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                _write_through(file.fileno(), content)
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def _temporary(path: Path) -> Path:
    """Where the content of a file is written first."""
    return path.with_name(path.name + ".new")


def append_durably(path: Path, content: bytes) -> None:
    """Appends to a file. When the function returns, the content is on the disk."""
    with naming(path):
        is_new = not path.exists()
        with path.open("ab") as file:
            _write_through(file.fileno(), content)
        if is_new:
            sync_directory(path.parent)


def _write_through(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb", buffering=0, closefd=False) as file:
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[file.write(remaining) :]
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Makes created, renamed and deleted names in a folder durable, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def free_name(path: Path) -> Path:
    """`NAME.damaged`, or the first of `NAME.damaged-2`, `-3`, … that does not exist."""
    number, free = 1, path.with_name(f"{path.name}.damaged")
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}.damaged-{number}")
    return free


def move_aside(path: Path) -> Path:
    """Renames a damaged file or folder, see `free_name`. Returns: the new path."""
    with naming(path):
        moved = path.rename(free_name(path))
        sync_directory(path.parent)
    return moved


def seal(content: bytes) -> bytes:
    """Puts a line with the content's SHA-256 before it."""
    return _SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def unseal(content: bytes, path: Path, *, required: bool = False) -> bytes:
    """The inverse of `seal`.

    Args:
      content: the content of a file.
      path: the file, for the message.
      required: False: a file from before there were seals is returned as it is.

    Raises:
      DamagedFileError: the checksum is wrong, or missing where it is required.
    """
    if not content.startswith(_SEAL) and not required and content:
        return content
    start = len(_SEAL) + _DIGITS + 1
    if seal(content[start:]) != content:
        raise DamagedFileError(
            f"{path} is damaged: its {len(content)} bytes do not have the checksum of what was "
            "written."
        )
    return content[start:]


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON value with its checksum, see `write_durably`."""
    sealed = {"sha256": _json_digest(value), "content": value}
    write_durably(path, (json.dumps(sealed, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote, or a JSON file without a checksum.

    Raises:
      DamagedFileError: it is no JSON, or has the wrong checksum.
      OSError: it cannot be read.
    """
    with naming(path):
        content = path.read_bytes()
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise DamagedFileError(f"{path} is damaged: {describe(error)}.") from error
    if not isinstance(value, dict) or not value.keys() & {"sha256", "content"}:
        return value  # from before there were checksums
    if value.keys() != {"sha256", "content"} or value["sha256"] != _json_digest(value["content"]):
        raise DamagedFileError(
            f"{path} is damaged: it does not have the checksum of what was written."
        )
    return value["content"]


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Inside, this process alone uses a folder; the system ends the lock with the process.

    A folder in which nothing can be written is not locked. Where the file system has no locks, a
    warning says so.

    Raises:
      DirectoryInUseError: another process has the lock, or this one a second time.
      OSError: the folder cannot be made or used.
    """
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)
    with naming(path / LOCK):
        descriptor = _open_lock(path / LOCK)
    try:
        if descriptor is not None and fcntl is not None:
            _lock(descriptor, path)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_lock(path: Path) -> int | None:
    """A descriptor of the lock's file; None if there is none and none can be made."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
    try:
        return os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DirectoryInUseError(
            f"{path} is in use by another process: wait until it ends, stop it, or choose another "
            "directory."
        ) from error
    except OSError as error:
        warnings.warn(
            f"{path} cannot be locked ({os.strerror(error.errno or 0)}): start no second training "
            "in it.",
            stacklevel=4,
        )
