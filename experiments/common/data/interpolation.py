"""Linear interpolation of sequences that end before their padding."""

import jax.numpy as jnp
from jax import Array


def interpolate(sequence: Array, length: Array, positions: Array) -> Array:
    """Reads a padded sequence [L, C] at fractional positions [T]: [T, C].

    Only the first `length` steps count. A position outside them gives the first or the last step,
    whatever the padding contains.
    """
    positions = jnp.clip(positions, 0, length - 1)
    before = jnp.floor(positions).astype(int)
    fraction = (positions - before)[:, None]
    after = jnp.minimum(before + 1, length - 1)
    return (1 - fraction) * sequence[before] + fraction * sequence[after]
