"""PyTorch: `torch.nn.GRU` with any number of layers, in one direction or both, and `GRUCell`.

PyTorch packs the gates r, z, n along the rows of `[3H, I]` matrices and has two biases per gate:

    r = σ(Wir·x + bir + Whr·h + bhr),  z likewise,  n = tanh(Win·x + bin + r ∘ (Whn·h + bhn))

`from_torch` adds those of r and z; `to_torch` writes zeros for the recurrent ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from grujax.checks import check_string
from grujax.convert.checks import base_of, check_class, check_uniform, split_directions
from grujax.convert.layouts import NUMBER, Layout, Leaf, Naming, write_cell
from grujax.convert.stacks import read_layers
from grujax.convert.trees import flatten_arrays
from grujax.layers import Layer

TORCH = Layout(
    "torch.nn.GRU",
    leaves=(
        Leaf("weight_ih", "w_x", "rzn", "3H I"),
        Leaf("weight_hh", "w_h", "rzn", "3H H"),
    ),
    optional=((Leaf("bias_ih", "b_x", "rzn", "3H"), Leaf("bias_hh", "b_h", "rzn", "3H")),),
    outputs_first=True,
    naming=Naming(
        f"{{leaf}}(?:_l(?P<layer>{NUMBER})(?P<direction>_reverse|))?",
        ".",
        ("", "_reverse"),
        as_one=True,
    ),
)


def from_torch(state_dict: Mapping[str, Any], *, prefix: str = "") -> list[Layer]:
    """Converts a `torch.nn.GRU` or a `torch.nn.GRUCell` to a list of layers.

    Args:
        state_dict: the module, a model that holds it, or the state dict of either, with torch
            tensors on any device or arrays, of any floating dtype. `batch_first` does not matter,
            and `dropout` acts in training alone. If there are no biases, they are zero.
        prefix: where the GRU is in the model, such as "encoder.gru."; the last dot is optional.

    Returns:
        A list with one item per layer: `GRUParams`, or a pair (forward, backward), in the dtype of
        the tensors. A cell is one layer.

    Raises:
        ValueError: if there is no GRU under `prefix` (the message lists the prefixes that have
            one), a name is missing or does not belong to a GRU, or a tensor has the wrong shape or
            dtype.

    Example:
        >>> state_dict = {
        ...     "gru.weight_ih_l0": np.ones((15, 3), "float32"),
        ...     "gru.weight_hh_l0": np.ones((15, 5), "float32"),
        ... }
        >>> (params,) = from_torch(state_dict, prefix="gru.")
        >>> params.w_x.shape
        (3, 3, 5)
    """
    check_string("prefix", prefix)
    if base_of(state_dict, "torch", "Module"):
        state_dict = _state_of(state_dict, prefix)
    leaves = flatten_arrays("state_dict", state_dict, ".")
    arrays = {path: _to_numpy(path, leaf) for path, leaf in leaves.items()}
    layers = read_layers("state_dict", arrays, TORCH, prefix)
    return layers if isinstance(layers, list) else [layers]


def to_torch(layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """Converts layers to the state dict of a `torch.nn.GRU`, as NumPy arrays.

    Load it with `module.load_state_dict({k: torch.tensor(v) for k, v in to_torch(layers).items()})`
    into `torch.nn.GRU(input_size, hidden_size, num_layers, bidirectional=...)`.

    Args:
        layers: a sequence; each item a `GRUParams` or a pair (forward, backward).

    Returns:
        A dict of `weight_ih_l0 [3H, I]`, `weight_hh_l0 [3H, H]`, `bias_ih_l0 [3H]` and
        `bias_hh_l0 [3H]`; likewise for each further layer, and with the suffix `_reverse` for each
        backward direction.

    Raises:
        ValueError: if the layers differ in hidden size or number of directions, or a layer has
            `reset_after=False`, which PyTorch does not support.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> state_dict = to_torch([init_gru(jax.random.key(0), input_size=3, hidden_size=5)])
        >>> state_dict["weight_ih_l0"].shape
        (15, 3)
    """
    stack = split_directions(layers)
    check_uniform(stack, "torch.nn.GRU")
    state_dict = {}
    for index, directions in enumerate(stack):
        for params, suffix in zip(directions, ("", "_reverse"), strict=False):
            for name, tensor in write_cell(TORCH, params).items():
                state_dict[f"{name}_l{index}{suffix}"] = np.array(tensor)
    return state_dict


def _state_of(module: Any, prefix: str) -> Mapping[str, Any]:
    """The state dict of a module; raises ValueError if the GRU in it is replaced by another."""
    gru = dict(module.named_modules()).get(prefix.removesuffix("."))
    if gru is not None and list(gru.parameters(recurse=False)):
        kind = "GRUCell" if base_of(gru, "torch", "GRUCell") else "GRU"
        check_class(f"state_dict.{prefix}".removesuffix("."), gru, "torch", kind, "forward")
    return module.state_dict()


def _to_numpy(name: str, tensor: Any) -> Any:
    """Converts a torch tensor to an array; returns anything else unchanged."""
    if not hasattr(tensor, "detach"):
        return tensor
    try:
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has no bfloat16; float32 is exact
            return jnp.asarray(tensor.float().numpy(), jnp.bfloat16)
        return tensor.numpy()
    except (TypeError, RuntimeError) as error:  # a sparse tensor, or one without data
        raise ValueError(f"`{name}` must be a dense tensor with data: {error}") from error
