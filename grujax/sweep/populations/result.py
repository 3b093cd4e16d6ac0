"""The result of a population."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grujax.checks import check_integer, describe
from grujax.sweep.result import SweepResult


@dataclass(frozen=True)
class PopulationResult(SweepResult):
    """The result of `population` or `successive_halving`: a `SweepResult` with trained states.

    Attributes:
        states: the last state of each member that ran to the end, a pytree of arrays. `save` does
            not write them.
    """

    states: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the arrays, and the numbers of the members."""
        super().__post_init__()
        if not isinstance(self.states, Mapping):
            raise ValueError(f"`states` must be a dict of members, got {describe(self.states)}.")
        for member in self.states:
            check_integer("states", member, 0, len(self.diverged) - 1)
