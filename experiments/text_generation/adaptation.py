"""Dynamic evaluation: a character model that goes on learning from the text it is tested on.

The text is read in order, segment by segment. Each segment is first predicted, and then an
optimizer takes one step on its bits. So no character is used before it was predicted.

Reference: Krause et al. 2018, "Dynamic evaluation of neural sequence models",
https://arxiv.org/abs/1709.07432.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from experiments.text_generation.model import CharacterModel

PyTree = Any
STEPS = 64  # characters per segment, as in the training
# Chosen by the bits of the Bible's validation books with the small GRU: rates from 0.03 to 0.1
# differ by 0.001, RMSProp is not better, and Adam and Adagrad are worse.
OPTIMIZER = optax.sgd(0.06)


@partial(jax.jit, static_argnums=(0, 3))
def adaptive_bits(
    model: CharacterModel,
    params: PyTree,
    symbols: ArrayLike,
    optimizer: optax.GradientTransformation,
) -> Array:
    """The bits of each symbol of a text [N] except the first, given all before it: [N − 1].

    Args:
      model: the model.
      params: its parameters before the text.
      symbols: int [N].
      optimizer: takes a step on the mean bits of a segment after the segment is predicted.
    """
    symbols = jnp.asarray(symbols)
    count = len(symbols) - 1
    segments = -(-count // STEPS)
    symbols = jnp.pad(symbols, (0, segments * STEPS - count))
    # The last symbol of a segment is the first of the next one.
    pieces = symbols[jnp.arange(segments)[:, None] * STEPS + jnp.arange(STEPS + 1)]

    def loss(params: PyTree, state: PyTree, piece: Array) -> tuple[Array, tuple[PyTree, Array]]:
        state, bits = model.segment_bits(params, state, piece[:, None])
        return bits.mean(), (state, bits[:, 0])

    def step(carry: tuple[PyTree, PyTree, PyTree], piece: Array) -> tuple[Any, Array]:
        params, optimizer_state, state = carry
        gradient, (state, bits) = jax.grad(loss, has_aux=True)(params, state, piece)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state, state), bits

    start = params, optimizer.init(params), model.initial_state(1)
    return jax.lax.scan(step, start, pieces)[1].reshape(-1)[:count]
