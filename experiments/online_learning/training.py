"""The trainings of `experiments.online_learning`: one task, one method, one learning rate each."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import grujax
from experiments.online_learning.methods import (
    Method,
    Network,
    exact_gradient,
    init_network,
    outputs,
)
from experiments.online_learning.settings import Settings, Split
from experiments.online_learning.tasks import Task, Window, join

HELD_OUT = 64  # windows of a stream on which errors are measured
Curves = dict[str, list[float]]
Loop = tuple[Network, Any, Any]  # the network, the optimizer's state, the method's carry


class Bench(NamedTuple):
    """What all trainings of a task share: settings, and compiled functions."""

    settings: Settings
    task: Task
    draw: Callable[[Split, int], Window]  # (split, seed) -> all windows of a training, NumPy
    init: Callable[[Array], Network]
    measure: Callable[[Network, Window], tuple[Array, Array]]  # on joined windows
    exact_gradient: Callable[[Network, Window], Network]  # on joined windows


def make_bench(settings: Settings, task: Task) -> Bench:
    """Compiles what all trainings of a task share."""
    num = max(settings.updates, settings.online_windows, HELD_OUT)

    @partial(jax.jit, static_argnums=0)
    def draw(split: Split, seed: Array) -> Window:
        return task.draw(split, jax.random.key(seed), num, settings.batch_size)

    init = partial(
        init_network, task=task, hidden_size=settings.hidden_size, update_bias=settings.update_bias
    )
    return Bench(
        settings,
        task,
        lambda split, seed: jax.tree.map(np.asarray, draw(split, seed)),
        jax.jit(init),
        jax.jit(partial(measure, task)),
        jax.jit(partial(exact_gradient, task)),
    )


def make_optimizer(settings: Settings, rate: float | Array) -> optax.GradientTransformation:
    """Adam with clipped gradients; its state does not depend on the rate, which may be traced."""
    clip = optax.clip_by_global_norm(settings.max_gradient_norm)
    return optax.chain(clip, optax.adam(rate))


def apply_gradient(
    settings: Settings, network: Network, state: Any, gradient: Network, rate: Array
) -> tuple[Network, Any]:
    """One update of a network and the optimizer's state."""
    changes, state = make_optimizer(settings, rate).update(gradient, state, network)
    return optax.apply_updates(network, changes), state


def measure(task: Task, network: Network, held_out: Window) -> tuple[Array, Array]:
    """The mean loss and the mean error, [] each, of a stretch that begins with states of zero."""
    made = outputs(network, grujax.gru(network.cell, held_out.xs)[1])
    values = task.losses(made, held_out.targets), task.errors(made, held_out.targets)
    loss, error = ((held_out.weights * x).sum() / held_out.weights.sum() for x in values)
    return loss, error


def cosine(one: Any, other: Any) -> float:
    """The cosine of the angle between two pytrees of arrays of the same structure."""
    x, y = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(t)]) for t in (one, other))
    return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-30))


def make_train(bench: Bench, method: Method) -> Callable[..., Curves]:
    """Returns `train(seed, rate, split, probes=True)`; it compiles once, at the first call.

    Equal seeds give equal networks and equal streams, whatever the method. The curves have one
    value for each evaluation, the first before the first update: "updates", "loss" and "error" on
    the held-out stream of `split`, and with `probes` "cosine", that of the angle between the
    method's gradient and the exact one, for the recurrent weights.
    """
    settings, task = bench.settings, bench.task
    rows = settings.batch_size
    init = jax.jit(lambda network, key: method.init(network, rows, key))

    @jax.jit
    def run_block(loop: Loop, windows: Window, keys: Array, rate: Array) -> tuple[Loop, Network]:
        """Some updates; also returns the sum of their gradients."""

        def update(loop: tuple[Loop, Network], inputs: Any) -> tuple[Any, None]:
            (network, state, carry), total = loop
            window, key = inputs
            if not task.is_stream:
                carry = method.init(network, rows, key)
            carry, found = method.gradient(network, carry, window)
            network, state = apply_gradient(settings, network, state, found, rate)
            return ((network, state, carry), jax.tree.map(jnp.add, total, found)), None

        zeros = jax.tree.map(jnp.zeros_like, loop[0])
        return jax.lax.scan(update, (loop, zeros), (windows, keys))[0]

    def probe(network: Network, state: Any, windows: Window, keys: Array) -> float:
        """The cosine on a block that begins with states of zero; a rate of 0 changes nothing."""
        _, found = run_block((network, state, init(network, keys[0])), windows, keys, 0.0)
        exact = bench.exact_gradient(network, join(windows, task.is_stream))
        return cosine(found.cell, exact.cell)

    def train(seed: int, rate: float, split: Split, probes: bool = True) -> Curves:
        network = bench.init(jax.random.key(seed))
        keys = jax.random.split(jax.random.key(30_000 + seed), settings.updates)
        optimizer_state = make_optimizer(settings, rate).init(network)
        loop: Loop = (network, optimizer_state, init(network, keys[0]))
        stream = bench.draw("train", seed)
        held_out = bench.draw(split, {"validation": 10_000, "test": 20_000}[split])
        probed = cut(held_out, 0, settings.block)
        held_out = join(cut(held_out, 0, HELD_OUT), task.is_stream)
        curves: Curves = {name: [] for name in ("updates", "loss", "error", "cosine")}
        for start in range(0, settings.updates + 1, settings.block):
            if start % settings.every == 0:
                network, state, _ = loop
                loss, error = bench.measure(network, held_out)
                asked = (network, state, probed, keys[: settings.block])
                angle = probe(*asked) if probes else float("nan")
                for name, value in zip(curves, (start, loss, error, angle), strict=True):
                    curves[name].append(float(value))
            if start < settings.updates:
                windows = cut(stream, start, settings.block)
                loop, _ = run_block(loop, windows, keys[start : start + settings.block], rate)
        return curves

    return train


def cut(windows: Window, start: int, number: int) -> Window:
    """Some of the windows [N, ...], from the one with index `start` on."""
    return jax.tree.map(lambda x: x[start : start + number], windows)
