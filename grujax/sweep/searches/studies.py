"""The trials of a search in a study of Optuna: asked for, told, and found again after a kill.

Each trial of the study notes which search it belongs to, and its number there. So several searches
can share one study, and a search that resumes knows its trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from grujax.checks import describe
from grujax.sweep.distributions import Distribution
from grujax.sweep.plan import key_data
from grujax.sweep.searches.space import to_optuna, value_of
from grujax.sweep.storage import Asked

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_MARK = "grujax"  # the attribute of a trial that says which one of which search it is
_DIRECTIONS = {"min": "minimize", "max": "maximize"}


def check_study(study: Any, sampler: Any, direction: str) -> None:
    """Raises ValueError for a study or a sampler that a search cannot use, ImportError without
    Optuna."""
    optuna = _import_optuna()
    if sampler is not None:
        _check_kind("sampler", sampler, optuna.samplers.BaseSampler)
    if study is not None:
        check_is_study(study)
        there = [one.name.lower() for one in study.directions]
        if there != [_DIRECTIONS[direction]]:
            raise ValueError(
                f"`study` must {_DIRECTIONS[direction]} one value, as `direction` says, but its "
                f"directions are {', '.join(there)}."
            )


def check_is_study(study: Any) -> None:
    """Raises ValueError unless this is a study of Optuna."""
    _check_kind("study", study, _import_optuna().study.Study)


def _check_kind(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` must be a {kind.__name__} of Optuna, got {describe(value)}.")


@contextmanager
def opened_study(
    study: Study | None, sampler: BaseSampler | None, direction: str
) -> Iterator[Study]:
    """The study of a search, with its sampler. A study of the user has its own again afterwards."""
    optuna = _import_optuna()
    if study is None:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports the study's random name
        try:
            study = optuna.create_study(direction=_DIRECTIONS[direction], sampler=sampler)
        finally:
            optuna.logging.set_verbosity(verbosity)
    before = study.sampler
    study.sampler = sampler or before
    try:
        yield study
    finally:
        study.sampler = before


class Ledger:
    """The trials of one search, by their numbers in it, and their places in the study."""

    def __init__(
        self,
        study: Study,
        space: Mapping[str, Distribution],
        settings: str,
        name: str,
        key: Array | None,
    ):
        """
        Args:
            study: where trials are asked for, and told.
            space: the distribution of each hyperparameter.
            settings: a digest of what identifies the search, its key included.
            name: that no other search has.
            key: seeds the default sampler anew for each batch, so that what it asks for depends on
                the trials before alone. None keeps the sampler of the study.
        """
        self.trials: dict[int, Asked] = {}
        self._study, self._space, self._key = study, space, key
        self._mark = {"settings": settings, "search": name}
        self._distributions = to_optuna(space)
        self._places: dict[int, int] = {}
        self._told: set[int] = set()

    def resume(self, known: Mapping[int, Asked]) -> dict[int, Asked]:
        """Finds the trials of an earlier call in the study, and adds those that are not in it.

        Args:
            known: the trials that the directory knows.

        Returns:
            The trials that only the study knows: the process died before it wrote them, or their
            file was damaged.

        Raises:
            ValueError: another search of the same settings and key uses the study.
        """
        from optuna.trial import TrialState, create_trial

        there = self._find()
        for number in sorted(known.keys() - there.keys()):
            trial = create_trial(
                state=TrialState.RUNNING,
                params=known[number].params,
                distributions=self._distributions,
                user_attrs={_MARK: self._mark | {"trial": number}},
            )
            self._study.add_trial(trial)
        there = self._find()
        self.trials = dict(known)
        for number, trial in there.items():
            self.trials.setdefault(number, self._asked(trial.params))
            self._places[number] = trial.number
            if trial.state.is_finished():
                self._told.add(number)
        return {number: self.trials[number] for number in sorted(there.keys() - known.keys())}

    def ask(self, numbers: Sequence[int]) -> dict[int, Asked]:
        """Asks for trials with these numbers, all before any of them is told."""
        if self._key is not None:
            self._study.sampler = _default_sampler(self._key, numbers[0])
        for number in numbers:
            trial = self._study.ask(self._distributions)
            trial.set_user_attr(_MARK, self._mark | {"trial": number})
            self.trials[number] = self._asked(trial.params)
            self._places[number] = trial.number
        return {number: self.trials[number] for number in numbers}

    def tell(self, numbers: np.ndarray, values: np.ndarray) -> None:
        """Tells the metric of trials, those that are not told yet; NaN is a failure."""
        for number, value in zip(numbers.tolist(), values.astype(float).tolist(), strict=True):
            if number not in self._told:
                self._tell(number, value)

    def give_up(self) -> None:
        """Tells the trials that nobody will finish as failed."""
        for number in sorted(self._places.keys() - self._told):
            self._tell(number, math.nan)

    def places(self, count: int) -> np.ndarray:
        """The numbers `[n]` that the first n trials have in the study."""
        return np.array([self._places[number] for number in range(count)])

    def _tell(self, number: int, value: float) -> None:
        from optuna.trial import TrialState

        if math.isnan(value):
            self._study.tell(self._places[number], state=TrialState.FAIL)
        else:
            self._study.tell(self._places[number], value)
        self._told.add(number)

    def _find(self) -> dict[int, FrozenTrial]:
        """The trials of this search in the study, by their numbers in it."""
        found = {}
        for trial in self._study.get_trials(deepcopy=False):
            mark = trial.user_attrs.get(_MARK, {})
            if mark.get("settings") != self._mark["settings"]:
                continue
            if mark["search"] != self._mark["search"]:
                raise ValueError(
                    "`study` has trials of another search with the same `key` and space, which "
                    "would ask for the same trials: give each search a key of its own. A search "
                    "resumes in its `directory`."
                )
            found[mark["trial"]] = trial
        return found

    def _asked(self, params: Mapping[str, Any]) -> Asked:
        names = list(self._space)
        values = {name: value_of(name, self._space[name], params[name]) for name in names}
        return Asked({name: params[name] for name in names}, values)


def _default_sampler(key: Array, number: int) -> BaseSampler:
    """TPE for the batch that begins with this trial; it counts running trials as bad ones."""
    from optuna.samplers import TPESampler

    entropy = [*key_data(key).ravel().tolist(), number]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    return TPESampler(constant_liar=True, seed=seed)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("`search` needs Optuna: pip install 'grujax[search]'.") from error
    return optuna
