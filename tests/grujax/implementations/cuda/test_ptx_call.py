"""The custom call of XLA that takes PTX: what JAX writes is what XLA reads."""

import re

import jax
import jax.numpy as jnp

from grujax.implementations.cuda import ptx_call

# As XLA reads them for its target `__gpu$xla.gpu.ptx`: strings, and 32-bit integers.
ATTRIBUTES = {
    "name": '"a_kernel"',
    "kernel_type": '"ptx"',
    "kernel_data": '"some PTX"',
    "grid_x": "3 : i32",
    "grid_y": "1 : i32",
    "grid_z": "1 : i32",
    "block_x": "64 : i32",
    "block_y": "1 : i32",
    "block_z": "1 : i32",
    "shared_mem_bytes": "512 : i32",
}


def test_jax_writes_the_attributes_that_xla_reads():
    def run(x):
        return ptx_call.call("a_kernel", "some PTX", 3, 64, 512, [x], [x])

    shape = jax.ShapeDtypeStruct((4,), jnp.float32)
    text = jax.jit(run).trace(shape).lower(lowering_platforms=("cuda",)).as_text()
    changed = f"JAX {jax.__version__} writes the custom call for PTX in another way:\n{text}"
    assert f"custom_call @{ptx_call.TARGET}(" in text, changed
    config = re.search(r"mhlo\.backend_config = \{(.*?)\}", text)
    assert config, changed
    assert all(f"{name} = {value}" in config[1] for name, value in ATTRIBUTES.items()), changed
