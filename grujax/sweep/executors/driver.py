"""The loop that gives out the trials of a sweep and receives their results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from jax import Array

from grujax.sweep.executors.engine import BreakdownError, Engine, LostTaskError
from grujax.sweep.executors.schedule import Failure, Piece, Schedule
from grujax.sweep.executors.tasks import Outcome, Packed, Task
from grujax.sweep.fingerprints import Origin, difference
from grujax.sweep.local import Work
from grujax.sweep.plan import Static, jax_settings, key_data
from grujax.sweep.storage import Chunk
from grujax.sweep.trials import Trials

_GRACE_SECONDS = 5.0  # for the futures of a broken executor to say that they are lost


def run_elsewhere(
    engine: Engine,
    train: Packed,
    key: Array,
    traced: Trials,
    works: list[Work],
    *,
    chunk: int | None,
    devices: int | None,
    retries: int,
    sweep: str | None,
    find_origin: Callable[[Static], Origin] | None,
) -> Generator[tuple[Static, Chunk], None, None]:
    """Runs all trials on the workers of an executor.

    Args:
        engine: the executor.
        train: the train function, see `pack`.
        key, traced, works, chunk: as for `run_here`.
        devices: how many devices each worker uses; None: all that it has.
        retries: how often trials are given out again after a failure.
        sweep: for the origins of the chunks; None: they have none.
        find_origin: what the trials of a group should be computed by; None if it does not matter.

    Yields:
        Each chunk as it is finished, with the static values of its group.

    Raises:
        ValueError: no worker can compute the trials, or one computes something else.
        RuntimeError: some trials failed, after all others are finished; or the executor is broken.
    """
    if not works:
        return
    schedule = Schedule(works, chunk, works[0].plan.strategy, devices or 1, retries)
    settings, data = jax_settings(), key_data(key)

    def task(piece: Piece) -> Task:
        plan = works[piece.group].plan
        return Task(
            train=train,
            plan=plan._replace(trials=schedule.capacity(piece.group, plan.trials), devices=()),
            devices=devices,
            settings=settings,
            key=data,
            indices=piece.indices,
            values={name: array[piece.indices] for name, array in traced.items()},
            sweep=sweep,
            attempt=piece.failures,
        )

    for piece, outcome in _compute(engine, schedule, task, retries):
        assert outcome.chunk is not None
        static = works[piece.group].plan.static
        if find_origin is not None and outcome.origin is not None:
            _check_origin(outcome, find_origin(static))
        yield static, outcome.chunk._replace(origin=outcome.origin)
    if schedule.failures:
        raise RuntimeError(_describe(schedule.failures, works, retries))


def _compute(
    engine: Engine, schedule: Schedule, task: Callable[[Piece], Task], retries: int
) -> Iterator[tuple[Piece, Outcome]]:
    """The results of all pieces that succeed. After Ctrl-C, those that are there, and it ends."""
    pending: dict[Any, Piece] = {}  # what is given out, by future, the oldest first
    has_result, breakdowns = False, 0
    try:
        engine.start()
        while True:
            reason = _give_out(engine, schedule, task, pending)
            if not pending and not reason:
                break
            for future in engine.wait(pending) if not reason else ():
                try:
                    outcome = engine.outcome(future)
                except BreakdownError as error:
                    reason = str(error)
                    break
                except LostTaskError as error:
                    schedule.fail(pending.pop(future), str(error))
                    continue
                piece = pending.pop(future)
                if _succeeds(schedule, piece, outcome):
                    has_result, breakdowns = True, 0
                    yield piece, outcome
            if reason:
                breakdowns += not (has_result and pending)
                yield from _rescue(engine, schedule, pending, reason)
                _remake(engine, reason, is_useless=breakdowns > retries)
    except KeyboardInterrupt:
        engine.cancel(pending)
        for piece, outcome in _received(engine, pending):
            if outcome.chunk is not None:
                yield piece, outcome
        raise
    finally:
        engine.cancel(pending)
        if not engine.stays:
            engine.close(wait=not pending)


def _give_out(
    engine: Engine, schedule: Schedule, task: Callable[[Piece], Task], pending: dict[Any, Piece]
) -> str:
    """Gives out as many pieces as the executor has room for. Returns why it takes none, or ""."""
    while len(pending) < engine.room:
        piece = schedule.next(engine.workers, len(pending))
        if piece is None:
            return ""
        try:
            pending[engine.submit(task(piece))] = piece
        except BreakdownError as error:
            schedule.put_back(piece)
            return str(error)
    return ""


def _succeeds(schedule: Schedule, piece: Piece, outcome: Outcome) -> bool:
    """Tells the schedule what became of a piece; returns whether it has a result."""
    if outcome.refusal:
        raise ValueError(f"`executor` cannot run this sweep: {outcome.refusal}.")
    if outcome.chunk is None:
        schedule.fail(piece, outcome.failure)
        return False
    schedule.succeed(piece, outcome)
    return True


def _rescue(
    engine: Engine, schedule: Schedule, pending: dict[Any, Piece], reason: str
) -> Iterator[tuple[Piece, Outcome]]:
    """The results that a broken executor still has; all other pieces go back to the schedule."""
    for piece, outcome in _received(engine, pending, _GRACE_SECONDS):
        if _succeeds(schedule, piece, outcome):
            yield piece, outcome
    suspects = max(1, engine.workers)
    for number, piece in reversed(list(enumerate(pending.values()))):
        if number < suspects:
            schedule.suspect(piece, f"its worker died ({reason})")
        else:
            schedule.put_back(piece)
    pending.clear()


def _received(
    engine: Engine, pending: dict[Any, Piece], grace: float = 0.0
) -> Iterator[tuple[Piece, Outcome]]:
    """The results that are there, after a grace period at most; they are no longer pending."""
    for future in engine.done(list(pending), grace):
        try:
            outcome = engine.outcome(future)
        except (BreakdownError, LostTaskError, KeyboardInterrupt):  # the last one in the worker
            continue
        yield pending.pop(future), outcome


def _remake(engine: Engine, reason: str, is_useless: bool) -> None:
    """Replaces a broken executor. Raises RuntimeError if that is impossible or of no use."""
    if not engine.can_be_remade:
        raise RuntimeError(
            f"`executor` is broken ({reason}), so the sweep stops; finished trials are kept. Pass "
            "a function that makes the executor, and the sweep goes on with a new one."
        )
    if is_useless:
        raise RuntimeError(
            f"`executor` breaks again and again without a result ({reason}). If the call of `run` "
            'is in a script, put it under `if __name__ == "__main__":`, because each worker '
            "imports the script."
        )
    engine.remake()


def _check_origin(outcome: Outcome, here: Origin) -> None:
    """Raises ValueError if a worker computes something else than this process would."""
    assert outcome.origin is not None
    reason = difference(outcome.origin, here)
    if reason is not None:
        raise ValueError(
            f"`train` differs between a worker ({outcome.place}, there) and this process (here): "
            f"{reason}"
        )


def _describe(failures: list[Failure], works: list[Work], retries: int) -> str:
    """Which trials failed, and why; with the traceback of one error."""
    failures = sorted(failures, key=lambda failure: failure.indices[0])
    count = sum(len(failure.indices) for failure in failures)
    lines = [
        f"{count} of {sum(len(work.indices) for work in works)} trials failed, with "
        f"retries={retries}; all others are finished. The same call runs them again, if it has a "
        "`directory`."
    ]
    for group, indices, reason in failures:
        static = ", ".join(f"{name}={value!r}" for name, value in works[group].plan.static)
        shown = ", ".join(map(str, indices[:10])) + (", ..." if len(indices) > 10 else "")
        last_line = reason.strip().splitlines()[-1]
        lines.append(f"Trials {shown}{f' ({static})' if static else ''}: {last_line}")
    longest = max((failure.reason for failure in failures), key=len)
    if "\n" in longest.strip():
        lines.append(longest.strip())
    return "\n".join(lines)
