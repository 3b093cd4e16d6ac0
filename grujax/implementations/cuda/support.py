"""The recurrence as one CUDA kernel a pass on NVIDIA GPUs (`src/gru.cu`).

A scan launches ten kernels and more a step; here the whole sequence is one launch forward and one
backward, with the recurrent weights in registers from the first step to the last. Around them stand
XLA's matrix products over all steps (`grujax.implementations.cuda.calls`). The derivation of the
gradient stands in `grujax.implementations.scan`.

Models under `vmap`, and both directions of a bidirectional layer, are one launch: each has clusters
of blocks of its own. Under `vmap` over data alone, the mapped axis is one more axis of the batch.

Limits. GPUs of compute capability 9.0 and later (Hopper), float32 with H ≤ 256 and bfloat16 with
H ≤ 512. float32 is that in every product: no TF32. With `reset_after=False` a step has two products
one after the other, and two barriers. Memory: the gates are kept between the two passes, 4·T·B·H
numbers in float32, or 3; the projected inputs and two gradients of the gates, or one, 3·T·B·H
numbers each, live while a pass runs. The kernel takes arrays time-major and batch-major as they
lie, so that those of the Flax modules are not transposed.

The kernel is compiled by NVRTC, which `jax[cuda13]` brings, and reaches XLA by its custom call for
PTX, which is not a public interface. So it is tried out against the scan before its first use in a
process; where it fails, one warning says so and the scan runs. `GRUJAX_CUDA=0` turns it off.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.implementations import scan
from grujax.implementations.cuda import calls as cuda_calls
from grujax.implementations.cuda import nvrtc
from grujax.implementations.cuda.layouts import UNITS, takes
from grujax.implementations.native.building import KernelError
from grujax.implementations.passes import Inputs, Kept
from grujax.implementations.primitive.model_batch import Stack
from grujax.implementations.types import Masks
from grujax.params import GRUParams

__all__ = ["SUPPORTS", "can_run", "check", "may_run", "takes"]

SUPPORTS = "computes in " + " and ".join(
    f"{dtype} with H ≤ {units}" for dtype, units in UNITS.items()
)
# What the self-test tries, (dtype, H, reset_after), and how far off it may be, relative to the
# largest entry: one block, and clusters of blocks with either product.
_TRIED = {("float32", 40, True): 1e-4, ("float32", 200, False): 1e-4, ("bfloat16", 200, True): 4e-2}
_log = logging.getLogger("grujax")


def may_run() -> bool:
    """Whether what compiles the kernel is installed. Starts no device."""
    return nvrtc.is_installed()


def check() -> None:
    """Raises ValueError if no GPU of this process can run the kernel."""
    reason = _why_not(_devices()) if _devices() else "This process has no NVIDIA GPU."
    if reason:
        raise ValueError(
            f'`implementation="cuda"` cannot run; "scan" and "plain" can. It needs a GPU of '
            "compute capability "
            f"{'.'.join(map(str, nvrtc.CAPABILITY))} or later, and NVRTC. {reason}"
        )


@functools.cache
def can_run() -> bool:
    """Whether a program for a GPU may hold the kernel; one log line if not.

    Where this process has no GPU, the program is for another machine, and nothing can be tried.
    """
    reason = _why_not(_devices())
    if reason is None:
        return True
    level = logging.WARNING if _fails_its_test(reason) else logging.INFO
    _log.log(level, "grujax runs its scan instead of the CUDA kernel: %s", reason)
    return False


def _devices() -> list[Any]:
    try:
        return jax.local_devices(backend="cuda")
    except RuntimeError:
        return []


def _fails_its_test(reason: str) -> bool:
    return "self-test" in reason


def _why_not(devices: list[Any]) -> str | None:
    if not nvrtc.is_installed():
        return "NVRTC or JAX's CUDA plugin is not installed, or GRUJAX_CUDA is 0."
    for device in devices:
        capability = tuple(int(number) for number in device.compute_capability.split("."))
        if capability < nvrtc.CAPABILITY:
            return f"{device.device_kind} has compute capability {device.compute_capability}."
    return _self_test() if devices else None


@functools.cache
def _self_test() -> str | None:
    """Both passes beside the scan's on this process's first GPU."""
    for (dtype, units, reset_after), tolerance in _TRIED.items():
        try:
            with jax.ensure_compile_time_eval(), jax.default_matmul_precision("highest"):
                error = _error(dtype, units, reset_after)
        except (KernelError, RuntimeError) as failure:
            return f"its self-test does not run: {failure}"
        if not error <= tolerance:
            return (
                f"its self-test is off by {error:.1e} in {dtype} with H = {units}, "
                f"reset_after={reset_after}."
            )
    return None


def _error(dtype: str, units: int, reset_after: bool) -> float:
    """The largest error of both passes, relative to the largest entry of each result."""
    inputs, masks = _example(dtype, units, reset_after)
    shared = jax.tree.map(lambda _: False, (inputs, masks))
    stack = Stack(None, True, True)

    def by_scan(inputs: Inputs, masks: Masks) -> Any:
        h_last, hs, gates = scan.forward_pass(True, True, inputs, masks)
        kept = Kept(inputs, masks, hs, gates)
        return h_last, hs, scan.backward_pass(True, kept, h_last, hs)

    def by_kernel(inputs: Inputs, masks: Masks) -> Any:
        h_last, hs, gates = cuda_calls.forward(stack, shared, True, inputs, masks)
        kept = Kept(inputs, masks, hs, gates)
        own = jax.tree.map(lambda _: False, kept), False, False
        return h_last, hs, cuda_calls.backward(stack, own, kept, h_last, hs)

    def run(function: Any) -> list[np.ndarray]:
        placed = jax.device_put((inputs, masks), _devices()[0])
        results = jax.tree.leaves(_compile_fast(function, *placed)(*placed))
        return [np.asarray(leaf.astype(np.float32)) for leaf in results]

    errors = [
        np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
        for got, want in zip(run(by_kernel), run(by_scan), strict=True)
    ]
    return float(np.max(errors))  # NaN if one is


def _compile_fast(function: Any, *arguments: Any) -> Any:
    """Without looking for the fastest matrix products, which takes longer than all else."""
    lowered = jax.jit(function).lower(*arguments)
    try:
        return lowered.compile({"xla_gpu_autotune_level": "0"})
    except RuntimeError:  # an XLA that has not this option
        return lowered.compile()


def _example(dtype: str, units: int, reset_after: bool) -> tuple[Inputs, Masks]:
    steps, batch = 3, 3
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return jnp.asarray(rng.normal(size=shape, scale=shape[-1] ** -0.5), dtype)

    params = GRUParams(
        normal(3, 5, units), normal(3, units, units), normal(3, units), normal(units), reset_after
    )
    inputs = Inputs(params, normal(steps, batch, 5), normal(batch, units), normal(batch, units))
    masks = Masks(
        exists=jnp.arange(steps)[:, None] < jnp.array([steps, 1, 0]),
        starts=jnp.asarray(rng.random((steps, batch)) < 0.3),
        zoneout=jnp.asarray(0.2, jnp.float32),
        scale=jnp.asarray(rng.integers(0, 2, (batch, units)), jnp.float32),
    )
    return inputs, masks
