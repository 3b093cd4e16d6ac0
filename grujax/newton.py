"""What Newton's method does with a sequence: whether, and how fast, all steps at once converge."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.implementations import newton
from grujax.implementations.passes import Inputs, flatten_batch, has_steps
from grujax.params import GRUParams
from grujax.sequence import as_walk


class NewtonReport(NamedTuple):
    """How `implementation="newton"` fares with a sequence, see `newton_report`."""

    iterations: Array  # [], int32
    residual: Array  # [B]
    converged: Array  # [B] bool
    fell_back: Array  # [] bool


def newton_report(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
    zoneout: ArrayLike = 0.0,
    recurrent_dropout: ArrayLike = 0.0,
    key: Array | None = None,
    method: str | None = None,
    max_iterations: int = newton.MAX_ITERATIONS,
) -> NewtonReport:
    """How `gru(..., implementation="newton")` fares with a sequence: all of its steps at once.

    Whether it pays is seen from the iterations: each costs about as much as a whole pass that has
    no recurrence, where the scan takes T small steps one after the other.

    Args:
        params: and all others up to `key` as in `grujax.gru`.
        method: `"dense"`, iterations with the whole Jacobian of each step, or `"diagonal"`, with
            its diagonal: more iterations, with H times less memory. None: what `gru` takes, the
            Jacobian for H ≤ 4.
        max_iterations: as many, and no more; `gru` takes 100.

    Returns:
        `NewtonReport`:

        - `iterations`: until the last row had converged, or until it was given up.
        - `residual [B]`: the largest error of a single step, |f(h_{t−1}, x_t) − h_t|, in units of
          max(1, |h0|), over all steps and units of the row. NaN where a row has become NaN.
        - `converged [B]`: whether that is rounding alone, at most max(8, √H)·ε with ε the spacing
          of floating-point numbers at 1, of float32 where the inputs have less. The error of the
          states then is that of the scan up to about this factor.
        - `fell_back`: whether a row has not converged, so that `gru` runs all of them by the scan,
          after it has spent the iterations in vain.

    Raises:
        ValueError: as `grujax.gru`; for an unknown `method` or a `max_iterations` below 1; if time
            or batch is symbolic, where `gru` runs step by step.

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
        https://arxiv.org/abs/2407.19115 (diagonal, damping). The method, its certificate and why
        it fails on networks in chaos: `grujax.implementations.newton`.
    """
    walk = as_walk(
        params,
        xs,
        h0,
        lengths=lengths,
        resets=resets,
        reset_state=reset_state,
        reverse=reverse,
        zoneout=zoneout,
        recurrent_dropout=recurrent_dropout,
        key=key,
    )
    given = Inputs(walk.params, walk.xs, walk.h0, walk.reset_state)
    method = _check_method(method, given.h0.shape[-1])
    _check_max_iterations(max_iterations)
    batch = given.h0.shape[:-1]
    if not has_steps(given.xs):
        return _without_steps(given, batch)
    found = newton.solve(*flatten_batch(given, walk.masks), reverse, method, int(max_iterations))
    converged = found.converged()
    return NewtonReport(
        iterations=found.iterations,
        residual=found.residual.reshape(batch),
        converged=converged.reshape(batch),
        fell_back=~jnp.all(converged),
    )


def _without_steps(inputs: Inputs, batch: tuple[int, ...]) -> NewtonReport:
    sizes = inputs.xs.shape[:-1]
    if not all(isinstance(size, int) for size in sizes):
        raise ValueError(
            f"`newton_report` needs to know time and batch, got {list(map(str, sizes))}: where "
            'they are symbolic, `implementation="newton"` runs step by step.'
        )
    dtype = jnp.promote_types(inputs.xs.dtype, jnp.float32)
    return NewtonReport(
        iterations=jnp.zeros((), jnp.int32),
        residual=jnp.zeros(batch, dtype),
        converged=jnp.ones(batch, bool),
        fell_back=jnp.zeros((), bool),
    )


def _check_method(method: Any, hidden_size: int) -> str:
    if method is None:
        return newton.choose_method(hidden_size)
    if method not in ("dense", "diagonal"):
        raise ValueError(f'`method` must be None, "dense" or "diagonal", got {method!r}.')
    return method


def _check_max_iterations(value: Any) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`max_iterations` must be a positive integer, got {value!r}.")
