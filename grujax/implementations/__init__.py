"""How the recurrence runs over time: one room per value of `implementation=`.

    implementation   runs on                       dtypes     hidden size      None picks it
    "plain"          everything                    all        any              no: the reference
    "scan"           everything                    all        any              where no kernel runs
    "native"         CPU, once it is built         float32    any              if it is faster: see
                                                   bfloat16   any                `native.is_faster`
    "cuda"           NVIDIA GPU from capability    float32    ≤ 256            yes
                     9.0 on, with NVRTC            bfloat16   ≤ 512            yes
                     from 7.5 on                   these      ≤ 128            yes
    "tpu"            TPU                           float32    ≤ 2048           no: it has never
                                                   bfloat16   ≤ 2816             run on one
    "newton"         everything                    all        any              no: see
                                                                                 `grujax.newton_report`

All take both reset forms and every mask. Tracing depends on dtype and hidden size alone: these say
which kernels the program may use. Which of them runs, or the scan, is decided where the program is
lowered for a platform (`grujax.implementations.primitive.lowering`), so a program traced on one
machine is the same as on any other. Sequences without steps or rows, those of symbolic sizes, and
those with a `reset_state` for each step run by "plain".
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any, get_args

from jax import Array

from grujax.checks import check_choice
from grujax.implementations import cuda, native, newton, plain, scan, tpu
from grujax.implementations.derivatives import of_each, run
from grujax.implementations.layout import is_batch_major
from grujax.implementations.primitive import KernelOptions, make_rules
from grujax.implementations.truncated import Run, truncate
from grujax.implementations.types import Implementation, RecurrenceArgs

__all__ = ["Implementation", "Run", "choose"]

_RUN: dict[str, Run] = {
    "plain": of_each(plain.run),
    "scan": partial(run, scan.RULES),
    "newton": partial(run, newton.RULES),
}

# Each kernel says which parameters and dtypes it `supports`, and `require` raises ValueError unless
# this process can run it.
_KERNELS: dict[str, ModuleType] = {"native": native, "cuda": cuda, "tpu": tpu}
_DEFAULT_KERNELS = ("native", "cuda")


def choose(implementation: str | None, stop_gradient_every: int | None = None) -> Run:
    """The function that runs recurrences by this implementation; by the best one if None.

    Raises:
        ValueError: if there is no such implementation, or this process cannot run it. The function
            raises one if the implementation does not support the dtype or the hidden size.
    """
    run = _choose(implementation)
    return run if stop_gradient_every is None else truncate(run, stop_gradient_every)


def _choose(implementation: str | None) -> Run:
    check_choice("implementation", implementation, get_args(Implementation), optional=True)
    if implementation in _RUN:
        return _RUN[implementation]
    if implementation is not None:
        _KERNELS[implementation].require()
    return partial(_run_kernels, implementation)


def _run_kernels(name: str | None, recurrences: list[RecurrenceArgs]) -> list[tuple[Array, Array]]:
    """By this kernel, or, if None, by that of the platform that the program is lowered for."""
    if len(set(map(_size_of, recurrences))) > 1:
        return of_each(lambda args: _run_kernels(name, [args])[0])(recurrences)
    args = recurrences[0]
    names = tuple(
        name
        for name in (_DEFAULT_KERNELS if name is None else (name,))
        if _KERNELS[name].supports(args.params, args.xs.dtype)
    )
    if names:
        options = KernelOptions(names, is_batch_major(), is_named=name is not None)
        return run(make_rules(options), recurrences)
    if name is None:
        return run(scan.RULES, recurrences)
    kernel: Any = _KERNELS[name]
    raise ValueError(
        f'`implementation="{name}"` {kernel.SUPPORTS}, got {args.xs.dtype.name}, H = '
        f"{args.params.hidden_size}, reset_after={args.params.reset_after}: "
        '"scan" and "plain" take every dtype, size and form.'
    )


def _size_of(args: RecurrenceArgs) -> tuple[Any, ...]:
    """What recurrences of one call of a kernel have in common, besides the inputs' shape."""
    return args.xs.dtype, args.params.hidden_size, args.params.reset_after
