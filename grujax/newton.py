"""A report on `implementation="newton"`: whether, and how fast, it converges for a sequence."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.checks import check_choice, check_integer
from grujax.implementations import newton
from grujax.implementations.derivatives import flatten_batch, has_steps, of_each
from grujax.implementations.types import RecurrenceArgs
from grujax.jax_support.batching import sequential_vmap_on_cpu
from grujax.jax_support.promotion import wide_dtype
from grujax.jax_support.pytrees import register
from grujax.params import GRUParams
from grujax.sequence import prepare_args


@register
class NewtonReport(NamedTuple):
    """How `implementation="newton"` performs on a sequence; see `newton_report`."""

    iterations: Array  #: [], int32
    residual: Array  #: [B], at least float32
    converged: Array  #: [B] bool
    fell_back: Array  #: [] bool


def newton_report(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
    zoneout: ArrayLike = 0.0,
    recurrent_dropout: ArrayLike = 0.0,
    key: Array | None = None,
    method: Literal["dense", "diagonal"] | None = None,
    max_iterations: int = newton.MAX_ITERATIONS,
) -> NewtonReport:
    """How `gru(..., implementation="newton")`, which runs all steps at once, performs.

    The iterations tell whether it is worth using: each costs about as much as a layer without
    recurrence, while the scan takes T small steps one after the other.

    Args:
        params: this and all others up to `key` are as in `grujax.gru`.
        xs: `[T, B, I]`.
        h0: broadcast against `[B, H]`.
        lengths: `[B]`.
        mask: `[T, B]` bool.
        resets: `[T, B]` bool.
        reset_state: broadcast against `[B, H]`; not a state for each step, nor another than `h0`
            with both `reverse` and `lengths`.
        reverse: run backward in time.
        zoneout: a rate.
        recurrent_dropout: a rate.
        key: a JAX random key.
        method: `"dense"` iterates with the whole Jacobian of each step, `"diagonal"` with its
            diagonal: more iterations, but H times less memory. None is the choice of `gru`:
            `"dense"` for H ≤ 4, else `"diagonal"`.
        max_iterations: the most iterations; `gru` takes up to 100.

    Returns:
        `NewtonReport`:

        - `iterations`: until the last row converged, or the method gave up.
        - `residual [B]`: the largest error of a single step, `|f(h_{t−1}, x_t) − h_t|`, relative
          to `max(1, |h0|)`, over all steps and units of the row. NaN where a row has become NaN.
        - `converged [B]`: whether the residual is rounding alone, at most max(8, √H)·ε, where ε is
          the spacing of floating-point numbers at 1, in at least float32. The error of the states
          then is that of the scan up to about this factor.
        - `fell_back`: whether a row has not converged. Then `gru` runs all rows by the scan, and
          the iterations were wasted.

    Raises:
        ValueError: as `grujax.gru`; for an unknown `method` or a `max_iterations` below 1; if time
            or batch is symbolic, in which case `gru` runs step by step.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> xs = jax.random.normal(jax.random.key(1), (100, 2, 8))
        >>> report = newton_report(params, xs)
        >>> bool(report.iterations < 25), report.converged.tolist(), bool(report.fell_back)
        (True, [True, True], False)

    Reference:
        Lim et al. 2023, https://arxiv.org/abs/2309.12252 (dense); Gonzalez et al. 2024,
        https://arxiv.org/abs/2407.19115 (diagonal, damping). `grujax.implementations.newton.rules`
        explains the method, its certificate, and why it fails on chaotic networks.
    """
    args = prepare_args(
        params,
        xs,
        h0,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reset_state=reset_state,
        reverse=reverse,
        zoneout=zoneout,
        recurrent_dropout=recurrent_dropout,
        key=key,
    )
    if args.reset_states is not None:
        raise ValueError(
            "`reset_state` must be one state for all steps, and `h0` with both `reverse` and "
            "`lengths`: `gru` runs all others step by step, without Newton's method."
        )
    method_name = _check_method(method, args.h0.shape[-1])
    max_iterations = check_integer("max_iterations", max_iterations)
    if not has_steps(args.xs):
        return _report_without_steps(args)
    find = sequential_vmap_on_cpu(
        partial(_find_residuals, method=method_name, max_iterations=max_iterations),
        lambda args: args.params,
    )
    ((residual, converged, iterations),) = meshes.run_own_rows(of_each(find), [args], (0, 0, 0))
    return NewtonReport(
        iterations=iterations.max(),
        residual=residual,
        converged=converged,
        fell_back=~jnp.all(converged),
    )


def _find_residuals(
    args: RecurrenceArgs, method: str, max_iterations: int
) -> tuple[Array, Array, Array]:
    """Of each row, `[B]`: the residual, whether it converged, and the iterations of its device."""
    (flat,) = flatten_batch([args])
    result = newton.solve(flat, method, max_iterations)
    iterations = jnp.full_like(result.residual, result.iterations, jnp.int32)
    of_rows = result.residual, result.converged(), iterations
    residual, converged, iterations = (array.reshape(args.h0.shape[:-1]) for array in of_rows)
    return residual, converged, iterations


def _report_without_steps(args: RecurrenceArgs) -> NewtonReport:
    sizes, batch = args.xs.shape[:-1], args.h0.shape[:-1]
    if not all(isinstance(size, int) for size in sizes):
        raise ValueError(
            f"`newton_report` needs to know time and batch, got {list(map(str, sizes))}: where "
            'they are symbolic, `implementation="newton"` runs step by step.'
        )
    dtype = wide_dtype(args.xs.dtype)
    return NewtonReport(
        iterations=jnp.zeros((), jnp.int32),
        residual=jnp.zeros(batch, dtype),
        converged=jnp.ones(batch, bool),
        fell_back=jnp.zeros((), bool),
    )


def _check_method(method: Any, hidden_size: int) -> str:
    if method is None:
        return newton.choose_method(hidden_size)
    return check_choice("method", method, ("dense", "diagonal"), optional=True)
