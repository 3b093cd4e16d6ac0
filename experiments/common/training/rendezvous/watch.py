"""How processes that have met notice that one of them has ended."""

import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from experiments.common.training.rendezvous.connections import GRACE_SECONDS, Connection


def end_with(sentence: str) -> NoReturn:
    """Prints an error and ends this process, whatever its main thread waits for."""
    print(f"\nerror: {sentence}", file=sys.stderr, flush=True)
    os._exit(1)


class Watch(threading.Thread):
    """Ends this process when another one has ended without a goodbye.

    A process that fails says so first. Then the others have GRACE_SECONDS to end by themselves with
    a message of their own: what is wrong with one is often wrong with all. Process 0 ends last,
    because JAX aborts the others as soon as its service is gone.
    """

    def __init__(
        self,
        connections: Mapping[int, Connection],
        end: Callable[[str], Any] = end_with,
    ):
        """Watches the connections of `meet`; `end(sentence)` is called at most once."""
        super().__init__(daemon=True, name="watch")
        self._connections = dict(connections)
        self._end = end
        self._is_host = 0 not in self._connections
        self._all_ended = threading.Event()
        self._has_left = self._fails = False
        self._sentence: str | None = None  # why this process is going to end
        self._earliest = self._latest = 0.0  # when

    def run(self) -> None:
        """Waits until the others have ended."""
        done: set[int] = set()
        with selectors.DefaultSelector() as selector:
            for number, connection in self._connections.items():
                selector.register(connection, selectors.EVENT_READ, number)
            while selector.get_map():
                wait = None if self._sentence is None else self._latest - time.monotonic()
                if wait is not None and wait <= 0:
                    break
                for key, _ in selector.select(wait):
                    try:
                        messages = self._connections[key.data].receive()
                    except OSError:
                        selector.unregister(key.fileobj)
                        messages = [] if key.data in done else [{"lost": key.data}]
                    for message in messages:
                        done.add(key.data)
                        self._understand(key.data, message)
        self._all_ended.set()
        if self._sentence is not None:
            time.sleep(max(0.0, self._earliest - time.monotonic()))
            if not self._fails:
                self._end(self._sentence)

    def say_goodbye(self) -> None:
        """Tells the others that this process ends well."""
        if not self._has_left:
            self._has_left = True
            self._tell({"goodbye": True})

    def say_failure(self, status: int) -> None:
        """Tells the others that this process ends with an error; process 0 waits for them."""
        self._fails = True
        if not self._has_left:
            self._has_left = True
            self._tell({"lost": None, "status": status})
            if self._is_host:
                self._all_ended.wait(2 * GRACE_SECONDS)

    def _tell(self, message: dict[str, Any]) -> None:
        for connection in self._connections.values():
            connection.send(message)

    def _understand(self, sender: int, message: dict[str, Any]) -> None:
        """Notes that a process is lost: the sender, or one that process 0 names."""
        if "lost" not in message or self._sentence is not None:
            return
        number = sender if message["lost"] is None else message["lost"]
        status = message.get("status")
        how = "was interrupted" if status == 130 else "has ended or cannot be reached"
        self._sentence = (
            f"Process {number} {how}; its output says why. Start all processes again with the same "
            "command: they resume from the last checkpoint."
        )
        self._earliest = time.monotonic() + (0.0 if status is None else GRACE_SECONDS)
        self._latest = self._earliest
        if self._is_host:
            self._tell({"lost": number, "status": status})
            self._latest += GRACE_SECONDS
