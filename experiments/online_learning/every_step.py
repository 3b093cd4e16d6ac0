"""Learning at every step: the parameters change while RTRL's influence is carried on.

The influence is then a mixture of the derivatives at old parameters and at new ones. With the
learning rate, this makes the gradient less exact; on the other hand, a stream of N windows of T
steps gives N·T updates in place of N. The flip-flop is learned both ways, from the same stream.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import grujax
from experiments.online_learning.methods import Network, make_method, step_gradient
from experiments.online_learning.records import Records
from experiments.online_learning.settings import Settings
from experiments.online_learning.tasks import Window, join, make_task
from experiments.online_learning.training import (
    HELD_OUT,
    Bench,
    apply_gradient,
    cut,
    make_bench,
    make_optimizer,
)
from grujax import online

MODES = ("every step", "every window")
CHECKS = 4  # times during a training at which gradients are compared
REACH = 4  # windows through which the exact gradient of the last one goes back

# (network, optimizer state, carry, window, rate) -> the first three; the window's gradient, and
# the parameters at which it is compared with the exact one
Advance = Callable[..., tuple[Network, Any, Any, Network, Network]]


class Online(NamedTuple):
    """One mode: R learning rates, S seeds."""

    rates: np.ndarray  # [R]
    errors: np.ndarray  # [R, S], on the test stream at the end
    deviations: np.ndarray  # [R, S], ‖g − g_exact‖ / ‖g_exact‖, the mean of CHECKS windows

    @property
    def median_deviations(self) -> np.ndarray:
        """[R]: over the seeds, for the mean says little where one of them diverged."""
        return np.median(np.nan_to_num(self.deviations, nan=np.inf, posinf=np.inf), axis=1)


def compare_modes(settings: Settings, records: Records) -> dict[str, Online]:
    """Trains in each mode at each learning rate, where there is no record."""
    bench = make_bench(settings, make_task("flip_flop", settings))
    makers = (advance_every_step(bench), advance_every_window(bench))
    results = {}
    for mode, advance in zip(MODES, makers, strict=True):
        found = [
            [
                records.get(
                    f"{mode.replace(' ', '_')}/seed-{seed}-rate-{rate:g}",
                    partial(_train, bench, advance, rate, seed),
                )
                for seed in range(settings.seeds)
            ]
            for rate in settings.online_rates
        ]
        errors, deviations = np.moveaxis(np.array(found), -1, 0)
        results[mode] = Online(np.array(settings.online_rates), errors, deviations)
    return results


def _train(bench: Bench, advance: Advance, rate: float, seed: int) -> list[float]:
    """[error, deviation] of one training, see `Online`."""
    settings = bench.settings
    network = bench.init(jax.random.key(seed))
    state = make_optimizer(settings, rate).init(network)
    stream = bench.draw("train", seed)
    carry = first_carry(bench, network)
    deviations = []
    for i in range(settings.online_windows):
        window = jax.tree.map(lambda x: x[i], stream)  # noqa: B023
        network, state, carry, found, at = advance(network, state, carry, window, rate)
        if (i + 1) % (settings.online_windows // CHECKS) == 0 and i + 1 >= REACH:
            seen = cut(stream, i + 1 - REACH, REACH)
            deviations.append(deviation(found, bench.exact_gradient(at, last_asked(seen))))
    held_out = cut(bench.draw("test", 20_000), 0, HELD_OUT)
    _, error = bench.measure(network, join(held_out, bench.task.is_stream))
    return [float(error), float(np.mean(deviations))]


def first_carry(bench: Bench, network: Network) -> online.Carry:
    """RTRL's carry of zero states."""
    zeros = jnp.zeros((bench.settings.batch_size, bench.settings.hidden_size))
    return online.rtrl(grujax.gru_cell).init(network.cell, zeros)


def last_asked(windows: Window) -> Window:
    """Windows [N, T, B, ...] of a stream, joined; only the losses of the last one count."""
    weights = windows.weights.copy()
    weights[:-1] = 0
    return join(windows._replace(weights=weights), True)


def deviation(found: Network, exact: Network) -> float:
    """The relative error ‖g − g_exact‖ / ‖g_exact‖ of the recurrent weights' gradient."""
    g, g_exact = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(network.cell)]).astype(float)
        for network in (found, exact)
    )
    if not np.isfinite(g).all():
        return float("inf")
    return float(np.linalg.norm(g - g_exact) / max(np.linalg.norm(g_exact), 1e-30))


def advance_every_step(bench: Bench) -> Advance:
    """The parameters change at each step; the gradient is the sum of those that were used."""
    method = online.rtrl(grujax.gru_cell)

    def step(loop: Any, inputs: tuple[Window, Array]) -> tuple[Any, None]:
        network, state, carry, total = loop
        moment, rate = inputs
        carry, part = step_gradient(bench.task, method, network, carry, moment)
        network, state = apply_gradient(bench.settings, network, state, part, rate)
        return (network, state, carry, jax.tree.map(jnp.add, total, part)), None

    @jax.jit
    def advance(network: Network, state: Any, carry: Any, window: Window, rate: Array) -> Any:
        start = (network, state, carry, jax.tree.map(jnp.zeros_like, network))
        found = jax.lax.scan(step, start, (window, jnp.full(len(window.xs), rate)))[0]
        return (*found, found[0])

    return advance


def advance_every_window(bench: Bench) -> Advance:
    """The parameters change after each window; the influence is carried on."""
    method = make_method("rtrl", bench.task)

    @jax.jit
    def advance(network: Network, state: Any, carry: Any, window: Window, rate: Array) -> Any:
        carry, found = method.gradient(network, carry, window)
        after = apply_gradient(bench.settings, network, state, found, rate)
        return (*after, carry, found, network)

    return advance
