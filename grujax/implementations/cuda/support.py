"""The recurrence as one CUDA kernel per pass, for NVIDIA GPUs.

A scan launches ten kernels and more per step. Here the whole sequence is one launch forward and one
backward, with the recurrent weights in registers from the first step to the last. XLA computes the
matmuls over all steps around it (`grujax.implementations.cuda.rules`). The gradient is derived in
`grujax.implementations.scan.rules`.

Models under `vmap`, and both directions of a bidirectional layer, are one launch, in which each has
its own clusters of blocks. Under `vmap` over data alone, the mapped axis is one more batch axis.

Limits. GPUs of compute capability 9.0 and later (Hopper), float32 with H ≤ 256 and bfloat16 with
H ≤ 512; from 7.5 on (Turing, Ampere, Ada), which have no clusters, both with H ≤ 128. Products in
float32 are exact to float32: no TF32. With `reset_after=False` a step has two products one after
the other, and two barriers. Memory: the gates, where they are saved between the passes, 4·T·B·H
numbers in float32, or 3; while a pass runs, the projected inputs and two gradients of the gates, or
one, 3·T·B·H numbers each. The kernel reads time-major and batch-major arrays in place, so arrays of
the Flax modules are not transposed.

NVRTC, which `jax[cuda13]` brings, compiles the kernel. XLA runs it by a custom call for PTX that is
not a public interface (`grujax.implementations.cuda.ptx_call`). So the kernel is checked against
the scan before its first use in a process; where it fails, one warning says so and the scan runs.
`GRUJAX_CUDA=0` turns the kernel off.
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
from grujax.implementations.cuda import nvrtc
from grujax.implementations.cuda.devices import OLDEST, Device, capability_of, local_gpus, target
from grujax.implementations.cuda.layouts import MOST_HIDDEN, most_hidden
from grujax.implementations.cuda.ptx_call import TRIED_WITH
from grujax.implementations.cuda.rules import backward, forward
from grujax.implementations.library_cache import KernelError
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.types import RecurrenceArgs, Residuals, StepMasks
from grujax.jax_support.concrete import compute_now
from grujax.params import GRUParams

SUPPORTS = "computes in " + " and ".join(
    f"{dtype} with H ≤ {units}" for dtype, units in MOST_HIDDEN.items()
)
# The cases of the self-test, (dtype, H, reset_after), and the largest error, relative to the
# largest entry: one block, and clusters of blocks with either kind of product. What a device does
# not hold is not tested there.
_SELF_TESTS = {
    ("float32", 40, True): 1e-4,
    ("float32", 100, False): 1e-4,
    ("bfloat16", 100, True): 4e-2,
    ("float32", 200, False): 1e-4,
    ("bfloat16", 200, True): 4e-2,
}
_log = logging.getLogger("grujax")


def require() -> None:
    """Raises ValueError if no GPU of this process can run the kernel."""
    gpus = local_gpus()
    reason = _why_not(gpus) if gpus else "This process has no NVIDIA GPU."
    if reason:
        capability = ".".join(map(str, OLDEST))
        raise ValueError(
            '`implementation="cuda"` cannot run; "scan" and "plain" can. It needs a GPU of compute '
            f"capability {capability} or later, and NVRTC. {reason}"
        )


@functools.cache
def passes_self_test() -> bool:
    """Whether a program for a GPU may use the kernel; logs one line if not.

    Without a GPU in this process the program is for another machine, and only the installation is
    checked.
    """
    reason = _why_not(local_gpus())
    if reason is None:
        return True
    level = logging.WARNING if "self-test" in reason else logging.INFO
    _log.log(level, "grujax runs its scan instead of the CUDA kernel: %s", reason)
    return False


def why_too_large(device: Device, dtype: Any, units: int) -> str:
    """Says that a device does not hold these units; "" if it does."""
    most = most_hidden(device, dtype)
    if units <= most:
        return ""
    capability = ".".join(map(str, device.capability))
    return f" of compute capability {capability}, which holds H ≤ {most}, got H = {units}"


def _why_not(gpus: list[Any]) -> str | None:
    if not nvrtc.is_installed():
        return "NVRTC or JAX's CUDA plugin is not installed, or GRUJAX_CUDA is 0."
    for gpu in gpus:
        if capability_of(gpu) < OLDEST:
            return f"{gpu.device_kind} has compute capability {gpu.compute_capability}."
    return _self_test() if gpus else None


@functools.cache
def _self_test() -> str | None:
    """Compares both passes with the scan on the first GPU; returns what is wrong, or None."""
    for (dtype, units, reset_after), tolerance in _SELF_TESTS.items():
        if why_too_large(target(), dtype, units):
            continue
        try:
            with compute_now(), jax.default_matmul_precision("highest"):
                error = _error(dtype, units, reset_after)
        except (KernelError, RuntimeError) as failure:
            versions = ", ".join(TRIED_WITH)
            return (
                f"its self-test fails to run, with JAX {jax.__version__} (tried with JAX "
                f"{versions}): {failure}"
            )
        if not error <= tolerance:
            return (
                f"its self-test has an error of {error:.1e} in {dtype} with H = {units}, "
                f"reset_after={reset_after}."
            )
    return None


def _error(dtype: str, units: int, reset_after: bool) -> float:
    """The largest error of both passes, relative to the largest entry of each result."""
    args = _example(dtype, units, reset_after)
    device, batch = target(), ModelBatch(1, (True,))

    def run_scan(args: RecurrenceArgs) -> Any:
        h_last, hs, gates = scan.forward_pass(args, True)
        return h_last, hs, scan.backward_pass(Residuals(args, hs, gates), h_last, hs)

    def run_kernel(args: RecurrenceArgs) -> Any:
        is_batched: Any = jax.tree.map(lambda _: False, (args,))
        outputs = forward(device, batch, is_batched, args, keep_gates=True)
        h_last, hs, gates = jax.tree.map(lambda of_models: of_models[0], outputs)
        arguments = Residuals(args, hs, gates), h_last, hs
        is_batched = jax.tree.map(lambda _: False, arguments)
        gradient = backward(device, batch, is_batched, *arguments)
        return h_last, hs, jax.tree.map(lambda of_models: of_models[0], gradient)

    def run(function: Any) -> list[np.ndarray]:
        placed = jax.device_put(args, local_gpus()[0])
        results = jax.tree.leaves(_compile_fast(function, placed)(placed))
        return [np.asarray(leaf.astype(np.float32)) for leaf in results]

    errors = [
        np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
        for got, want in zip(run(run_kernel), run(run_scan), strict=True)
    ]
    return float(np.max(errors))  # NaN if one is


def _compile_fast(function: Any, *arguments: Any) -> Any:
    """Compiles without searching for the fastest matmuls, which would take longer than the rest."""
    lowered = jax.jit(function).lower(*arguments)
    try:
        return lowered.compile({"xla_gpu_autotune_level": "0"})
    except RuntimeError:  # an XLA without this option
        return lowered.compile()


def _example(dtype: str, units: int, reset_after: bool) -> RecurrenceArgs:
    steps, batch = 3, 3
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return jnp.asarray(rng.normal(size=shape, scale=shape[-1] ** -0.5), dtype)

    params = GRUParams(
        normal(3, 5, units), normal(3, units, units), normal(3, units), normal(units), reset_after
    )
    primals = params, normal(steps, batch, 5), normal(batch, units), normal(batch, units)
    masks = StepMasks(
        valid=jnp.arange(steps)[:, None] < jnp.array([steps, 1, 0]),
        restart=jnp.asarray(rng.random((steps, batch)) < 0.3),
        zoneout_rate=jnp.asarray(0.2, jnp.float32),
        recurrent_dropout_mask=jnp.asarray(rng.integers(0, 2, (batch, units)), jnp.float32),
    )
    return RecurrenceArgs(*primals, masks, reverse=True)
