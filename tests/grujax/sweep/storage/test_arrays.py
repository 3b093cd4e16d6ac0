"""Files of arrays keep dtypes, and no changed or missing byte goes unnoticed."""

import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from grujax.sweep.storage import DamagedFileError, read_arrays, write_arrays

ARRAYS = {
    "a/bfloat16": np.array([1.5, np.nan], jnp.bfloat16),
    "b/float8": np.array([[1.5], [2]], jnp.float8_e4m3fn),
    "c": np.array([3, -4], jnp.int4),
    "file": np.array(True),
    "e": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
    "f": np.array([1j, 2], np.complex64),
    "g": np.array(["ä", "bc"]),
    "h": np.zeros((0, 3), np.float16),
    "i": np.array(2**63 - 1),
}


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        assert got[name].tobytes() == array.tobytes(), name


def test_arrays_read_back_with_their_dtypes(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    arrays = read_arrays(tmp_path / "a.npz")
    assert_same(arrays, ARRAYS)
    assert all(array.flags.writeable for array in arrays.values())
    with np.load(tmp_path / "a.npz") as file:
        assert file["f"].tolist() == [1j, 2]
        assert file["a/bfloat16"].view(jnp.bfloat16).tolist()[0] == 1.5


def test_files_of_numpy_read_back(tmp_path):
    plain = {name: ARRAYS[name] for name in "efgh"}
    np.savez(tmp_path / "a.npz", **plain)
    assert_same(read_arrays(tmp_path / "a.npz"), plain)


def test_no_damage_goes_unnoticed(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {name: ARRAYS[name] for name in ("a/bfloat16", "e")})
    content, whole = path.read_bytes(), read_arrays(path)
    unnoticed = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            arrays = read_arrays(path)
        except DamagedFileError:
            continue
        assert_same(arrays, whole)  # the byte means nothing, such as the time
        unnoticed += 1
    assert unnoticed < len(content) / 4
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match=r"a.npz is damaged \("):
            read_arrays(path)


def test_no_memory_is_allocated_for_a_size_that_only_the_header_has(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", data + b"1234")
    with pytest.raises(DamagedFileError, match=r"a.npz is damaged"):
        read_arrays(tmp_path / "a.npz")


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DamagedFileError, match="Python objects"):
        read_arrays(tmp_path / "a.npz")
