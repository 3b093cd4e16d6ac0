"""Arrays in the user's .npy files."""

from pathlib import Path

import numpy as np

from experiments.common.command import InputError


def load_array(path: Path) -> np.ndarray:
    """Reads one array of real numbers.

    Raises:
      FileNotFoundError: the file does not exist.
      InputError: the file holds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not a .npy file of numbers ({error}).") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; expected a .npy file of one array.")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of dtype {array.dtype}; expected real numbers.")
    return array
