"""The executor that the user gave, or that their function makes and, after a breakdown, remakes."""

from __future__ import annotations

import inspect
import time
from asyncio import CancelledError
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import suppress
from typing import Any

from grujax.checks import describe
from grujax.sweep.executors.tasks import Outcome, Task
from grujax.sweep.executors.worker import compute

_FIRST_TASKS = 16  # that are given to an executor that does not say how many workers it has
_POLL_SECONDS = 0.1  # between two looks at futures that cannot be waited for together


class BreakdownError(Exception):
    """The executor takes no more tasks."""


class LostTaskError(Exception):
    """The executor has no result of a task, though it may take others."""


class Engine:
    """An executor, and what is known of its workers."""

    def __init__(self, executor: Any, *, stays: bool = False):
        """
        Args:
            executor: the user's.
            stays: whether it stays open for more trials when those that are given out are finished.

        Raises:
            ValueError: it is neither an executor nor a function that makes one.
        """
        is_executor = hasattr(executor, "submit") and not inspect.isclass(executor)
        if not is_executor and not _is_factory(executor):
            raise ValueError(
                "`executor` must have a method `submit`, or be a function without arguments that "
                f"makes such an executor, got {describe(executor)}."
            )
        self._factory = None if is_executor else executor
        self._executor: Any = executor if is_executor else None
        self.stays = stays
        self._seen: set[tuple[str, int, int]] = set()

    @property
    def can_be_remade(self) -> bool:
        """Whether a function makes the executor."""
        return self._factory is not None

    @property
    def workers(self) -> int:
        """How many workers there are, as the executor says or as results have shown; 0: unknown."""
        return max(_count_workers(self._executor), len(self._seen))

    @property
    def room(self) -> int:
        """How many tasks to give out at once: each worker finds its next one waiting."""
        return 2 * self.workers + 2 if self.workers else _FIRST_TASKS

    def start(self) -> None:
        """Makes the executor, unless there is one.

        Raises:
            ValueError: the user's function makes no executor.
        """
        if self._executor is None and self._factory is not None:
            made = self._factory()
            if not callable(getattr(made, "submit", None)):
                raise ValueError(
                    "`executor` must make an executor with a method `submit`, but makes "
                    f"{describe(made)}."
                )
            self._executor = made

    def submit(self, task: Task) -> Any:
        """The future of a task. Raises BreakdownError if the executor takes none."""
        self.start()
        try:
            return self._executor.submit(compute, task)
        except Exception as error:  # every engine has its own
            raise BreakdownError(f"{type(error).__name__}: {error}") from error

    def wait(self, futures: Collection[Any]) -> list[Any]:
        """Waits until one future or more are done, and returns these."""
        if all(isinstance(future, Future) for future in futures):
            done = wait(futures, return_when=FIRST_COMPLETED).done
            return [future for future in futures if future in done]
        silent = [future for future in futures if not hasattr(future, "done")]
        if silent:
            return silent[:1]  # whose result is waited for
        while not (found := self.done(futures)):
            time.sleep(_POLL_SECONDS)
        return found

    def outcome(self, future: Any) -> Outcome:
        """What a worker returned.

        Raises:
            BreakdownError: the executor is broken.
            LostTaskError: it has lost this task.
        """
        try:
            outcome = future.result()
        except BrokenExecutor as error:
            raise BreakdownError(f"{type(error).__name__}: {error}") from error
        except (Exception, CancelledError) as error:  # every engine has its own
            raise LostTaskError(f"{type(error).__name__}: {error}") from error
        self._seen.add(outcome.worker)
        return outcome

    def done(self, futures: Collection[Any], grace: float = 0.0) -> list[Any]:
        """The futures that are done, perhaps without a result, after a grace period at most."""
        if all(isinstance(future, Future) for future in futures):
            wait(futures, timeout=grace)
        return [future for future in futures if hasattr(future, "done") and future.done()]

    def remake(self) -> None:
        """Forgets the broken executor; the next task is given to a new one."""
        self.close(wait=False)
        self._seen.clear()

    def cancel(self, futures: Collection[Any]) -> None:
        """Cancels what has not begun."""
        for future in futures:
            with suppress(Exception):  # a job whose queue has forgotten it
                if hasattr(future, "cancel"):
                    future.cancel()

    def close(self, wait: bool) -> None:
        """Shuts down the executor, if the user's function made it."""
        if self._factory is not None and self._executor is not None:
            made, self._executor = self._executor, None
            with suppress(Exception):  # it may be broken
                if hasattr(made, "shutdown"):
                    made.shutdown(wait=wait)


def _is_factory(value: Any) -> bool:
    """Whether it is a function that can be called without arguments."""
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind()
    except TypeError:
        return False
    except ValueError:  # of some functions in C nothing is known
        pass
    return True


def _count_workers(executor: Any) -> int:
    """The number of workers, of executors that say it; 0 of others."""
    for name in ("num_workers", "_max_workers"):  # of mpi4py; of concurrent.futures and loky
        count = getattr(executor, name, None)
        if isinstance(count, int):
            return count
    with suppress(Exception):  # no Dask, or no connection to its scheduler
        return sum(executor._client.nthreads().values())
    return 0
