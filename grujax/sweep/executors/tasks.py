"""What travels between the process that called `run` and its workers, as plain picklable data."""

from __future__ import annotations

import hashlib
import pickle
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from grujax.sweep.contract import Train
from grujax.sweep.fingerprints import Origin
from grujax.sweep.plan import Plan
from grujax.sweep.storage import Chunk
from grujax.sweep.trials import Trials


class Packed(NamedTuple):
    """A train function as bytes, which a worker loads once."""

    content: bytes
    digest: str


class Task(NamedTuple):
    """Trials of one group, and all that a worker needs to compute them."""

    train: Packed
    plan: Plan  # without devices: the worker has its own
    devices: int | None  # how many of its devices the worker uses; None: all
    settings: tuple[tuple[str, Any], ...]  # of JAX, see `jax_settings`
    key: np.ndarray  # the data of the sweep's key
    indices: np.ndarray  # [n] int64
    values: Trials  # of the traced hyperparameters, each [n]
    sweep: str | None  # whose `Origin` the result notes; None: it notes none
    attempt: int  # from 0: some engines do not run equal tasks twice


class Outcome(NamedTuple):
    """What a worker returns: a chunk, or why there is none."""

    worker: tuple[str, int, int]  # host, process, thread
    chunk: Chunk | None = None
    origin: Origin | None = None
    seconds: float = 0.0  # that the trials took
    setup: float = 0.0  # seconds that passed before, with the start of a new process
    failure: str = ""  # the traceback of an error in this task
    refusal: str = ""  # why this worker can compute no task of this sweep

    @property
    def place(self) -> str:
        """The worker, for messages."""
        return f"process {self.worker[1]} on {self.worker[0]}"


def pack(train: Train) -> Packed:
    """A train function as bytes: an importable one as its import path, another one by value.

    The second needs cloudpickle, which also takes lambdas, closures and functions of a script.

    Raises:
        ValueError: the function cannot be sent.
    """
    pickler: Any = pickle
    with suppress(ImportError):
        pickler = import_module("cloudpickle")
    try:
        content = pickler.dumps(train)
        if pickler is pickle and b"__main__" in content:
            raise ValueError("it is defined in the script itself")
    except MemoryError:
        raise
    except Exception as error:  # objects raise what they like when they are pickled
        advice = "" if pickler is not pickle else ", or install cloudpickle"
        raise ValueError(
            f"`train` cannot be sent to the workers of `executor`: {str(error).rstrip('.')}. "
            f"Define it in a module that the workers can import{advice}."
        ) from error
    return Packed(content, hashlib.sha256(content).hexdigest())
