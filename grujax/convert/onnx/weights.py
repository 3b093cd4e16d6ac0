"""ONNX: the weights of GRU nodes.

ONNX packs the gates in the order z, r, h along the rows of `W [D, 3H, I]` and `R [D, 3H, H]`, for
D directions. `B [D, 6H]` holds two biases per gate; those of z and r are added.
`linear_before_reset` is `reset_after`; its default is 0.

Reference: https://onnx.ai/onnx/operators/onnx__GRU.html
"""

from __future__ import annotations

from typing import Any

from grujax.checks import check_integer
from grujax.convert.checks import read_array
from grujax.convert.layouts import Layout, Leaf, read_cell
from grujax.layers import Layer

# One direction of a node.
ONNX = Layout(
    "an ONNX GRU node",
    leaves=(Leaf("W", "w_x", "zrn", "3H I"), Leaf("R", "w_h", "zrn", "3H H")),
    optional=((Leaf("B", "b_x b_h", "zrn", "6H"),),),
    outputs_first=True,
)


def from_onnx(W: Any, R: Any, B: Any = None, *, linear_before_reset: int = 0) -> Layer:  # noqa: N803
    """Converts the weights of one ONNX GRU node to `GRUParams`.

    Args:
        W: `[D, 3H, I]`, the input weights; D is 1, or 2 for a bidirectional node. All arrays may
            have any floating dtype.
        R: `[D, 3H, H]`, the recurrent weights.
        B: `[D, 6H]`, the biases; zero if None.
        linear_before_reset: the node's attribute of the same name, 0 or 1.

    Returns:
        `GRUParams`, or a pair (forward, backward) for D = 2. Run those of a node with
        `direction="reverse"` with `gru(..., reverse=True)`.

    Raises:
        ValueError: if a shape, a dtype or `linear_before_reset` is invalid.

    Example:
        >>> import numpy as np
        >>> forward, backward = from_onnx(np.ones((2, 15, 3), "f"), np.ones((2, 15, 5), "f"))
        >>> forward.w_x.shape
        (3, 3, 5)
    """
    linear_before_reset = check_integer("linear_before_reset", linear_before_reset, 0, 1)
    recurrent = read_array("R", R, "D 3H H")
    num_directions, _, hidden_size = recurrent.shape
    if num_directions not in (1, 2):
        raise ValueError(f"`R` has shape {list(recurrent.shape)}, expected [D, 3H, H], D 1 or 2.")
    sizes = {"D": num_directions, "H": hidden_size}
    stored = {"W": read_array("W", W, "D 3H I", **sizes), "R": recurrent}
    if B is not None:
        stored["B"] = read_array("B", B, "D 6H", **sizes)
    layout = ONNX._replace(reset_after=bool(linear_before_reset))
    directions = [
        read_cell(layout, {name: array[index] for name, array in stored.items()})
        for index in range(num_directions)
    ]
    return directions[0] if num_directions == 1 else (directions[0], directions[1])
