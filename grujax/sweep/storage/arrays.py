"""Arrays in .npz files, which keep every dtype and know whether they are damaged.

NumPy's format has no name for bfloat16 and other dtypes of JAX: the comment of an entry says it.
The comment of the archive is the sha256 of all entries. `numpy.load` reads these files, too.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from grujax.sweep.storage.files import told, write_atomically

_CHECKSUM = b"sha256 "


class DamagedFileError(ValueError):
    """The content of a file is not what was written."""


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file atomically; afterwards it survives the process and the machine."""
    content, digest = BytesIO(), hashlib.sha256()
    with zipfile.ZipFile(content, "w") as archive:  # `np.savez` reserves the name `file`
        for name, value in arrays.items():
            array = np.asanyarray(value)
            entry = zipfile.ZipInfo(f"{name}.npy")
            has_name = np.dtype(array.dtype.str) == array.dtype
            entry.comment = b"" if has_name else array.dtype.name.encode()
            data = BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            archive.writestr(entry, data.getbuffer())
            _add(digest, entry, data.getbuffer())
        archive.comment = _CHECKSUM + digest.hexdigest().encode()
    write_atomically(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file.

    Raises:
        DamagedFileError: the file is cut or changed, or no .npz file.
        ValueError: the file cannot be read.
    """
    with told(path, "read"):
        content = path.read_bytes()
    try:
        return _parse(content)
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises many kinds
        reason = str(error).rstrip(".") or type(error).__name__
        raise DamagedFileError(f"{path} is damaged ({reason}).") from error


def add_prefix(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays under the names `prefix/name`."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def with_prefix(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `add_prefix`: the arrays that have the prefix, without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }


def _parse(content: bytes) -> dict[str, np.ndarray]:
    arrays, digest = {}, hashlib.sha256()
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for entry in archive.infolist():
            data = archive.read(entry)  # checks its CRC-32
            _add(digest, entry, data)
            array = _parse_array(data)
            dtype = np.dtype(entry.comment.decode()) if entry.comment else array.dtype
            arrays[entry.filename.removesuffix(".npy")] = array.view(dtype)
        comment = archive.comment
    end = len(content) - len(comment)
    if int.from_bytes(content[end - 2 : end], "little") != len(comment):
        raise ValueError("it is cut")
    if comment and comment != _CHECKSUM + digest.hexdigest().encode():
        raise ValueError("its sha256 differs")
    return arrays


def _parse_array(data: bytes) -> np.ndarray:
    """An array, without allocating more memory than its bytes take, whatever the header says."""
    file = BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    order: Any = "F" if is_fortran else "C"
    return np.ndarray(shape, dtype, data, file.tell(), order=order).copy(order)


def _add(digest: Any, entry: zipfile.ZipInfo, data: Any) -> None:
    """Adds an entry to the checksum: its name and dtype, its size, and its bytes."""
    head = f"{entry.filename}\0{entry.comment.decode()}\0{len(data)}\0"
    digest.update(head.encode())
    digest.update(data)
