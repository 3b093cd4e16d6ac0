"""The kernels, and what runs where `implementation` is None.

    platform      kernel    dtype               units    reset form     where it cannot
    CPU           native    float32, bfloat16   any      both           scan, or does not pay
    NVIDIA GPU    cuda      float32             ≤ 256    both           scan
                            bfloat16            ≤ 512    both           scan
    any other     none                                                  scan

and by name alone, as it has never run on one,

    TPU           tpu       float32             ≤ 2048   both           scan
                            bfloat16            ≤ 2816   both           scan

Where the native kernel does not pay stands in `native.pays`.

What can be known of a program before it is lowered, dtype and units, is asked here; the platform is
known when it is lowered (`grujax.implementations.primitive.calls`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from jax import Array

from grujax.implementations import cuda, native, scan, tpu
from grujax.implementations.layout import is_batch_major
from grujax.implementations.passes import are_alike, run_both_passes, run_passes
from grujax.implementations.primitive import passes as kernel_passes
from grujax.implementations.primitive.calls import Kernels
from grujax.implementations.types import Masks, Walk
from grujax.params import GRUParams

# Each says which parameters and dtypes it `takes`, whether it `may_run` as far as is known without
# a device, and, for one who asks for it by name, `check`s that it can.
KERNELS: dict[str, ModuleType] = {"native": native, "cuda": cuda, "tpu": tpu}


def run(
    params: GRUParams, xs: Array, h0: Array, reset_state: Array, masks: Masks, reverse: bool
) -> tuple[Array, Array]:
    """By the best kernel of the platform, or by the scan."""
    names = _kernels_for(params, xs)
    if not names:
        return scan.run(params, xs, h0, reset_state, masks, reverse)
    passes = kernel_passes.of_one(Kernels(names, is_batch_major()))
    return run_passes(passes, params, xs, h0, reset_state, masks, reverse)


def run_kernel(
    name: str,
    params: GRUParams,
    xs: Array,
    h0: Array,
    reset_state: Array,
    masks: Masks,
    reverse: bool,
) -> tuple[Array, Array]:
    """By this kernel."""
    kernel: Any = KERNELS[name]
    if not kernel.takes(params, xs.dtype):
        raise ValueError(
            f'`implementation="{name}"` {kernel.SUPPORTS}, got {xs.dtype.name}, H = '
            f"{params.hidden_size}, reset_after={params.reset_after}: "
            '"scan" and "plain" take every dtype, size and form.'
        )
    passes = kernel_passes.of_one(Kernels((name,), is_batch_major()))
    return run_passes(passes, params, xs, h0, reset_state, masks, reverse)


def run_both(
    run_one: Callable[..., tuple[Array, Array]], name: str | None, forward: Walk, backward: Walk
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Two walks over one `xs`, side by side where they are alike, else each by `run_one`."""
    names = _kernels_for(forward.params, forward.xs)
    names = names if name is None else tuple({name} & set(names))
    if names and are_alike(forward, backward):
        passes = kernel_passes.of_both(Kernels(names, is_batch_major()))
        return run_both_passes(passes, forward, backward)
    return run_one(*forward), run_one(*backward)


def _kernels_for(params: GRUParams, xs: Array) -> tuple[str, ...]:
    return tuple(
        name
        for name, kernel in KERNELS.items()
        if kernel.takes(params, xs.dtype) and kernel.may_run()
    )
