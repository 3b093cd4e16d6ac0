"""How processes wait for each other until all have come, or one is missing."""

import errno
import selectors
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from experiments.common.training.rendezvous.connections import (
    GRACE_SECONDS,
    Address,
    Connection,
    LostProcessError,
    ScaleError,
    resolve,
)

RETRY_SECONDS = 0.1  # between two attempts to connect
MAX_STRANGERS = 64  # connections that have not said who they are


@dataclass(frozen=True)
class Meeting:
    """Who is to meet where, as one process sees it."""

    address: Address  # of process 0
    processes: int  # their number
    process: int  # the index of this one, from 0
    timeout: float  # seconds
    about: Mapping[str, str] = field(default_factory=dict)  # must be the same in all processes
    bind: Address | None = None  # where process 0 listens, if not at `address`

    def facts(self) -> dict[str, Any]:
        """What all processes must agree on."""
        return {"--processes": self.processes} | dict(self.about)


def meet(meeting: Meeting) -> tuple[dict[int, Connection], Address]:
    """Returns when all processes have met.

    Returns: in process 0 the connections to all others, by number; in the others that to process 0.
    And the numeric address at which process 0 listened, and where JAX can.

    Raises:
      ScaleError: the address cannot be used, a number is there twice, or the processes disagree.
      LostProcessError: a process is missing after `meeting.timeout` seconds.
    """
    if meeting.process == 0:
        with _listen(meeting.bind or meeting.address) as listener, ExitStack() as stack:
            address = Address(*listener.getsockname()[:2])
            host = _Host(meeting, listener, address)
            stack.callback(host.close)
            host.run()
        for connection in host.joined.values():  # now that the port is free
            connection.send({"go": True})
        return host.joined, address
    connection = _join(meeting)
    return {0: connection}, Address(*connection.socket.getpeername()[:2])


