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

from grujax.convert.checks import check_form, read_array
from grujax.convert.packing import merge_candidate_biases, negate_update
from grujax.params import GRUParams


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
    matrices = {"w_r": w_r, "w_z": w_z, "w_h": w_h}
    hidden_size, width = read_array("w_r", w_r, "H W").shape
    if width <= hidden_size:
        raise ValueError(
            f"`w_r` has shape {[hidden_size, width]}, expected [H, H + I] with H = {hidden_size}."
        )
    joint = jnp.stack(
        [read_array(name, w, "H W", H=hidden_size, W=width).T for name, w in matrices.items()]
    )
    zeros = jnp.zeros(hidden_size, joint.dtype)
    biases = [
        zeros if bias is None else read_array(name, bias, "H", H=hidden_size)
        for name, bias in (("b_r", b_r), ("b_z", b_z), ("b_h", b_h))
    ]
    return GRUParams(
        w_x=negate_update(joint[:, hidden_size:]),
        w_h=negate_update(joint[:, :hidden_size]),
        b_x=negate_update(jnp.stack(biases)),
        b_hn=zeros,
        reset_after=False,
    )


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
    params = check_form(params, False, "The textbook's GRU")
    joint = negate_update(jnp.concatenate([params.w_h, params.w_x], axis=1))
    w_r, w_z, w_h = jnp.swapaxes(joint, 1, 2)
    b_r, b_z, b_h = negate_update(merge_candidate_biases(params))
    return TextbookGRU(w_z, w_r, w_h, b_z, b_r, b_h)
