"""Copy memory (Hochreiter & Schmidhuber 1997): repeat a few symbols after a long pause.

A sequence shows S symbols from an alphabet of 8, then `delay` blanks, then a marker and S − 1
blanks; during these last S steps the symbols are to be repeated in order. This is the form of
Arjovsky et al. 2016, https://arxiv.org/abs/1511.06464, except that their loss also counts the
answers during the blanks. Guessing is right one time in eight, with a cross-entropy of ln 8.
"""

import jax
import jax.numpy as jnp
from jax import Array

ALPHABET = 8
BLANK, MARK = ALPHABET, ALPHABET + 1
INPUT_SIZE = ALPHABET + 2  # one-hot


def num_steps(delay: int, num_symbols: int) -> int:
    """T, the length of a sequence."""
    return delay + 2 * num_symbols


def draw_batch(key: Array, delay: int, num_symbols: int, batch_size: int) -> tuple[Array, Array]:
    """Draws sequences `xs [T, B, 10]`, one-hot, and the symbols to repeat, int `[S, B]`."""
    symbols = jax.random.randint(key, (num_symbols, batch_size), 0, ALPHABET)
    blanks = jnp.full((delay + num_symbols, batch_size), BLANK).at[delay].set(MARK)
    return jax.nn.one_hot(jnp.concatenate([symbols, blanks]), INPUT_SIZE), symbols
