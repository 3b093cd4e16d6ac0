"""PyTorch: `torch.nn.GRU` with any number of layers, in one direction or both.

PyTorch packs the gates r, z, n along the rows of `[3H, I]` matrices and has two biases per gate:

    r = σ(Wir·x + bir + Whr·h + bhr),  z likewise,  n = tanh(Win·x + bin + r ∘ (Whn·h + bhn))

`from_torch` adds those of r and z; `to_torch` writes zeros for the recurrent ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.checks import check_mapping, check_string
from grujax.convert.checks import check_form, check_uniform, quote, read_array, split_directions
from grujax.convert.packing import PackedWeights, pack_weights, unpack_weights
from grujax.layers import Layer
from grujax.params import GRUParams

_KIND = "(?P<kind>weight_ih|weight_hh|bias_ih|bias_hh)"
_NAME = re.compile(rf"{_KIND}_l(?P<layer>0|[1-9][0-9]{{0,17}})(?:_reverse)?")
_NAME_AT_END = re.compile(rf"(?:^|(?<=\.)){_NAME.pattern}$")


def from_torch(state_dict: Mapping[str, Any], *, prefix: str = "") -> list[Layer]:
    """Converts the state dict of a `torch.nn.GRU` to a list of layers.

    Args:
        state_dict: the state dict of the module, or of a model that holds it, with torch tensors on
            any device or arrays, of any floating dtype. `batch_first` does not matter. If there are
            no biases, they are zero.
        prefix: where the GRU is in the model, such as "encoder.gru."; the last dot is optional.

    Returns:
        A list with one item per layer: `GRUParams`, or a pair (forward, backward), in the dtype of
        the tensors.

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
    check_mapping("state_dict", state_dict, "of tensors")
    check_string("prefix", prefix)
    prefix = f"{prefix.removesuffix('.')}." if prefix else ""
    found = {
        name[len(prefix) :]: state_dict[name] for name in state_dict if name.startswith(prefix)
    }
    num_layers, suffixes, has_biases = _check_names(found, prefix, list(state_dict))
    layers: list[Layer] = []
    width: dict[str, int] = {}  # the input size, known above the first layer
    for index in range(num_layers):
        directions = [
            _read_direction(found, prefix, f"_l{index}{suffix}", has_biases, width)
            for suffix in suffixes
        ]
        width = {"I": sum(params.hidden_size for params in directions)}
        layers.append(directions[0] if len(suffixes) == 1 else (directions[0], directions[1]))
    return layers


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
            packed = pack_weights(check_form(params, True, "torch.nn.GRU"))
            tensors = {
                "weight_ih": packed.w_x.T,
                "weight_hh": packed.w_h.T,
                "bias_ih": packed.b_x,
                "bias_hh": packed.b_h,
            }
            for name, tensor in tensors.items():
                state_dict[f"{name}_l{index}{suffix}"] = np.array(tensor)
    return state_dict


def _check_names(
    found: Mapping[str, Any], prefix: str, all_names: list[str]
) -> tuple[int, list[str], bool]:
    """Returns the number of layers, the suffix of each direction, and whether there are biases."""
    matches = {name: _NAME.fullmatch(name) for name in found}
    unknown = [f"{prefix}{name}" for name, match in matches.items() if not match]
    if unknown or not found:
        matched = {name: _NAME_AT_END.search(name) for name in all_names}
        prefixes = sorted({name[: match.start()] for name, match in matched.items() if match})
        where = f"GRUs are under `prefix` {', '.join(map(repr, prefixes)) or 'nowhere'}."
        problem = f"names that are not of a GRU: {quote(unknown)}" if unknown else "nothing"
        raise ValueError(f"`state_dict` has {problem} under `prefix` {prefix!r}; {where}")
    kinds = {match["kind"] for match in matches.values() if match}
    num_layers = 1 + max(int(match["layer"]) for match in matches.values() if match)
    suffixes = ["", "_reverse"] if any(name.endswith("_reverse") for name in found) else [""]
    has_biases = bool(kinds & {"bias_ih", "bias_hh"})
    wanted = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if has_biases else [])]
    count = num_layers * len(suffixes) * len(wanted) - len(found)  # all that are found are wanted
    if count:
        names = (
            f"{kind}_l{index}{suffix}"
            for index in range(num_layers)
            for suffix in suffixes
            for kind in wanted
        )
        missing = islice((f"{prefix}{name}" for name in names if name not in found), 8)
        raise ValueError(
            f"`state_dict` misses {quote(list(missing), count)} of a GRU of {num_layers} layers."
        )
    return num_layers, suffixes, has_biases


def _read_direction(
    found: Mapping[str, Any], prefix: str, suffix: str, has_biases: bool, width: dict[str, int]
) -> GRUParams:
    def read(name: str, axes: str, **sizes: int) -> Array:
        full_name, tensor = f"{prefix}{name}{suffix}", found[f"{name}{suffix}"]
        return read_array(full_name, _to_numpy(full_name, tensor), axes, **sizes)

    w_h = read("weight_hh", "3H H")
    hidden_size = w_h.shape[1]
    w_x = read("weight_ih", "3H I", H=hidden_size, **width)
    b_x = b_h = jnp.zeros(3 * hidden_size, w_h.dtype)
    if has_biases:
        b_x = read("bias_ih", "3H", H=hidden_size)
        b_h = read("bias_hh", "3H", H=hidden_size)
    return unpack_weights(PackedWeights(w_x.T, w_h.T, b_x, b_h))


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
