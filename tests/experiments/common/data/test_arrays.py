"""Arrays of the user: what is read, and what is refused without taking memory."""

import contextlib

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.data import arrays
from experiments.common.data.arrays import load_array
from tests.fixtures.machine.memory import peak_memory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npy"


@pytest.mark.parametrize(
    "values",
    [np.arange(6.0).reshape(2, 3), np.zeros((0, 13)), np.int8(3), np.ones((2, 3, 4), "u2").T],
    ids=["2-D", "empty", "scalar", "Fortran order"],
)
def test_arrays_of_any_shape_are_read_into_memory(path, values):
    np.save(path, values)
    found = load_array(path)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    assert type(found) is np.ndarray
    assert found.flags.writeable


def header(shape: str, dtype: str = "<f4") -> bytes:
    """A .npy file of this header and a few values."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


@pytest.mark.parametrize(
    "shape",
    [
        "(300000000,)",
        "(10**9,)",
        "(1000000, 1000000)",
        "(9223372036854775807, 4)",
        "(-4,)",
        "(4, 'a')",
    ],
)
def test_a_header_that_asks_for_too_much_takes_no_memory(path, shape):
    path.write_bytes(header(shape))
    with peak_memory() as peak, pytest.raises(InputError, match=f"{path} is not a .npy file"):
        load_array(path)
    assert peak() < 1e7


def test_numbers_that_take_too_much_are_not_read(path):
    count = 130_000_000
    with path.open("wb") as file:  # a sparse file
        file.write(header(f"({count},)", "|u1"))
        file.truncate(count + 1000)
    with peak_memory() as peak, pytest.raises(InputError) as caught:
        load_array(path)
    assert "130,000,000 numbers, which take 1,040,000,000 bytes" in str(caught.value)
    assert peak() < 1e7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .npy file"),
        (b"text", "not a .npy file"),
        (b"\x93NUMPY\x01\x00\x05\x00{'a", "not a .npy file"),
        (header("(8,)")[:-64], "not a .npy file"),
        (header("(8,)", "|O"), "not a .npy file"),
        (header("(8,)", "<c8"), "dtype complex64; expected real numbers"),
        (header("(8,)", "<M8[s]"), "expected real numbers"),
        (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.", "not a .npy file"),
    ],
)
def test_other_files_are_refused_in_one_line(path, content, message):
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_array(path)
    assert "\n" not in str(caught.value)


def test_several_arrays_are_refused(path):
    with path.open("wb") as file:
        np.savez(file, a=1, b=2)
    with pytest.raises(InputError, match="holds several arrays"):
        load_array(path)


def test_damaged_files_are_refused_or_read(path):
    rng = np.random.default_rng(0)
    np.save(path, np.arange(20.0))
    intact = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        damaged = intact.copy()
        places = rng.integers(0, 128, 3)
        damaged[places] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(InputError):
            assert load_array(path).size * 8 <= arrays.LIMIT
