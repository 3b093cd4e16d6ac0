"""Whole programs around the CUDA kernel, compiled by XLA for GPUs that are not there."""

import importlib.util
import json
import os
import subprocess
import sys

import jax
import pytest

from grujax.implementations.cuda import nvrtc
from tests.helpers import ROOT

needs_plugin = pytest.mark.skipif(
    not nvrtc.is_installed() or importlib.util.find_spec("flatbuffers") is None,
    reason="JAX's CUDA plugin is not installed",
)


@pytest.fixture(scope="module")
def programs():
    """The report of `tests/fixtures/cuda/programs.py` on each program."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JAX_PLATFORMS": "cpu",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        # Without a device XLA cannot try which of its matrix products is fastest; cuBLAS has one.
        "XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false",
    }
    command = [sys.executable, str(ROOT / "tests" / "fixtures" / "cuda" / "programs.py")]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert run.returncode == 0, f"XLA of JAX {jax.__version__} does not compile it:\n{run.stderr}"
    return json.loads(run.stdout)


# Launches and matrix products of a training step; that of the models has no gradients of inputs.
ON_H100 = {
    "one direction": (2, 4),
    "reset before": (2, 5),
    "both directions": (2, 4),
    "two layers": (4, 8),
    "padded units": (2, 4),
    "bfloat16, several blocks": (2, 4),
    "models": (2, 3),
    "two devices": (2, 4),
}
ON_EACH = {"": (2, 4), ", bfloat16": (2, 4), ", reset before": (2, 5)}
# What the kernel is compiled for on GPUs of capability 7.5, 8.0, 8.6 and 8.9.
BEFORE_HOPPER = {"T4": "75", "A100": "80", "A10": "80", "L4": "80"}
STEPS = {name: (*numbers, "90") for name, numbers in ON_H100.items()} | {
    gpu + what: (*numbers, capability)
    for gpu, capability in BEFORE_HOPPER.items()
    for what, numbers in ON_EACH.items()
}


@needs_plugin
@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_has_only_its_launches_and_products(programs, name):
    """No array as large as the sequence is transposed or copied, though Flax is batch-major.

    The only exceptions are the outputs of both directions, which are concatenated, and their
    gradients.
    """
    launches, products, capability = STEPS[name]
    found = programs[name]
    assert found["capabilities"] == [capability]
    assert (found["launches"], found["products"]) == (launches, products)
    assert found["biases"] == launches / 2
    assert len(found["passes"]) == (2 if name == "both directions" else 0), found["passes"]
    assert (found["sums over devices"] > 0) == (name == "two devices")
