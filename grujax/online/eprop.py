"""Eligibility propagation (e-prop).

In the notation of `grujax.online.rtrl` it carries the eligibility trace

    E_t = Ā_t·E_{t−1} + D_t

where Ā is the part of A = ∂s_t/∂s_{t−1} that passes through no matrix product: what a unit keeps of
itself. It drops all recurrent connections, from other units and from the unit to itself through
its recurrent weight. In a GRU Ā = diag(z); in an LSTM it is f from c to c, and on to h.
"""

from __future__ import annotations

from grujax.checks import check_callable
from grujax.online.method import Method
from grujax.online.products import cut_products
from grujax.online.rows import Cell
from grujax.online.sparse import sparse_method


def eprop(cell: Cell) -> Method:
    """Eligibility propagation: the influence that stays within a unit.

    The trace is carried through the part of the step in which no state enters a matrix product or a
    convolution. `d_state` of `Method.gradient` is the learning signal, the gradient of the loss of
    this step alone. Dropped is every effect of a unit on a later step over recurrent weights. Kept
    is the immediate influence in full, and what a gate lets a unit keep. So the gradient is biased;
    it is exact for a cell whose gates and candidate do not read the state, such as the minGRU.

    Memory: Q·P numbers per row, for P parameters and the slots Q of `snap` of order 1. Operations
    per row and step: Q²·P, plus Q reverse passes through the step, plus O(S²) for what a state of S
    numbers keeps. For GRU, RNN and LSTM all of it is O(H·(I + H)), as a forward step is.

    Args:
        cell: `cell(params, state, x) -> state`, as in `grujax.scan_cell`, with a state of arrays
            `[B, n]`. The products are found in its program, so they may not be inside of loops.

    Returns:
        The `Method`.

    Raises:
        ValueError: if `cell` is no function; from its functions if a shape or dtype does not fit,
            or the cell has a matrix product inside of a loop or a branch.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> method = eprop(grujax.gru_cell)
        >>> method.init(params, jnp.zeros((2, 4))).influence.shape
        (2, 1, 100)

    Reference:
        Bellec et al. 2020, https://doi.org/10.1038/s41467-020-17236-y
    """
    check_callable("cell", cell, "(params, state, x) -> state")
    return sparse_method(cell, cut_products, None)
