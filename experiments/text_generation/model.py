"""A character language model: a recurrent layer and a readout that predicts the next character.

Characters are one-hot vectors, so the cell's input weights are their embedding. Losses are in bits:
the bits of a character are −log2 of its predicted probability.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from experiments.common.cells import closest_size, parameter_shapes
from experiments.common.rivals.cells import RIVALS
from grujax.baselines import count_parameters

PyTree = Any
ROWS, STEPS = 32, 128  # the shape of the batches in which `text_bits` reads


class CharacterModel(NamedTuple):
    """The model's sizes, which determine its functions."""

    cell: str  # one of RIVALS
    num_symbols: int  # V
    hidden_size: int  # H

    def init(self, key: Array) -> dict[str, Any]:
        """Draws the parameters."""
        cell_key, readout_key = jax.random.split(key)
        shape = (self.hidden_size, self.num_symbols)
        return {
            "cell": RIVALS[self.cell].init(cell_key, self.num_symbols, self.hidden_size),
            "readout": jax.random.normal(readout_key, shape) / self.hidden_size**0.5,
            "bias": jnp.zeros(self.num_symbols),
        }

    def num_parameters(self) -> int:
        """The number of parameters."""
        return count_parameters(self.shapes())

    def shapes(self) -> dict[str, Any]:
        """The shapes and dtypes of the parameters."""
        return parameter_shapes(self.init)

    def initial_state(self, batch_size: int) -> PyTree:
        """The state before the first character, zeros [B, ...]."""
        return RIVALS[self.cell].initial_state((batch_size, self.hidden_size), jnp.float32)

    def read(self, params: dict[str, Any], state: PyTree, symbols: Array) -> tuple[PyTree, Array]:
        """Reads symbols [T, B]. Returns: the state, and logits of the next symbols [T, B, V]."""
        # Scaled to a mean square of 1 per component, as the initializer of the weights expects.
        xs = jax.nn.one_hot(symbols, self.num_symbols, dtype=params["readout"].dtype)
        state, outputs = RIVALS[self.cell].run(params["cell"], self.num_symbols**0.5 * xs, state)
        return state, outputs @ params["readout"] + params["bias"]

    def segment_bits(
        self, params: dict[str, Any], state: PyTree, segment: Array
    ) -> tuple[PyTree, Array]:
        """The state after a segment [T + 1, B], and the bits of all but its first row [T, B]."""
        state, logits = self.read(params, state, segment[:-1])
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, segment[1:].astype(int))
        return state, nats / jnp.log(2)

    def text_bits(self, params: dict[str, Any], symbols: ArrayLike) -> Array:
        """The bits of each symbol of a text [N] except the first, given all before it: [N − 1].

        The text is read in up to 32 pieces in parallel. Each piece starts without context, which
        costs a few bits.
        """
        symbols = jnp.asarray(symbols)
        count = len(symbols) - 1
        rows = min(ROWS, -(-count // STEPS))
        segments = -(-count // (rows * STEPS))
        length = segments * STEPS
        symbols = jnp.pad(symbols, (0, rows * length - count))
        starts = jnp.arange(segments)[:, None] * STEPS + jnp.arange(STEPS + 1)
        pieces = symbols[starts[..., None] + jnp.arange(rows) * length]
        step = partial(self.segment_bits, params)
        _, bits = jax.lax.scan(step, self.initial_state(rows), pieces)  # [segments, STEPS, rows]
        return bits.reshape(length, rows).T.reshape(-1)[:count]


@cache
def model_of_size(cell: str, num_symbols: int, parameters: int) -> CharacterModel:
    """The model with the number of parameters, readout included, closest to `parameters`."""

    def size(hidden_size: int) -> int:
        return CharacterModel(cell, num_symbols, hidden_size).num_parameters()

    return CharacterModel(cell, num_symbols, closest_size(size, parameters))
