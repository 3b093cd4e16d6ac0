"""The file: its parsed content, its version, and its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from grujax.convert.checks import require

ONNX = ("", "ai.onnx")  # the domain of ONNX's own operators
OLDEST_OPSET = 7  # of today's GRU node, but for what later opsets added


def read_model(path: Path) -> Any:
    """Parses an ONNX file; does not read the external data yet.

    Raises:
        ValueError: if the file is not a whole ONNX model.
        OSError: if the file cannot be read: it is missing, or a folder.
    """
    onnx = require("onnx")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"`{path}` must be a file on the disk, got a device or a pipe.")
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # the parser of each format has errors of its own
        raise ValueError(
            f"`{path}` must be a whole ONNX file; it cannot be parsed ({first_line(error)})."
        ) from error
    if not model.HasField("graph"):
        raise ValueError(f"`{path}` must be an ONNX file; it has no graph.")
    return model


def read_opset(path: Path, model: Any) -> int:
    """The version of ONNX's own operators that the model uses."""
    newest = require("onnx").defs.onnx_opset_version()
    versions = [entry.version for entry in model.opset_import if entry.domain in ONNX]
    if len(versions) != 1 or not OLDEST_OPSET <= versions[0] <= newest:
        got = ", ".join(map(str, versions)) or "none"
        raise ValueError(
            f"`{path}` must have one opset from {OLDEST_OPSET} to {newest}, the newest that the "
            f"installed onnx knows, got {got}."
        )
    return versions[0]


def read_tensor(name: str, tensor: Any, folder: Path) -> np.ndarray:
    """The array of a tensor that is stored in the file, or in a file beside it."""
    onnx = require("onnx")
    try:
        if any(size < 0 for size in tensor.dims):
            raise ValueError(f"its shape is {list(tensor.dims)}")
        return onnx.numpy_helper.to_array(tensor, str(folder))
    except Exception as error:  # of the file system, of onnx, or of NumPy
        raise ValueError(
            f"The tensor `{name}` of the file cannot be read ({first_line(error)})."
        ) from error


def first_line(error: Exception) -> str:
    """The reason of another library's error, on one line."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
