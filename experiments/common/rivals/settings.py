"""What is fixed before a comparison is run."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.common.command import InputError
from experiments.common.flags import CellName, PositiveFloat, PositiveInt
from experiments.common.parsing import check_values, has_no_effect


@dataclass(frozen=True)
class Comparison:
    """The cells, and how often each is trained."""

    cells: tuple[CellName, ...] = ("gru", "lstm", "rnn", "min_gru", "transformer")
    # one training of each cell at each, from which validation data choose
    learning_rates: tuple[PositiveFloat, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
    seeds: PositiveInt = 3  # trainings of each cell at the chosen rate, which are tested

    def check(self, given: frozenset[str], unused: Sequence[str] = ()) -> None:
        """Raises InputError unless each value is named once, and no flag is without effect.

        Args:
          given: the names of the flags that were given with `--compare`.
          unused: those of the experiment that have no effect with it.
        """
        for name in ("learning_rate", "accumulate", "dtype", *unused):
            if name in given:
                raise has_no_effect(name, "compare")
        check_values("rivals.cells", self.cells)
        check_values("rivals.learning_rates", self.learning_rates)


def require_gru(cell: str, what: str) -> None:
    """Raises InputError if a network has another cell than a GRU.

    Args:
      cell: that of the network.
      what: what works with a GRU alone: a flag or a command.
    """
    if cell != "gru":
        raise InputError(f"{what} works with a GRU, not with --cell {cell}.")


# Of --quick: to try it out. A single rate is not tuned.
QUICK_COMPARISON = Comparison(("gru", "lstm", "transformer"), learning_rates=(1e-2,), seeds=1)
