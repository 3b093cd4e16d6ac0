"""The sparse n-step approximation (SnAp) of real-time recurrent learning.

SnAp-n carries the entries of the influence that differ from zero within n steps of a parameter's
use, and drops the others after every step:

    M_t = P_n ∘ (A_t·M_{t−1} + D_t),     P_1 = [D ≠ 0],     P_n = [D ≠ 0] ∨ [A·P_{n−1} ≠ 0]

in the notation of `grujax.online.rtrl`. What it drops is the way of a parameter's influence over
other units and back. Where n is so large that P_n stays the same, it is exact.
"""

from __future__ import annotations

from grujax.checks import check_callable, check_integer
from grujax.online.method import Method
from grujax.online.rows import Cell
from grujax.online.sparse import sparse_method


def snap(cell: Cell, order: int = 1) -> Method:
    """The sparse n-step approximation: the influence on the units that a parameter reaches soon.

    The pattern is found from the cell's Jacobians at random points, when `Method.init` is called.
    Entries of units that share no parameter share a slot: Q slots `[B, Q, P]` in place of the
    `[B, S, P]` of `rtrl`, for S numbers in the state of a row and P parameters. Q is:

        order 1   RNN, minGRU, GRU with reset_after=True             1
                  LSTM                                               2
                  GRU with reset_after=False, layer-normalized GRU   S
        order 2   any cell with a full recurrent matrix              S

    Memory: Q·P numbers per row. Multiply-adds per row and step: Q²·P, or S²·P if Q = S, plus S
    reverse passes through the step for ∂s'/∂s, O(S·H²) in a GRU, and Q for ∂s'/∂θ, O(Q·P).

    Args:
        cell: `cell(params, state, x) -> state`, as in `grujax.scan_cell`, with a state of arrays
            `[B, n]`.
        order: n, the number of steps, a positive integer.

    Returns:
        The `Method`. Its gradient is biased: it lacks the ways over more than n − 1 other units.
        It equals that of `rtrl` where n steps reach everything that more steps reach. With
        diagonal recurrent matrices that is n = 1 for a GRU or an RNN, but not for an LSTM, whose
        output gate moves h at once, and c one step later.

    Raises:
        ValueError: if `cell` is no function or `order` no positive integer; from its functions if
            a shape or dtype does not fit.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> method = snap(grujax.gru_cell)
        >>> method.init(params, jnp.zeros((2, 4))).influence.shape
        (2, 1, 100)

    Reference:
        Menick et al. 2020, https://arxiv.org/abs/2006.07232
    """
    check_callable("cell", cell, "(params, state, x) -> state")
    return sparse_method(cell, lambda step: step, check_integer("order", order))
