"""The textbook form, with matrices that act on the state and the input together.

    z  = σ(Wz·[h, x] + bz)
    r  = σ(Wr·[h, x] + br)
    h̃  = tanh(Wh·[r ∘ h, x] + bh)
    h' = (1 − z) ∘ h + z ∘ h̃

This is `reset_after=False`, and its z is 1 − z of ours: σ(−a) = 1 − σ(a), so the update gate's
matrix and bias change their sign, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.convert.packing import check_form, negate_update, read_array
from grujax.params import GRUParams


class TextbookGRU(NamedTuple):
    """Matrices `[H, H + I]` that act on [h, x], and biases `[H]`."""

    w_z: Array
    w_r: Array
    w_h: Array
    b_z: Array
    b_r: Array
    b_h: Array


def from_textbook(
    w_z: ArrayLike,
    w_r: ArrayLike,
    w_h: ArrayLike,
    b_z: ArrayLike | None = None,
    b_r: ArrayLike | None = None,
    b_h: ArrayLike | None = None,
) -> GRUParams:
    """The parameters of a GRU in the textbook form.

    Args:
        w_z: `[H, H + I]`, the update gate's matrix, which acts on the column [h, x].
        w_r: `[H, H + I]`, the reset gate's.
        w_h: `[H, H + I]`, the candidate's, which acts on [r ∘ h, x].
        b_z: `[H]`, the update gate's bias; zero if None.
        b_r: `[H]`, the reset gate's.
        b_h: `[H]`, the candidate's.

    Returns:
        `GRUParams` with `reset_after=False` and `b_hn` zero.

    Raises:
        ValueError: if a shape or dtype does not fit.

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
    """The textbook form of a GRU; the candidate's bias there is the sum of ours.

    Args:
        params: `GRUParams` with `reset_after=False`.

    Returns:
        `(w_z, w_r, w_h, b_z, b_r, b_h)`, named, as `from_textbook` takes them.

    Raises:
        ValueError: if `reset_after` is True, which is another function, or a shape does not fit.
    """
    params = check_form(params, False, "The textbook's GRU")
    joint = negate_update(jnp.concatenate([params.w_h, params.w_x], axis=1))
    w_r, w_z, w_h = jnp.swapaxes(joint, 1, 2)
    b_r, b_z, b_h = negate_update(params.b_x.at[2].add(params.b_hn))
    return TextbookGRU(w_z, w_r, w_h, b_z, b_r, b_h)
