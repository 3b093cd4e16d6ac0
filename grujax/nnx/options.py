"""The keyword arguments that all modules share: their types and their checks."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, TypedDict, cast

from flax import nnx
from jax.typing import DTypeLike

from grujax.checks import check_bool, check_instance
from grujax.flax_common import check_arguments
from grujax.implementations.types import Implementation
from grujax.params import Initializer
from grujax.regularizers import is_off


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
    carry_dtype: DTypeLike | None


class LayerOptions(TypedDict, total=False):
    """The options of every module over time, see `GRU`.

    Example:
        >>> options: LayerOptions = {"zoneout": 0.1, "learned_h0": True}
    """

    zoneout: float
    recurrent_dropout: float
    input_dropout: float
    learned_h0: bool
    deterministic: bool
    stop_gradient_every: int | None
    implementation: Implementation | None
    time_major: bool


class Options(CellOptions, LayerOptions, total=False):
    """All options of a module over time: its own and those of its cells.

    Example:
        >>> options: Options = {"zoneout": 0.1, "reset_after": False}
    """


def check_options(module: type, rngs: nnx.Rngs, options: Options, *other_rates: Any) -> Options:
    """Checks what every module over time is given, before it draws a random key.

    Args:
        module: the class, for the names of its own arguments.
        rngs: the source of random keys.
        options: the keyword arguments that are not its own.
        other_rates: the rates among its own arguments, already checked.

    Returns:
        The options, with Python's types.

    Raises:
        TypeError: if there is no option of this name, as of any function of Python.
        ValueError: if an option or `rngs` does not fit.
    """
    _check_names(module, options)
    checked = cast(Options, check_arguments(options))
    if "deterministic" in options:  # unlike in Linen, there is always a mode
        check_bool("deterministic", options["deterministic"])
    check_rngs(rngs, "params", *["dropout"] * draws_masks(checked, *other_rates))
    return checked


def _check_names(module: type, options: Options) -> None:
    """Raises TypeError if an option is not in `Options`; names the nearest."""
    own = inspect.signature(module.__init__).parameters.values()  # type: ignore[misc]
    known = [argument.name for argument in own if argument.kind == argument.KEYWORD_ONLY]
    known += Options.__annotations__
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean `{nearest[0]}`? The" if nearest else "the"
            raise TypeError(
                f"`{name}` is not an option of `{module.__name__}`; {hint} options are "
                f"{', '.join(f'`{option}`' for option in known)}."
            )


def check_rngs(rngs: Any, *streams: str) -> None:
    """Raises ValueError unless `rngs` are of NNX and have these streams, or a default one."""
    check_instance("rngs", rngs, nnx.Rngs, "flax.nnx.Rngs(0)")
    for stream in streams:
        if stream not in rngs and "default" not in rngs:
            raise ValueError(
                f'`rngs` must have the stream "{stream}" or a default one, got {list(rngs)}.'
            )


def draws_masks(options: Options, *other_rates: Any) -> bool:
    """Whether a module with these checked options and rates draws random masks in training."""
    names = ("zoneout", "recurrent_dropout", "input_dropout")
    rates = *(options.get(name, 0.0) for name in names), *other_rates
    return not all(is_off(rate) for rate in rates)


def fork_dropout(rngs: nnx.Rngs, options: Options, *other_rates: Any) -> nnx.RngStream | None:
    """A stream of keys for random masks, if there is a rate, or a stream "dropout" for later ones.

    A module without both draws nothing from the default stream, and has no state of random keys.
    """
    if "dropout" in rngs or draws_masks(options, *other_rates):
        return rngs.dropout.fork()
    return None


def select_cell_options(options: Options) -> CellOptions:
    """Returns the options of the cells."""
    names = CellOptions.__annotations__
    return cast(CellOptions, {name: options[name] for name in options if name in names})  # type: ignore[literal-required]


def select_inner_options(options: Options) -> Options:
    """Returns the options of the layers inside a module, which runs and regularizes them itself."""
    inner = Options(**select_cell_options(options))
    inner["learned_h0"] = options.get("learned_h0", False)
    return inner
