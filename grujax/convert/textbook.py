"""The textbook form, with one matrix per gate for the state and the input together.

    z  = σ(Wz·[h, x] + bz)
    r  = σ(Wr·[h, x] + br)
    h̃  = tanh(Wh·[r ∘ h, x] + bh)
    h' = (1 − z) ∘ h + z ∘ h̃

This is `reset_after=False` with 1 − z for our z. Because σ(−a) = 1 − σ(a), only the sign of the
update gate's matrix and bias changes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.checks import as_floating
from grujax.convert.layouts import GATES, Layout, Leaf, read_cell, write_cell
from grujax.params import GRUParams

_LETTERS = tuple(zip("rzh", GATES, strict=True))  # the textbook's, and those of `GRUParams`

TEXTBOOK = Layout(
    "The textbook's GRU",
    leaves=(
        *(Leaf(f"w_{letter}", "w_h w_x", gate, "H H+I") for letter, gate in _LETTERS),
        *(Leaf(f"b_{letter}", "b_x", gate, "H") for letter, gate in _LETTERS),
    ),
    reset_after=False,
    outputs_first=True,
    negates_update=True,
)


class TextbookGRU(NamedTuple):
    """Matrices that act on [h, x], and biases, in the order of `from_textbook`'s arguments."""

    w_z: Array  # [H, H + I]
    w_r: Array  # [H, H + I]
    w_h: Array  # [H, H + I]
    b_z: Array  # [H]
    b_r: Array  # [H]
    b_h: Array  # [H]


def from_textbook(
    w_z: ArrayLike,
    w_r: ArrayLike,
    w_h: ArrayLike,
    b_z: ArrayLike | None = None,
    b_r: ArrayLike | None = None,
    b_h: ArrayLike | None = None,
) -> GRUParams:
    """Converts a GRU in the textbook form to `GRUParams`.

    Args:
        w_z: `[H, H + I]`, the update gate's matrix, which acts on the column [h, x].
        w_r: `[H, H + I]`, the reset gate's matrix, likewise.
        w_h: `[H, H + I]`, the candidate's matrix, which acts on [r ∘ h, x].
        b_z: `[H]`, the update gate's bias; zero if None.
        b_r: `[H]`, the reset gate's bias; zero if None.
        b_h: `[H]`, the candidate's bias; zero if None.

    Returns:
        `GRUParams` with `reset_after=False` and zero `b_hn`.

    Raises:
        ValueError: if a shape does not match, or a dtype is not floating.

    Example:
        >>> params = from_textbook(*jnp.ones((3, 5, 8)))
        >>> params.w_x.shape, params.w_h.shape
        ((3, 3, 5), (3, 5, 5))

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078, with z and 1 − z exchanged.
    """
    w_r = as_floating("w_r", w_r)
    zeros = jnp.zeros(w_r.shape[:1], w_r.dtype)
    biases = {"b_r": b_r, "b_z": b_z, "b_h": b_h}
    stored = {name: zeros if bias is None else bias for name, bias in biases.items()}
    return read_cell(TEXTBOOK, {"w_r": w_r, "w_z": w_z, "w_h": w_h, **stored})


def to_textbook(params: GRUParams) -> TextbookGRU:
    """Converts `GRUParams` to the textbook form.

    The textbook has one bias for the candidate: the sum of `b_x[2]` and `b_hn`.

    Args:
        params: `GRUParams` with `reset_after=False`.

    Returns:
        The named tuple `(w_z, w_r, w_h, b_z, b_r, b_h)`, in the order of `from_textbook`'s
        arguments: matrices `[H, H + I]` and biases `[H]`.

    Raises:
        ValueError: if `reset_after` is True, which is another function, or a shape does not match.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=3, hidden_size=5, reset_after=False)
        >>> to_textbook(params).w_z.shape
        (5, 8)
    """
    return TextbookGRU(**write_cell(TEXTBOOK, params))
