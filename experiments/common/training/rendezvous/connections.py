"""Addresses, and connections that carry lines of JSON."""

import ipaddress
import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from experiments.common.command import InputError

GRACE_SECONDS = 1.0  # after another process has failed, to end with a message of one's own
MAX_MESSAGE = 4096  # bytes


class ScaleError(InputError):
    """The flags for devices and processes are invalid here; the message says why."""


class LostProcessError(RuntimeError):
    """Another process has ended, or cannot be reached."""


@dataclass(frozen=True)
class Address:
    """A host, by name or number, and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, name: str) -> "Address":
        """Reads HOST:PORT or [IPV6]:PORT; `name` is where it comes from. Raises ScaleError."""
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})", text)
        if match is None or not 1 <= int(match[3]) <= 65535:
            raise ScaleError(f"{name} must be HOST:PORT with a port of 1 to 65535, got {text!r}.")
        return cls(match[1] or match[2], int(match[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        """Whether no other machine can reach it. The host is a number."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback


def resolve(address: Address) -> list[tuple[int, Any]]:
    """The families and numeric addresses of a host. Raises ScaleError if it has none."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ScaleError(f"The host of {address} is unknown: {reason}.") from error
    return [(family, place) for family, _, _, _, place in found]


class Connection:
    """A connection that carries lines of JSON."""

    def __init__(self, connected: socket.socket):
        self.socket = connected
        self._received = b""
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):  # a machine that vanished is noticed after 25 seconds
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def fileno(self) -> int:
        """The file descriptor, for selectors."""
        return self.socket.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message, or nothing if the connection has ended."""
        with suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have arrived. Raises OSError if it has ended, or carries others."""
        try:
            received = self.socket.recv(MAX_MESSAGE)
        except BlockingIOError:
            return []
        if not received:
            raise ConnectionResetError("the connection has ended")
        *lines, self._received = (self._received + received).split(b"\n")
        try:
            messages = [json.loads(line) for line in lines]
        except (ValueError, RecursionError) as error:
            raise ConnectionAbortedError("not a message") from error
        if len(self._received) > MAX_MESSAGE or not all(type(x) is dict for x in messages):
            raise ConnectionAbortedError("not a message")
        return messages

    def close(self) -> None:
        """Ends it."""
        self.socket.close()
