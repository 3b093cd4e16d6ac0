"""Compiles training steps of the Flax layers for an H100 that is not there, as JSON.

Run by `tests/test_cuda_program.py` in a process of its own: JAX's CUDA plugin is told here that it
may go without a driver, and which GPU there would be.
"""

import json
import os
import re

os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
# Without a device XLA cannot try which of its matrix products is fastest; cuBLAS has one.
os.environ["XLA_FLAGS"] = "--xla_gpu_enable_triton_gemm=false"

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from grujax import linen
from grujax.implementations import kernel_passes

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
STEPS, BATCH, INPUTS, UNITS, MODELS = 100, 48, 96, 128, 4

LAYERS = {
    "one direction": linen.GRU(UNITS),
    "reset before": linen.GRU(UNITS, reset_after=False),
    "both directions": linen.BidirectionalGRU(UNITS),
    "two layers": linen.StackedGRU(UNITS, num_layers=2),
    "padded units": linen.GRU(UNITS - 20),
    "bfloat16, several blocks": linen.GRU(2 * UNITS, dtype=jnp.bfloat16),
    "models": linen.GRU(UNITS),
    "two devices": linen.GRU(UNITS),
}


def training_step(name: str):
    """A function and the shapes of its arguments."""
    layer = LAYERS[name]
    xs = jax.ShapeDtypeStruct((BATCH, STEPS, INPUTS), layer.dtype or jnp.float32)
    lengths = jax.ShapeDtypeStruct((BATCH,), jnp.int32)

    def init(key):
        return layer.init(key, jnp.zeros(xs.shape, xs.dtype))

    def loss(variables, xs, lengths):
        _, hs = layer.apply(variables, xs, lengths=lengths)
        return (hs.astype(jnp.float32) ** 2).sum()

    if name == "models":
        keys = jax.random.split(jax.random.key(0), MODELS)
        variables = jax.eval_shape(jax.vmap(init), keys)
        return jax.vmap(jax.grad(loss), (0, None, None)), (variables, xs, lengths)
    variables = jax.eval_shape(init, jax.random.key(0))
    return jax.grad(loss, (0, 1)), (variables, xs, lengths)


def compile_for_h100(function, variables, *data, devices: int = 1) -> str:
    """XLA's program for one device, after all that it optimises; each has its rows of the data."""
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=H100, topology=f"1x{devices}x1"
    )
    mesh = Mesh(np.array(topology.devices), ("data",))

    def placed(arrays, *axes: str):
        there = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=there), arrays
        )

    with jax.set_mesh(mesh):
        traced = jax.jit(function).trace(placed(variables), *placed(data, "data"))
        return traced.lower(lowering_platforms=("cuda",)).compile().as_text()


def passes_over_memory(program: str) -> list[str]:
    """Instructions that do nothing but write a sequence as it already is somewhere else."""
    found = re.findall(r"= (\w+\[([\d,]+)\])\S* (transpose|copy)\(", program)
    sequence = STEPS * BATCH * INPUTS
    return [
        f"{kind} {shape}"
        for shape, sizes, kind in found
        if np.prod([int(size) for size in sizes.split(",")]) >= sequence
    ]


def main() -> None:
    # As where a GPU is JAX's default backend.
    kernel_passes._keeping = lambda kernels: lambda inputs: True
    report = {}
    for name in LAYERS:
        function, arguments = training_step(name)
        devices = 2 if name == "two devices" else 1
        program = compile_for_h100(function, *arguments, devices=devices)
        report[name] = {
            "launches": len(re.findall(r'custom_call_target="__gpu\$xla.gpu.ptx"', program)),
            "products": program.count('custom_call_target="__cublas'),
            "biases": program.count('"epilogue":"BIAS"'),
            "sums over devices": len(re.findall(r" all-reduce(-start)?\(", program)),
            "passes": passes_over_memory(program),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