class _Host:
    """Process 0, until all others have come."""

    def __init__(self, meeting: Meeting, listener: socket.socket, address: Address):
        self.meeting, self.listener, self.address = meeting, listener, address
        self.strangers: list[Connection] = []
        self.joined: dict[int, Connection] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Waits for the others; if that fails, tells them why."""
        deadline = time.monotonic() + self.meeting.timeout
        try:
            while len(self.joined) < self.meeting.processes - 1:
                if (left := deadline - time.monotonic()) <= 0:
                    raise LostProcessError(self._describe_missing())
                for key, _ in self.selector.select(left):
                    if key.fileobj is self.listener:
                        self._welcome()
                    else:
                        self._hear(key.data)
        except BaseException as error:
            kind = "refused" if isinstance(error, ScaleError) else "lost"
            for connection in (*self.joined.values(), *self.strangers):
                connection.send({kind: str(error) or "Process 0 was interrupted."})
                connection.close()
            raise

    def close(self) -> None:
        """Closes what is not needed any more."""
        self.selector.close()
        for stranger in self.strangers:
            stranger.close()

    def _describe_missing(self) -> str:
        number, address = self.meeting.processes, self.meeting.address
        missing = list(islice((i for i in range(1, number) if i not in self.joined), 11))
        listed = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        local = ", which other machines cannot reach" if self.address.is_loopback() else ""
        return (
            f"{'Process' if len(missing) == 1 else 'Processes'} {listed} of {number} did not reach "
            f"{address} within {self.meeting.timeout:g} seconds (--timeout). Process 0 listened at "
            f"{self.address}{local}. Start each process from 0 to {number - 1} once, with the same "
            "--coordinator and --processes."
        )

    def _welcome(self) -> None:
        with suppress(OSError):  # it has ended already
            stranger = Connection(self.listener.accept()[0])
            stranger.socket.setblocking(False)
            self.strangers.append(stranger)
            self.selector.register(stranger, selectors.EVENT_READ, stranger)
        if len(self.strangers) > MAX_STRANGERS:
            self._forget(self.strangers[0])

    def _forget(self, connection: Connection) -> None:
        """Closes a connection; its number is free again."""
        self.selector.unregister(connection)
        connection.close()
        self.strangers = [other for other in self.strangers if other is not connection]
        self.joined = {i: other for i, other in self.joined.items() if other is not connection}

    def _hear(self, connection: Connection) -> None:
        try:
            messages = connection.receive()
        except OSError:
            self._forget(connection)
            return
        for message in messages:
            number, facts = message.get("process"), message.get("facts")
            is_hello = type(number) is int and isinstance(facts, dict)
            if not is_hello or connection not in self.strangers:
                self._forget(connection)
                return
            self._admit(connection, number, facts)

    def _admit(self, connection: Connection, number: int, facts: dict[str, Any]) -> None:
        """Lets a process join, or says why it may not."""
        for name, ours in self.meeting.facts().items():
            if facts.get(name) != ours:
                raise ScaleError(
                    f"The processes disagree: process 0 has {name} {ours}, process {number} has "
                    f"{name} {facts.get(name)!r:.40}. Start all of them with the same command "
                    "except for --process, and with the same versions of all packages."
                )
        if number not in self.joined and 0 < number < self.meeting.processes:
            self.strangers.remove(connection)
            self.joined[number] = connection
            return
        sentence = (
            f"There are two processes with --process {number} at {self.meeting.address}: start "
            f"each number from 0 to {self.meeting.processes - 1} once."
        )
        print(f"warning: {sentence} The second one was refused.", file=sys.stderr, flush=True)
        connection.send({"refused": sentence})
        self._forget(connection)


def _listen(address: Address) -> socket.socket:
    """A socket that listens at this address alone. Raises ScaleError if it cannot."""
    problem = OSError()
    for family, place in resolve(address):
        is_dual = family == socket.AF_INET6 and place[0] == "::" and socket.has_dualstack_ipv6()
        try:
            return socket.create_server(place, family=family, backlog=1024, dualstack_ipv6=is_dual)
        except OSError as error:
            problem = error
    reasons = {
        errno.EADDRINUSE: "the port is taken, by another program or by a process 0 that runs "
        "already; choose another port",
        errno.EADDRNOTAVAIL: "this machine does not have the address, but process 0 must run on "
        "the machine that --coordinator names",
        errno.EACCES: "this user may not use the port; choose one above 1023",
    }
    reason = reasons.get(problem.errno or 0, problem.strerror)
    raise ScaleError(f"Process 0 cannot listen at {address}: {reason}.") from problem


def _join(meeting: Meeting) -> Connection:
    """Finds process 0, and waits until all have come, or until it says which one has not."""
    connection = _connect(meeting)
    deadline = time.monotonic() + meeting.timeout + GRACE_SECONDS
    with ExitStack() as stack:
        stack.callback(connection.close)
        connection.send({"process": meeting.process, "facts": meeting.facts()})
        messages: list[dict[str, Any]] = []
        try:
            while not messages:
                connection.socket.settimeout(max(0.001, deadline - time.monotonic()))
                messages = connection.receive()
        except TimeoutError as error:
            raise LostProcessError(
                f"Not all {meeting.processes} processes came within {meeting.timeout:g} seconds "
                "(--timeout), and process 0 still waits for them: give all the same --timeout."
            ) from error
        except OSError as error:
            raise LostProcessError(
                f"What answers at {meeting.address} is no process 0 that waits for others: it runs "
                "already, has ended, or is another program. End it, and start all processes again."
            ) from error
        if "refused" in messages[0]:
            raise ScaleError(str(messages[0]["refused"]))
        if "go" not in messages[0]:
            raise LostProcessError(str(messages[0].get("lost")))
        connection.socket.settimeout(None)
        stack.pop_all()
    return connection


def _connect(meeting: Meeting) -> Connection:
    """Connects to process 0 as soon as it listens."""
    deadline = time.monotonic() + meeting.timeout
    while True:
        try:
            connected = socket.create_connection(
                (meeting.address.host, meeting.address.port),
                timeout=max(0.001, deadline - time.monotonic()),
            )
            if connected.getsockname() != connected.getpeername():
                return Connection(connected)
            connected.close()  # the system connected the port to itself
            problem: Exception = ConnectionRefusedError("connection refused")
        except (OSError, UnicodeError) as error:
            problem = error
        if time.monotonic() + RETRY_SECONDS >= deadline:
            reason = getattr(problem, "strerror", None) or problem
            raise LostProcessError(
                f"Process 0 did not answer at {meeting.address} within {meeting.timeout:g} seconds "
                f"(--timeout): {reason}. Start it there, with the same --coordinator."
            ) from problem
        time.sleep(RETRY_SECONDS)
