"""ONNX files with a checksum, which any program can load.

A file is a serialized message followed by another one, which holds only the entry "sha256" of the
metadata. Protocol buffers merge what is concatenated: the entry becomes one of the model's.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from experiments.common.durable import DamagedFileError, first_line, naming, write_durably

KEY = "sha256"
LARGEST_DIFFERENCE = 1e-3  # between JAX and onnxruntime, as a share of the largest output


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
        raise DamagedFileError(
            f"{path} is damaged, or no ONNX model ({first_line(error)})."
        ) from error


def export_model(
    path: Path,
    model: onnx.ModelProto,
    run_jax: Callable[..., Sequence[Any]],
    examples: Sequence[dict[str, np.ndarray]],
) -> None:
    """Writes a model whose outputs in onnxruntime are those of JAX, and prints the difference.

    Args:
      path: the file.
      model: the model.
      run_jax: takes the model's inputs by name, and returns its outputs in order.
      examples: inputs to compare; their shapes differ.

    Raises:
      RuntimeError: an output differs by more than rounding; nothing is written.
      OSError: the file cannot be written.
    """
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = 0.0
    for inputs in examples:
        expected = map(np.asarray, run_jax(**inputs))
        for value, ours, theirs in zip(
            session.get_outputs(), expected, session.run(None, inputs), strict=True
        ):
            difference = float(np.abs(ours - theirs).max())
            if not difference <= LARGEST_DIFFERENCE * max(1.0, float(np.abs(ours).max())):
                raise RuntimeError(
                    f"{path} is not written: JAX and onnxruntime differ by {difference:.1e} in "
                    f"{value.name}."
                )
            largest = max(largest, difference)
    write_onnx(path, model)
    print(f"{path}\nJAX and onnxruntime differ by at most {largest:.1e}.")


def _checksum(content: bytes) -> bytes:
    """The second message of a file."""
    entry = onnx.StringStringEntryProto(key=KEY, value=hashlib.sha256(content).hexdigest())
    return onnx.ModelProto(metadata_props=[entry]).SerializeToString()
