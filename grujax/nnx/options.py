"""The types of the keyword arguments that all modules share."""

from __future__ import annotations

from typing import TypedDict, cast

from jax.typing import DTypeLike

from grujax.implementations.types import Implementation
from grujax.params import Initializer


class CellOptions(TypedDict, total=False):
    """The options that every module passes to its cells, see `GRUCell`.

    Example:
        >>> options: CellOptions = {"reset_after": False}
    """

    reset_after: bool
    recurrent_bias: bool
    dtype: DTypeLike | None
    param_dtype: DTypeLike
    kernel_init: Initializer
    recurrent_kernel_init: Initializer
    bias_init: Initializer
    update_bias_init: Initializer | None


class LayerOptions(TypedDict, total=False):
    """The options of every module over time, see `GRU`.

    Example:
        >>> options: LayerOptions = {"zoneout": 0.1, "learned_h0": True}
    """

    zoneout: float
    recurrent_dropout: float
    learned_h0: bool
    deterministic: bool
    stop_gradient_every: int | None
    implementation: Implementation | None


class Options(CellOptions, LayerOptions, total=False):
    """All options of a module over time: its own and those of its cells.

    Example:
        >>> options: Options = {"zoneout": 0.1, "reset_after": False}
    """


def select_cell_options(options: Options) -> CellOptions:
    """Returns the options of the cells."""
    names = CellOptions.__annotations__
    return cast(CellOptions, {name: options[name] for name in options if name in names})  # type: ignore[literal-required]


def select_inner_options(options: Options) -> Options:
    """Returns the options of the layers inside a module, which runs and regularizes them itself."""
    inner = Options(**select_cell_options(options))
    inner["learned_h0"] = options.get("learned_h0", False)
    return inner
