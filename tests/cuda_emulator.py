"""Runs the CUDA kernel's launches on the host: `tests/cuda_emulation.cpp`, called back from XLA."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from helpers import COMPILER

from grujax.implementations.cuda_layouts import Layout

ROOT = Path(__file__).parent
KERNELS = ROOT.parent / "grujax" / "kernels"

# As few threads as a layout can have, with one block, two and four in a cluster.
SMALL_LAYOUTS = {
    "float32": (
        Layout(16, 1, 32, 4, 4),
        Layout(32, 2, 64, 8, 8),
        Layout(64, 4, 64, 16, 16),
    ),
    "bfloat16": (
        Layout(16, 1, 32, 4, 4),
        Layout(32, 2, 64),
        Layout(64, 4, 32),
    ),
}


@functools.cache
def emulator(definitions: tuple[tuple[str, int], ...]) -> ctypes.CDLL:
    folder = tempfile.mkdtemp(prefix="grujax-emulator-")
    library = Path(folder) / "emulator.so"
    flags = [
        "-std=c++20",
        "-O1",
        "-fvisibility=hidden",
        "-fPIC",
        "-shared",
        "-pthread",
        "-DEMULATED",
    ]
    flags += [f"-D{name}={value}" for name, value in definitions]
    source = ROOT / "cuda_emulation.cpp"
    command = [COMPILER, *flags, "-I", str(KERNELS), str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def emulated_call(launch, definitions, operands, results):
    """What takes the place of `cuda_launch.call`."""

    def run(*arrays):
        inputs = [np.ascontiguousarray(array) for array in arrays]
        outputs = [np.full(shape.shape, np.nan, shape.dtype) for shape in results]
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*inputs, *outputs)]
        emulator(tuple(sorted(definitions.items()))).emulate(
            launch.clusters, launch.shared_bytes, (ctypes.c_void_p * len(pointers))(*pointers)
        )
        return outputs

    shapes = [jax.ShapeDtypeStruct(shape.shape, shape.dtype) for shape in results]
    return jax.pure_callback(run, shapes, *map(jnp.asarray, operands))
