"""Dynamic time warping: how far apart two sequences are when time may be stretched.

Reference: Sakoe & Chiba 1978, "Dynamic programming algorithm optimization for spoken word
recognition", IEEE Transactions on Acoustics, Speech, and Signal Processing 26.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@jax.jit
def dtw_distances(queries: Array, lengths: Array, others: Array, other_lengths: Array) -> Array:
    """The distance of every query from every other sequence.

    That of two sequences is the least sum of Euclidean distances over a path from the beginning of
    both to the end of both, which goes one step in either or in both at once, divided by the sum of
    their lengths.

    Args:
      queries: [M, L, C].
      lengths: [M], 1 or more.
      others: [N, K, C].
      other_lengths: [N], 1 or more.

    Returns: [M, N].
    """
    one = partial(_distances, others=others, other_lengths=other_lengths)
    return jax.lax.map(lambda query: one(*query), (queries, lengths))


def _distances(query: Array, length: Array, others: Array, other_lengths: Array) -> Array:
    """The distances [N] of one query [L, C].

    All cells of an anti-diagonal are computed at once: cell (i, j) lies on diagonal i + j, at i.
    """
    size, width = len(query), others.shape[1]
    products = jnp.einsum("ic,njc->ijn", query, others, precision="highest")
    squares = (query**2).sum(-1)[:, None, None] + (others**2).sum(-1).T - 2 * products
    costs = jnp.sqrt(jnp.maximum(squares, 0))  # [L, K, N]
    # Each row one place further than the row above: diagonals become columns.
    costs = jnp.pad(costs, ((0, 0), (0, size), (0, 0)), constant_values=jnp.inf)
    flat = costs.reshape(size * (width + size), -1)[:-size]
    diagonals = flat.reshape(size, width + size - 1, -1).swapaxes(0, 1)  # [L + K - 1, L, N]
    nothing = jnp.full(diagonals.shape[1:], jnp.inf)
    last = length + other_lengths - 2  # the diagonals on which the paths end

    def step(carry, inputs):
        before, two_before, found = carry  # two_before is one row further down already
        number, cost = inputs
        down = jnp.pad(before, ((1, 0), (0, 0)), constant_values=jnp.inf)[:-1]
        best = jnp.minimum(jnp.minimum(before, down), two_before)
        after = cost + jnp.where(number == 0, nothing.at[0].set(0.0), best)
        found = jnp.where(number == last, after[length - 1], found)
        return (after, down, found), None

    carry = (nothing, nothing, nothing[0])
    (_, _, found), _ = jax.lax.scan(step, carry, (jnp.arange(len(diagonals)), diagonals))
    return found / (length + other_lengths)


def warping_path(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest path through the costs of putting steps of two sequences side by side.

    It goes from the beginning of both to the end of both, one step in either or in both at once.

    Args:
      costs: [L, K], both 1 or more, none negative.

    Returns: the steps of the first and of the second sequence along the path, int [P] each.
    """
    total = np.full((len(costs) + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, row in enumerate(costs):
        enter = np.minimum(total[i, 1:], total[i, :-1])
        # A path that enters the row at k and goes on to j costs enter_k + Σ row_k..j.
        sums = np.cumsum(row)
        total[i + 1, 1:] = sums + np.minimum.accumulate(enter - (sums - row))
    i, j = costs.shape
    path = [(i, j)]
    while (i, j) != (1, 1):
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(steps, key=lambda place: total[place])
        path.append((i, j))
    first, second = np.array(path[::-1]).T - 1
    return first, second
