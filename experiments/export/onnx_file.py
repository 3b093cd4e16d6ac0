"""ONNX files with a checksum, which any program can load.

A file is a serialized message followed by another one, which holds only the entry "sha256" of the
metadata. Protocol buffers merge what is concatenated: the entry becomes one of the model's.
"""

import hashlib
from pathlib import Path

import onnx
import onnxruntime

from experiments.common.durable import DamagedFileError, naming, write_durably

KEY = "sha256"


def write_onnx(path: Path, model: onnx.ModelProto) -> None:
    """Writes a model atomically. Raises OSError: the file cannot be written."""
    content = model.SerializeToString()
    write_durably(path, content + _checksum(content))


def read_onnx(path: Path) -> onnxruntime.InferenceSession:
    """Loads a model to run on the CPU. A file of version 0.1 has no checksum.

    Raises:
      DamagedFileError: the file has a wrong checksum, or is no model.
      OSError: it cannot be read.
    """
    with naming(path):
        content = path.read_bytes()
    size = len(content) - len(_checksum(b""))
    if KEY.encode() in content[max(size, 0) :] and _checksum(content[:size]) != content[size:]:
        raise DamagedFileError(f"{path} is damaged: it does not have the checksum of its content.")
    try:
        return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors have no common class of their own
        reason = str(error).splitlines()[0]
        raise DamagedFileError(f"{path} is damaged, or no ONNX model ({reason}).") from error


def _checksum(content: bytes) -> bytes:
    """The second message of a file."""
    entry = onnx.StringStringEntryProto(key=KEY, value=hashlib.sha256(content).hexdigest())
    return onnx.ModelProto(metadata_props=[entry]).SerializeToString()
