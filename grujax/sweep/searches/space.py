"""The space of a search: grujax's distributions as those of Optuna.

A parameter of Optuna is the value of the hyperparameter. Of a function that is none of
`uniform`, `log_uniform`, `integer` and `choice`, it is the number in [0, 1) that the function turns
into the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grujax.checks import check_mapping
from grujax.sweep.distributions import Distribution, check_distribution, kind_of
from grujax.sweep.fingerprints import describe_function
from grujax.sweep.trials import Trials, check_trials, draw

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = dict[str, Any]  # the parameters of one trial, as Optuna has them

_ENDS = np.array([0.0, 1 - 2**-53])  # the least and the greatest number in [0, 1)


def check_space(space: Any, static: tuple[str, ...]) -> Trials:
    """Raises ValueError unless trials of the space can run. Returns: some values of each.

    Args:
        space: a distribution for each hyperparameter.
        static: the hyperparameters that are not traced.
    """
    check_mapping("space", space, "with a distribution for each hyperparameter")
    if not space:
        raise ValueError("`space` must have at least one hyperparameter, got an empty dict.")
    for name in static:
        if name not in space:
            names = ", ".join(f"`{each}`" for each in space)
            raise ValueError(f"`static` names `{name}`, but the hyperparameters are {names}.")
    return {name: _check(name, distribution, static) for name, distribution in space.items()}


def describe_space(space: Mapping[str, Distribution]) -> dict[str, str]:
    """What identifies a space: a text for each distribution."""
    return {name: _describe(distribution) for name, distribution in sorted(space.items())}


def to_optuna(space: Mapping[str, Distribution]) -> dict[str, BaseDistribution]:
    """The distributions of Optuna."""
    return {name: _convert(distribution) for name, distribution in space.items()}


def value_of(name: str, distribution: Distribution, param: Any) -> Any:
    """The value of a hyperparameter, of the parameter that Optuna has for it."""
    if kind_of(distribution)[0]:
        return param
    return draw(f"space[{name!r}]", distribution, np.array([param]))[0].item()


def _check(name: str, distribution: Any, static: tuple[str, ...]) -> np.ndarray:
    """The ends of a distribution, or all values of a choice, which `train` must be able to take."""
    shown = f"space[{name!r}]"
    check_distribution(shown, distribution)
    kind, arguments = kind_of(distribution)
    values = arguments[0] if kind == "choice" else draw(shown, distribution, _ENDS)
    check_trials({shown: values}, (shown,) if name in static else ())
    if values.dtype.kind == "c":
        raise ValueError(f"`{shown}` holds complex numbers, which Optuna cannot search.")
    return values


def _describe(distribution: Distribution) -> str:
    kind, arguments = kind_of(distribution)
    if not kind:
        return describe_function(distribution)
    shown = [x.tolist() if isinstance(x, np.ndarray) else x for x in arguments]
    return f"{kind}({', '.join(map(repr, shown))})"


def _convert(distribution: Distribution) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    kind, arguments = kind_of(distribution)
    if kind == "choice":
        return CategoricalDistribution(arguments[0].tolist())
    if kind == "integer":
        return IntDistribution(arguments[0], arguments[1] - 1)
    low, high = arguments or _ENDS.tolist()
    return FloatDistribution(low, high, log=kind == "log_uniform")
