"""How the recurrence runs over time: one room per value of `implementation=`.

    implementation   runs on                       dtypes     hidden size      None picks it
    "plain"          everything                    all        any              no: the reference
    "scan"           everything                    all        any              where no kernel runs
    "native"         CPU, once it is built         float32    any              if it is faster: see
                                                   bfloat16   any                `native.is_faster`
    "cuda"           NVIDIA GPU from capability    float32    ≤ 256            yes
                     9.0 on, with NVRTC            bfloat16   ≤ 512            yes
    "tpu"            TPU                           float32    ≤ 2048           no: it has never
                                                   bfloat16   ≤ 2816             run on one
    "newton"         everything                    all        any              no: see
                                                                                 `grujax.newton_report`

All take both reset forms and every mask. Tracing depends on dtype and hidden size alone: these say
which kernels the program may use. Which of them runs, or the scan, is decided where the program is
lowered for a platform (`grujax.implementations.primitive.lowering`), so a program traced on one
machine is the same as on any other. Sequences without steps or rows, and those of symbolic sizes,
run by "plain".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, get_args

from jax import Array

from grujax.checks import check_choice
from grujax.implementations import cuda, native, newton, plain, scan, tpu, vjp
from grujax.implementations.layout import is_batch_major
from grujax.implementations.primitive import KernelOptions, make_rules
from grujax.implementations.truncated import Run, truncate
from grujax.implementations.types import Implementation, RecurrenceArgs

__all__ = ["Implementation", "Run", "RunBoth", "choose", "choose_for_both"]

RunBoth = Callable[
    [RecurrenceArgs, RecurrenceArgs], tuple[tuple[Array, Array], tuple[Array, Array]]
]

_RUN: dict[str, Run] = {"plain": plain.run, "scan": scan.run, "newton": newton.run}

# Each kernel says which parameters and dtypes it `supports`, and `require` raises ValueError unless
# this process can run it.
_KERNELS: dict[str, ModuleType] = {"native": native, "cuda": cuda, "tpu": tpu}
_DEFAULT_KERNELS = ("native", "cuda")


def choose(implementation: str | None, stop_gradient_every: int | None = None) -> Run:
    """The function that runs a recurrence by this implementation; by the best one if None.

    Raises:
        ValueError: if there is no such implementation, or this process cannot run it. The function
            raises one if the implementation does not support the dtype or the hidden size.
    """
    run = _choose(implementation)
    return run if stop_gradient_every is None else truncate(run, stop_gradient_every)


def choose_for_both(implementation: str | None, stop_gradient_every: int | None = None) -> RunBoth:
    """The same for two recurrences over one `xs`, forward and backward in time.

    Kernels run both in one call if their sizes are equal.
    """
    run = choose(implementation, stop_gradient_every)

    def run_both(
        forward: RecurrenceArgs, backward: RecurrenceArgs
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        options = _kernel_options(implementation, forward)
        has_kernel = bool(options.names) and stop_gradient_every is None
        if has_kernel and vjp.can_run_both(forward, backward):
            return vjp.run_both(make_rules(options, both=True), forward, backward)
        return run(forward), run(backward)

    return run_both


def _choose(implementation: str | None) -> Run:
    if implementation is None:
        return _run_best
    check_choice("implementation", implementation, get_args(Implementation), optional=True)
    if implementation in _RUN:
        return _RUN[implementation]
    _KERNELS[implementation].require()
    return partial(_run_kernel, implementation)


def _run_best(args: RecurrenceArgs) -> tuple[Array, Array]:
    """By the kernel of the platform that the program is lowered for, or by the scan."""
    options = _kernel_options(None, args)
    return vjp.run(make_rules(options), args) if options.names else scan.run(args)


def _run_kernel(name: str, args: RecurrenceArgs) -> tuple[Array, Array]:
    """By this kernel."""
    options = _kernel_options(name, args)
    if not options.names:
        kernel: Any = _KERNELS[name]
        raise ValueError(
            f'`implementation="{name}"` {kernel.SUPPORTS}, got {args.xs.dtype.name}, H = '
            f"{args.params.hidden_size}, reset_after={args.params.reset_after}: "
            '"scan" and "plain" take every dtype, size and form.'
        )
    return vjp.run(make_rules(options), args)


def _kernel_options(name: str | None, args: RecurrenceArgs) -> KernelOptions:
    """The kernels that support these arguments, of all that None picks or of this one."""
    names = _DEFAULT_KERNELS if name is None else (name,)
    supported = tuple(
        name
        for name in names
        if name in _KERNELS and _KERNELS[name].supports(args.params, args.xs.dtype)
    )
    return KernelOptions(supported, is_batch_major())
