"""The kinds of gradients that are compared, in one form.

bptt        backpropagation through time: exact in a window that begins anew. In a stream it goes
            back through this window and some earlier ones, and runs them again with the current
            parameters: BPTT(h; h′) of Williams & Peng 1990
tbptt-K     truncated: no gradient passes from one piece of K steps to the piece before
rtrl, snap-1, eprop, uoro    forward, by `grujax.online`; in a stream, what they carry passes on
readout     only the readout learns; the recurrent weights stay as they were drawn

A gradient is that of the loss of one window, with the parameters that the window began with.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import grujax
from experiments.online_learning.settings import MethodName
from experiments.online_learning.tasks import Task, Window
from grujax import online

Carry = Any


class Network(NamedTuple):
    """A GRU with a linear readout, or its gradient."""

    cell: grujax.GRUParams
    weights: Array  # [H, O]
    bias: Array  # [O]


class Method(NamedTuple):
    """A way to get gradients from a stream of windows."""

    init: Callable[[Network, int, Array], Carry]  # (network, B, key) -> the carry of zero states
    gradient: Callable[[Network, Carry, Window], tuple[Carry, Network]]  # with a window's


def make_method(name: MethodName, task: Task) -> Method:
    """Builds a method for a task."""
    cell = grujax.gru_cell
    makers: dict[MethodName, Callable[[], Method]] = {
        "bptt": lambda: _bptt(task),
        "rtrl": lambda: forward_method(task, online.rtrl(cell)),
        "tbptt-32": lambda: _truncated(task, 32),
        "tbptt-8": lambda: _truncated(task, 8),
        "tbptt-1": lambda: _truncated(task, 1),
        "snap-1": lambda: forward_method(task, online.snap(cell, order=1)),
        "eprop": lambda: forward_method(task, online.eprop(cell)),
        "uoro": lambda: forward_method(task, online.uoro(cell), needs_key=True),
        "readout": lambda: _readout_only(task),
    }
    return makers[name]()


def init_network(key: Array, task: Task, hidden_size: int, update_bias: float) -> Network:
    """Draws a network."""
    cell_key, readout_key = jax.random.split(key)
    bias = jax.nn.initializers.constant(update_bias)
    cell = grujax.init_gru(cell_key, task.input_size, hidden_size, update_bias_init=bias)
    weights = jax.random.normal(readout_key, (hidden_size, task.num_outputs)) / hidden_size**0.5
    return Network(cell, weights, jnp.zeros(task.num_outputs))


def outputs(network: Network, hs: Array) -> Array:
    """The readout [..., O] of states [..., H]."""
    return hs @ network.weights + network.bias


def sum_losses(task: Task, network: Network, hs: Array, window: Window) -> Array:
    """The loss [] of states hs [T, B, H]: a sum over steps, the mean over rows."""
    losses = task.losses(outputs(network, hs), window.targets)
    return (window.weights * losses).sum() / hs.shape[-2]


def exact_gradient(task: Task, network: Network, window: Window) -> Network:
    """The gradient through all steps of a window that begins with states of zero."""
    return jax.grad(lambda n: sum_losses(task, n, grujax.gru(n.cell, window.xs)[1], window))(
        network
    )


def _zeros(network: Network, rows: int, key: Array) -> Array:
    return jnp.zeros((rows, network.cell.hidden_size))


def _readout_only(task: Task) -> Method:
    def gradient(network: Network, h: Array, window: Window) -> tuple[Array, Network]:
        h, hs = grujax.gru(network.cell, window.xs, h)
        return h, jax.grad(lambda n: sum_losses(task, n, hs, window))(network)

    return Method(_zeros, gradient)


def _truncated(task: Task, k: int) -> Method:
    """One pass forward and back for each piece; the first one is shorter if k doesn't divide T."""

    def gradient(network: Network, h: Array, window: Window) -> tuple[Array, Network]:
        def loss(network: Network, h: Array, piece: Window) -> tuple[Array, Array]:
            h, hs = grujax.gru(network.cell, piece.xs, h)
            return sum_losses(task, network, hs, piece), h

        def advance(carry: tuple[Array, Network], piece: Window) -> tuple[Any, None]:
            h, total = carry
            part, h = jax.grad(loss, has_aux=True)(network, h, piece)
            return (h, jax.tree.map(jnp.add, total, part)), None

        rest, full = len(window.xs) % k, len(window.xs) // k
        carry = (h, jax.tree.map(jnp.zeros_like, network))
        if rest:
            carry, _ = advance(carry, jax.tree.map(lambda x: x[:rest], window))
        pieces = jax.tree.map(lambda x: x[rest:].reshape(full, k, *x.shape[1:]), window)
        carry, _ = jax.lax.scan(advance, carry, pieces)
        return carry

    return Method(_zeros, gradient)


class _History(NamedTuple):
    """The windows before the next one."""

    h: Array  # [B, H], the state before them
    xs: Array  # [history · T, B, I]
    exists: Array  # bool [history · T], false before the stream's first step


def _bptt(task: Task) -> Method:
    length = task.history * task.steps

    def init(network: Network, rows: int, key: Array) -> _History:
        xs = jnp.zeros((length, rows, task.input_size))
        return _History(_zeros(network, rows, key), xs, jnp.zeros(length, bool))

    def gradient(network: Network, past: _History, window: Window) -> tuple[_History, Network]:
        xs = jnp.concatenate([past.xs, window.xs])
        steps = len(window.xs)
        exists = jnp.concatenate([past.exists, jnp.ones(steps, bool)])

        def loss(network: Network) -> tuple[Array, Array]:
            mask = exists[:, None] if length else None
            _, hs = grujax.gru(network.cell, xs, past.h, mask=mask)
            return sum_losses(task, network, hs[length:], window), hs[steps - 1]

        total, h = jax.grad(loss, has_aux=True)(network)
        return _History(h, xs[steps:], exists[steps:]), total

    return Method(init, gradient)


def forward_method(task: Task, method: Any, *, needs_key: bool = False) -> Method:
    """A method of `grujax.online` as a `Method`.

    Args:
      task: whose losses are differentiated.
      method: such as `online.rtrl(cell)`.
      needs_key: whether its carry begins with a random key.
    """

    def init(network: Network, rows: int, key: Array) -> Carry:
        options = {"key": key} if needs_key else {}
        return method.init(network.cell, _zeros(network, rows, key), **options)

    def gradient(network: Network, carry: Carry, window: Window) -> tuple[Carry, Network]:
        def advance(loop: tuple[Carry, Network], step: Window) -> tuple[Any, None]:
            carry, total = loop
            carry, part = step_gradient(task, method, network, carry, step)
            return (carry, jax.tree.map(jnp.add, total, part)), None

        start = (carry, jax.tree.map(jnp.zeros_like, network))
        return jax.lax.scan(advance, start, window)[0]

    return Method(init, gradient)


def step_gradient(
    task: Task, method: Any, network: Network, carry: Carry, step: Window
) -> tuple[Carry, Network]:
    """The gradient of the loss of one step, a `Window` without the axis T."""
    carry, state = method.step(network.cell, carry, step.xs)

    def loss(network: Network, state: Array) -> Array:
        return sum_losses(task, network, state, step)

    readout, d_state = jax.grad(loss, (0, 1))(network, state)
    return carry, readout._replace(cell=method.gradient(carry, d_state))
