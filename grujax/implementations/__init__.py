"""How the recurrence runs over time: one file each, all with the same signature.

    run(params, xs, h0, reset_state, masks, reverse) -> (h_last, hs)

    params       GRUParams, in the dtype of the result, as everything else
    xs           [T, B, I], zero where a step does not exist
    h0           [B, H]
    reset_state  [B, H], what the state is set to where `masks.starts`
    masks        which steps exist, which start afresh, which units keep their state: `Masks`
    reverse      walk from T − 1 to 0

`hs [T, B, H]` is zero where a step does not exist, and `h_last [B, H]` is the state at the end of
the walk. `grujax.sequence` makes these arguments from the public ones.
"""

from collections.abc import Callable
from functools import partial

from jax import Array

from grujax.implementations import default, newton, plain, scan
from grujax.implementations.truncated import truncate
from grujax.implementations.types import Masks, Walk
from grujax.params import GRUParams

Run = Callable[[GRUParams, Array, Array, Array, Masks, bool], tuple[Array, Array]]
RunBoth = Callable[[Walk, Walk], tuple[tuple[Array, Array], tuple[Array, Array]]]

_RUN: dict[str, Run] = {
    "plain": plain.run,
    "scan": scan.run,
    "newton": newton.run,
    **{name: partial(default.run_kernel, name) for name in default.KERNELS},
}


def choose(implementation: str | None, stop_gradient_every: int | None = None) -> Run:
    """The `run` of the implementation with this name; of the best one where the name is None."""
    run = _choose(implementation)
    return run if stop_gradient_every is None else truncate(run, stop_gradient_every)


def choose_for_both(implementation: str | None, stop_gradient_every: int | None = None) -> RunBoth:
    """The same for two walks over one `xs`, forward and backward, of equal or unequal sizes."""
    run = choose(implementation, stop_gradient_every)
    has_kernel = implementation is None or implementation in default.KERNELS
    if has_kernel and stop_gradient_every is None:
        return partial(default.run_both, run, implementation)
    return lambda forward, backward: (run(*forward), run(*backward))


def _choose(implementation: str | None) -> Run:
    if implementation is None:
        return default.run
    if implementation not in _RUN:
        names = ", ".join(f'"{name}"' for name in _RUN)
        raise ValueError(
            f"`implementation` must be None or one of {names}, got {implementation!r}."
        )
    if implementation in default.KERNELS:
        default.KERNELS[implementation].check()
    return _RUN[implementation]
