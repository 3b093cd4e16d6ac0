"""PyTorch: `torch.nn.GRU`, any number of layers, one direction or two.

PyTorch packs the gates r, z, n along the rows of `[3H, I]` matrices and has two biases for each:

    r = σ(Wir·x + bir + Whr·h + bhr),  z alike,  n = tanh(Win·x + bin + r ∘ (Whn·h + bhn))

Those of r and z are added here; on the way back the second one is zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.convert.packing import (
    check_form,
    check_uniform,
    directions_of,
    join_gates,
    quote,
    read_array,
    split_gates,
)
from grujax.layers import Layer
from grujax.params import GRUParams

_NAME = re.compile(r"(?P<kind>weight_ih|weight_hh|bias_ih|bias_hh)_l(?P<layer>\d+)(?:_reverse)?")


def from_torch(state_dict: Mapping[str, Any], *, prefix: str = "") -> list[Layer]:
    """The layers of a `torch.nn.GRU`.

    Args:
        state_dict: of the module, or of a model that holds it: torch tensors, on any device, or
            arrays. `batch_first` makes no difference to it; without biases they are zero.
        prefix: where in the model the GRU is, as in "encoder.gru."; the last dot may be missing.

    Returns:
        A list with an item for each layer: `GRUParams`, or a pair (forward, backward).

    Raises:
        ValueError: if there is no GRU under `prefix` (the message says where there is one), a name
            under it is missing or belongs to no GRU, or a tensor has the wrong shape or dtype.

    Example:
        >>> state_dict = {
        ...     "gru.weight_ih_l0": np.ones((15, 3), "float32"),
        ...     "gru.weight_hh_l0": np.ones((15, 5), "float32"),
        ... }
        >>> (params,) = from_torch(state_dict, prefix="gru.")
        >>> params.w_x.shape
        (3, 3, 5)
    """
    prefix = f"{prefix.removesuffix('.')}." if prefix else ""
    found = {
        name[len(prefix) :]: state_dict[name] for name in state_dict if name.startswith(prefix)
    }
    num_layers, suffixes, biases = _check_names(found, prefix, list(state_dict))
    layers: list[Layer] = []
    width: dict[str, int] = {}  # of the inputs, known above the first layer
    for index in range(num_layers):
        directions = [
            _read_direction(found, prefix, f"_l{index}{suffix}", biases, width)
            for suffix in suffixes
        ]
        width = {"I": sum(params.hidden_size for params in directions)}
        layers.append(directions[0] if len(suffixes) == 1 else (directions[0], directions[1]))
    return layers


def to_torch(layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """The state dict of a `torch.nn.GRU`, as NumPy arrays.

    Load it with `module.load_state_dict({k: torch.tensor(v) for k, v in to_torch(layers).items()})`
    into `torch.nn.GRU(input_size, hidden_size, num_layers, bidirectional=...)`.

    Args:
        layers: a sequence; each item a `GRUParams`, or a pair (forward, backward).

    Returns:
        A dict of `weight_ih_l0 [3H, I]`, `weight_hh_l0 [3H, H]`, `bias_ih_l0 [3H]`,
        `bias_hh_l0 [3H]`, and so on for each layer, and each `..._reverse`.

    Raises:
        ValueError: if the layers do not have one hidden size and one number of directions, or a
            layer has `reset_after=False`, which PyTorch does not have.
    """
    stack = directions_of(layers)
    check_uniform(stack, "torch.nn.GRU")
    state_dict = {}
    for index, directions in enumerate(stack):
        for params, suffix in zip(directions, ("", "_reverse"), strict=False):
            params = check_form(params, True, "torch.nn.GRU")
            b_h = jnp.zeros_like(params.b_x).at[2].set(params.b_hn)
            tensors = {
                "weight_ih": join_gates(params.w_x).T,
                "weight_hh": join_gates(params.w_h).T,
                "bias_ih": join_gates(params.b_x),
                "bias_hh": join_gates(b_h),
            }
            for name, tensor in tensors.items():
                state_dict[f"{name}_l{index}{suffix}"] = np.array(tensor)
    return state_dict


def _check_names(
    found: Mapping[str, Any], prefix: str, everything: list[str]
) -> tuple[int, list[str], bool]:
    """The number of layers, the suffixes of the directions, and whether there are biases."""
    matches = {name: _NAME.fullmatch(name) for name in found}
    unknown = [f"{prefix}{name}" for name, match in matches.items() if not match]
    if unknown or not found:
        held = sorted({name[: match.start()] for name in everything if (match := _end(name))})
        where = f"GRUs are under `prefix` {', '.join(f'{p!r}' for p in held) or 'nowhere'}."
        problem = f"names that are not of a GRU: {quote(unknown)}" if unknown else "nothing"
        raise ValueError(f"`state_dict` has {problem} under `prefix` {prefix!r}; {where}")
    kinds = {match["kind"] for match in matches.values() if match}
    num_layers = 1 + max(int(match["layer"]) for match in matches.values() if match)
    suffixes = ["", "_reverse"] if any(name.endswith("_reverse") for name in found) else [""]
    biases = bool(kinds & {"bias_ih", "bias_hh"})
    wanted = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biases else [])]
    missing = [
        f"{prefix}{kind}_l{index}{suffix}"
        for index in range(num_layers)
        for suffix in suffixes
        for kind in wanted
        if f"{kind}_l{index}{suffix}" not in found
    ]
    if missing:
        raise ValueError(f"`state_dict` misses {quote(missing)} of a GRU of {num_layers} layers.")
    return num_layers, suffixes, biases


def _end(name: str) -> re.Match | None:
    """The end of a name that is a GRU's."""
    return re.search(rf"(?:^|(?<=\.)){_NAME.pattern}$", name)


def _read_direction(
    found: Mapping[str, Any], prefix: str, suffix: str, biases: bool, width: dict[str, int]
) -> GRUParams:
    def read(name: str, axes: str, **sizes: int) -> Array:
        return read_array(
            f"{prefix}{name}{suffix}", _to_numpy(found[f"{name}{suffix}"]), axes, **sizes
        )

    w_h = read("weight_hh", "3H H")
    hidden_size = w_h.shape[1]
    w_x = read("weight_ih", "3H I", H=hidden_size, **width)
    b_x = b_h = jnp.zeros((3, hidden_size), w_h.dtype)
    if biases:
        b_x = split_gates(read("bias_ih", "3H", H=hidden_size))
        b_h = split_gates(read("bias_hh", "3H", H=hidden_size))
    return GRUParams(
        w_x=split_gates(w_x.T),
        w_h=split_gates(w_h.T),
        b_x=b_x.at[:2].add(b_h[:2]),
        b_hn=b_h[2],
    )


def _to_numpy(tensor: Any) -> Any:
    """A torch tensor as NumPy takes it; anything else as it is."""
    if not hasattr(tensor, "detach"):
        return tensor
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none; by way of float32 it is exact
        return jnp.asarray(tensor.float().numpy(), jnp.bfloat16)
    return tensor.numpy()
