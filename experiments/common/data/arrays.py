"""Arrays in the user's .npy files."""

from pathlib import Path

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.user_files import LIMIT, check_file
from experiments.common.durable import first_line

_NUMBER = 8  # bytes of a number in the computations


def load_array(path: Path, kinds: str = "fiu") -> np.ndarray:
    """Reads one array of real numbers.

    The file is mapped before it is read: its header takes no memory, whatever size it states.

    Args:
      path: the file.
      kinds: the kinds of NumPy's dtypes that are read.

    Raises:
      InputError: there is no such file, or it holds anything else, or more than `LIMIT` bytes of
        numbers.
    """
    check_file(path)
    try:
        with np.errstate(over="ignore"):  # of the shape's product, which NumPy then refuses
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a broken file can raise anything
        reason = first_line(error).partition(". ")[0]
        raise InputError(f"{path} is not a .npy file of numbers ({reason}).") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; expected a .npy file of one array.")
    if array.dtype.kind not in kinds:
        raise InputError(f"{path} holds values of dtype {array.dtype}; expected real numbers.")
    size = array.size * max(array.itemsize, _NUMBER)
    if size > LIMIT:
        raise InputError(
            f"{path} holds {array.size:,} numbers, which take {size:,} bytes; at most {LIMIT:,} "
            "are read."
        )
    return np.array(array)
