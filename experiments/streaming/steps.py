"""One step of a stream, called from Python or in a compiled loop, and the memory of its state."""

import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.report.timing import time_interleaved
from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.transformer import WINDOW
from experiments.streaming.stream_cache import StreamCache, capacity_at, empty_cache, stream_step

PyTree = Any
KINDS = {  # what is timed, and its cell
    "gru": "gru",
    "lstm": "lstm",
    "transformer, window": "transformer",
    "transformer, growing": "transformer",
}


class Network(NamedTuple):
    """The parameters of a layer that reads a stream, and of its readout."""

    layer: PyTree  # of a cell in RIVALS
    readout: Array  # [H, V]
    bias: Array  # [V]


class Cost(NamedTuple):
    """The cost of one step."""

    call: float  # seconds of a call from Python
    loop: float  # seconds in a compiled loop
    memory: int  # bytes of the state


def step(cell: str, network: Network, state: PyTree, x: Array) -> tuple[PyTree, Array]:
    """Reads one step x [I]. Returns: the state, and the logits [V]."""
    if cell == "transformer":
        state, h = stream_step(network.layer, state, x)
    else:
        state = RIVALS[cell].step(network.layer, state, x[None])
        h = RIVALS[cell].output(state)[0]
    return state, h @ network.readout + network.bias


def read(cell: str, network: Network, state: PyTree, xs: Array) -> tuple[PyTree, Array]:
    """Reads steps xs [N, I]. Returns: the state, and the logits [N, V]."""
    return jax.lax.scan(partial(step, cell, network), state, xs)


def state_at(kind: str, network: Network, position: int) -> PyTree:
    """A state after this many steps, of random numbers.

    The state of a recurrent cell has one size. The cache of a Transformer has its window, or has
    doubled until it holds all steps.

    Args:
      kind: one of KINDS.
      network: the network.
      position: the number of steps.
    """
    key, hidden_size = jax.random.key(position), network.layer.hidden_size
    if KINDS[kind] != "transformer":
        state = RIVALS[KINDS[kind]].initial_state((1, hidden_size), jnp.float32)
        return jax.tree.map(partial(_draw, key), state)
    cache = empty_cache(hidden_size, capacity_at(position) if "growing" in kind else WINDOW)
    keys, values = jax.tree.map(partial(_draw, key), (cache.keys, cache.values))
    return StreamCache(keys, values, jnp.int32(position))


@cache
def _compiled(cell: str) -> tuple[Any, Any]:
    """`step` and `read`, whose states are written in place."""
    functions = (partial(step, cell), partial(read, cell))
    stepping, reading = (jax.jit(function, donate_argnums=1) for function in functions)
    return stepping, reading


class Stream:
    """A stream at some position, which reads on at each call of its functions."""

    def __init__(self, kind: str, network: Network, position: int, xs: np.ndarray):
        """Draws the state.

        Args:
          kind: one of KINDS.
          network: what reads.
          position: the steps before.
          xs: [N, I], the steps of the loop; a call reads the first one.
        """
        self.state = state_at(kind, network, position)
        self.network, self.x, self.xs = network, xs[0], jax.device_put(xs)
        self.step, self.read = _compiled(KINDS[kind])

    def call(self) -> np.ndarray:
        """Reads one step. Returns: the logits [V]."""
        self.state, logits = self.step(self.network, self.state, self.x)
        return np.asarray(logits)

    def loop(self) -> np.ndarray:
        """Reads N steps. Returns: the logits [N, V]."""
        self.state, logits = self.read(self.network, self.state, self.xs)
        return np.asarray(logits)

    def memory(self) -> int:
        """The bytes of the state."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.state))


def time_streams(
    streams: Mapping[Any, Stream], others: Mapping[Any, Callable[[], object]], seconds: float
) -> tuple[dict[Any, Cost], dict[Any, float]]:
    """Times all streams in turn, and with their calls those of other functions.

    A call is timed alone, by the clock. A loop is timed by the processor, as other processes would
    interrupt it.

    Args:
      streams: by name.
      others: functions by name.
      seconds: the time budget.

    Returns: the costs of the streams, and the seconds of the others: medians.
    """
    names = {repr(name): name for name in (*streams, *others)}
    runs = {text: others.get(name) or streams[name].call for text, name in names.items()}
    calls = time_interleaved(runs, seconds / 2, max_rounds=100, turn_seconds=1e-9)
    runs = {text: streams[name].loop for text, name in names.items() if name in streams}
    loops = time_interleaved(runs, seconds / 2, clock=time.process_time)
    call, loop = (
        {names[text]: float(np.median(values)) for text, values in times.items()}
        for times in (calls, loops)
    )
    costs = {
        name: Cost(call[name], loop[name] / len(stream.xs), stream.memory())
        for name, stream in streams.items()
    }
    return costs, {name: call[name] for name in others}


def _draw(key: Array, like: Array) -> Array:
    return jax.random.normal(key, like.shape)
