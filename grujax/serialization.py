"""The package's parameters in `flax.serialization`, once this module is imported.

`grujax.linen` and `grujax.nnx` import it. Where they are not used, import it beside Flax:

    >>> import grujax
    >>> import grujax.serialization
    >>> import jax
    >>> from flax import serialization
    >>> params = grujax.init_gru(jax.random.key(0), input_size=8, hidden_size=16)
    >>> stored = serialization.to_bytes({"encoder": params})
    >>> serialization.from_bytes({"encoder": params}, stored)["encoder"] == params
    True

The form of a GRU, `reset_after`, is stored with the weights. Restoring them into parameters of the
other form is a ValueError.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from flax import serialization

from grujax.attention import AdditiveAttentionParams
from grujax.baselines import LayerNormGRUParams, LSTMParams, MinGRUParams, RNNParams
from grujax.jax_support.pytrees import ArrayTree
from grujax.params import GRUParams

__all__: list[str] = []


def _to_state_dict(params: ArrayTree) -> dict[str, Any]:
    return {name: serialization.to_state_dict(value) for name, value in _values(params).items()}


def _from_state_dict(target: ArrayTree, state: dict[str, Any]) -> ArrayTree:
    kind, values = type(target).__name__, _values(target)
    place = f"at {serialization.current_path()}"
    if set(state) != set(values):
        raise ValueError(
            f"`target` holds {kind} {place}, with the fields {sorted(values)}, but the stored "
            f"fields there are {sorted(state)}."
        )
    for field in dataclasses.fields(target):  # type: ignore[arg-type]
        wanted, got = values[field.name], state[field.name]
        if field.metadata.get("static") and wanted != got:
            raise ValueError(
                f"`target` holds {kind} with {field.name}={wanted} {place}, but the stored "
                f"parameters are of {field.name}={got}: these are different functions. Restore "
                f"into parameters with {field.name}={got}."
            )
    restored = {
        name: serialization.from_state_dict(value, state[name], name=name)
        for name, value in values.items()
    }
    return type(target)(**restored)


def _values(params: ArrayTree) -> dict[str, Any]:
    """The values of all fields by their names."""
    fields = dataclasses.fields(params)  # type: ignore[arg-type]
    return {field.name: getattr(params, field.name) for field in fields}


for _kind in (
    GRUParams,
    AdditiveAttentionParams,
    LayerNormGRUParams,
    LSTMParams,
    MinGRUParams,
    RNNParams,
):
    serialization.register_serialization_state(_kind, _to_state_dict, _from_state_dict)
