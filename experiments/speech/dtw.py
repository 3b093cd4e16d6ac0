"""Dynamic time warping: the distance of two sequences whose time may be stretched.

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

    A warping path leads from the start of both sequences to the end of both; each step advances in
    one of them or in both. The distance is the sum of Euclidean distances along the cheapest path,
    divided by the sum of both lengths.

    Args:
      queries: [M, L, C].
      lengths: [M], at least 1.
      others: [N, K, C].
      other_lengths: [N], at least 1.

    Returns: [M, N].
    """
    distances = partial(_distances, others=others, other_lengths=other_lengths)
    return jax.lax.map(lambda query: distances(*query), (queries, lengths))


def _distances(query: Array, length: Array, others: Array, other_lengths: Array) -> Array:
    """The distances [N] of one query [L, C].

    All cells of an anti-diagonal are computed at once: cell (i, j) is row i of diagonal i + j.
    """
    size, width = len(query), others.shape[1]
    products = jnp.einsum("ic,njc->ijn", query, others, precision="highest")
    squares = (query**2).sum(-1)[:, None, None] + (others**2).sum(-1).T - 2 * products
    costs = jnp.sqrt(jnp.maximum(squares, 0))  # [L, K, N]
    # Shifting each row by one more column than the row above turns diagonals into columns.
    costs = jnp.pad(costs, ((0, 0), (0, size), (0, 0)), constant_values=jnp.inf)
    flat = costs.reshape(size * (width + size), -1)[:-size]
    diagonals = flat.reshape(size, width + size - 1, -1).swapaxes(0, 1)  # [L + K - 1, L, N]
    unreachable = jnp.full(diagonals.shape[1:], jnp.inf)
    last = length + other_lengths - 2  # the diagonal on which each path ends

    def step(carry, inputs):
        before, two_before, found = carry  # two_before is already shifted down by one row
        number, cost = inputs
        down = jnp.pad(before, ((1, 0), (0, 0)), constant_values=jnp.inf)[:-1]
        best = jnp.minimum(jnp.minimum(before, down), two_before)
        after = cost + jnp.where(number == 0, unreachable.at[0].set(0.0), best)
        found = jnp.where(number == last, after[length - 1], found)
        return (after, down, found), None

    carry = (unreachable, unreachable, unreachable[0])
    (_, _, found), _ = jax.lax.scan(step, carry, (jnp.arange(len(diagonals)), diagonals))
    return found / (length + other_lengths)


def warping_path(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest warping path through the costs of aligning two sequences' steps.

    Args:
      costs: [L, K], both at least 1; none negative.

    Returns: the indices into the first and into the second sequence along the path, int [P] each.
    """
    total = np.full((len(costs) + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, row in enumerate(costs):
        enter = np.minimum(total[i, 1:], total[i, :-1])
        # A path that enters the row at k and follows it to j costs enter_k + Σ row_k..j.
        sums = np.cumsum(row)
        total[i + 1, 1:] = sums + np.minimum.accumulate(enter - (sums - row))
    i, j = costs.shape
    path = [(i, j)]
    while (i, j) != (1, 1):
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(steps, key=lambda cell: total[cell])
        path.append((i, j))
    first, second = np.array(path[::-1]).T - 1
    return first, second
