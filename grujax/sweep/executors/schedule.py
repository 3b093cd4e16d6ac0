"""Which trials are given out next, how many at once, and which again.

Groups follow one another, so that a worker compiles few programs. With "map", the first pieces of a
group have one trial for each device of a worker, and show how long a trial takes. Later ones take
about `CHUNK_SECONDS`, or nine times as long as each worker needs to get ready, if it is a new
process for each task. Towards the end they get smaller, down to a floor, so that all workers end at
about the same time. With "vmap", a group has as many equal pieces as there are workers: they all
run in the same program.

A piece that fails is given out again. When an executor breaks, the oldest pieces, as many as it has
workers, are suspected of having killed a worker. A suspect has its last attempt alone, so that no
piece is given up because of another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from grujax.sweep.executors.tasks import Outcome
from grujax.sweep.local import CHUNK_SECONDS, Work

_FLOOR_SECONDS = 0.2  # of a piece, where its trials are short
_SETUPS = 9  # how much longer than its setup a piece takes
_ASSUMED = 4  # workers, where their number is unknown
_HOPELESS = 3  # pieces given up before any of their group succeeded: then all of it is


@dataclass(eq=False)
class Piece:
    """Trials that one task computes."""

    group: int
    indices: np.ndarray
    failures: int = 0
    is_suspect: bool = False  # a worker died while it, or one beside it, had this piece


class Failure(NamedTuple):
    """Trials that are given up."""

    group: int
    indices: np.ndarray
    reason: str


class Schedule:
    """What is left of a sweep."""

    def __init__(
        self, works: list[Work], chunk: int | None, strategy: str, devices: int, retries: int
    ):
        """
        Args:
            works: the trials to run, by group.
            chunk: how many are given out at once; None: measured.
            strategy: "map" or "vmap".
            devices: of each worker.
            retries: how often a piece that failed is given out again.
        """
        self._fresh = [work.indices for work in works]
        self._chunk, self._strategy = chunk, strategy
        self._devices, self._retries = devices, retries
        self._again: deque[Piece] = deque()
        self._alone: deque[Piece] = deque()
        self._per_trial: dict[int, float] = {}  # seconds, by group
        self._setup = np.inf
        self._widths: dict[int, int] = {}  # of "vmap", by group
        self._successes: set[int] = set()  # groups
        self.failures: list[Failure] = []

    def next(self, workers: int, pending: int) -> Piece | None:
        """The next piece; None if there is none now.

        Args:
            workers: how many the executor has; 0: unknown.
            pending: how many pieces are given out.
        """
        if self._again:
            return self._again.popleft()
        for group, fresh in enumerate(self._fresh):
            if len(fresh):
                size = self._size(group, workers or _ASSUMED)
                self._fresh[group] = fresh[size:]
                return Piece(group, fresh[:size])
        if self._alone and not pending:
            return self._alone.popleft()
        return None

    def capacity(self, group: int, trials: int) -> int:
        """How many trials the program of a group takes, of at most `trials`."""
        return self._widths.get(group, trials)

    def put_back(self, piece: Piece) -> None:
        """Takes back a piece that was not computed, for no fault of its own."""
        self._again.appendleft(piece)

    def succeed(self, piece: Piece, outcome: Outcome) -> None:
        """Learns from a finished piece."""
        self._successes.add(piece.group)
        self._per_trial[piece.group] = outcome.seconds / len(piece.indices)
        self._setup = min(self._setup, outcome.setup)

    def suspect(self, piece: Piece, reason: str) -> None:
        """Takes back a piece that may have killed a worker."""
        piece.is_suspect = True
        self.fail(piece, reason)

    def fail(self, piece: Piece, reason: str) -> None:
        """Takes back a piece that failed, or gives it up after its last attempt."""
        piece.failures += 1
        if piece.failures > self._retries:
            self._give_up(piece, reason)
        elif piece.is_suspect and piece.failures == self._retries:
            self._alone.append(piece)
        else:
            self._again.append(piece)

    def _give_up(self, piece: Piece, reason: str) -> None:
        self.failures.append(Failure(piece.group, piece.indices, reason))
        of_group = [failure for failure in self.failures if failure.group == piece.group]
        rest = self._fresh[piece.group]
        is_hopeless = piece.group not in self._successes and len(of_group) >= _HOPELESS
        if is_hopeless and len(rest):
            self._fresh[piece.group] = rest[:0]
            self.failures.append(Failure(piece.group, rest, "none of this group succeeded"))

    def _size(self, group: int, workers: int) -> int:
        """How many trials the next piece of a group has."""
        if self._chunk is not None:
            return self._rounded(self._chunk) if self._strategy == "vmap" else self._chunk
        if self._strategy == "vmap":
            width = self._rounded(-(-len(self._fresh[group]) // workers))
            return self._widths.setdefault(group, width)
        if group not in self._per_trial:
            return self._devices
        per_trial = max(self._per_trial[group], 1e-9)
        left = sum(map(len, self._fresh))
        fair = max(-(-left // (2 * workers)), int(_FLOOR_SECONDS / per_trial))
        seconds = max(CHUNK_SECONDS, _SETUPS * self._setup)
        return self._rounded(max(1, min(fair, int(seconds / per_trial))))

    def _rounded(self, trials: int) -> int:
        """A multiple of the devices, and not less."""
        return -(-trials // self._devices) * self._devices
