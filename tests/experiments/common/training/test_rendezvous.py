"""Processes that meet, played by threads: a wrong start ends with a sentence, an end is noticed."""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from experiments.common.training.rendezvous import (
    Address,
    Connection,
    LostProcessError,
    Meeting,
    ScaleError,
    Watch,
    meet,
)
from experiments.common.training.rendezvous import meeting as meetings
from experiments.common.training.rendezvous import watch as watching

LONG = 30  # seconds: none of these tests waits for so long


@pytest.fixture
def address() -> Address:
    """A free port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return Address("localhost", found.getsockname()[1])


def start(pool: ThreadPoolExecutor, *meetings: Meeting) -> list:
    """Threads that meet; `outcome` waits for one."""
    return [pool.submit(meet, meeting) for meeting in meetings]


def outcome(future):
    """What `meet` returned, or its error."""
    error = future.exception(timeout=2 * LONG)
    return future.result() if error is None else error


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as threads:
        yield threads


def connect(address: Address) -> socket.socket:
    """A connection to process 0 as soon as it listens."""
    for _ in range(20 * LONG):
        try:
            return socket.create_connection((address.host, address.port))
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def hello(process: int, processes: int) -> bytes:
    facts = {"process": process, "facts": {"--processes": processes}}
    return json.dumps(facts).encode() + b"\n"


def close(*outcomes) -> None:
    for connections, _ in outcomes:
        for connection in connections.values():
            connection.close()


def test_all_meet_and_leave_the_port_to_others(pool, address):
    meetings = [Meeting(address, 3, i, LONG) for i in (2, 0, 1)]
    two, zero, one = map(outcome, start(pool, *meetings))
    assert [sorted(connections) for connections, _ in (zero, one, two)] == [[1, 2], [0], [0]]
    numbers = {numeric for _, numeric in (zero, one, two)}
    assert len(numbers) == 1
    assert numbers.pop().is_loopback()
    zero[0][2].send({"to": 2})
    assert two[0][0].receive() == [{"to": 2}]
    socket.create_server(("127.0.0.1", address.port)).close()  # free, with the connections open
    close(zero, one, two)


def listening(port: int) -> set[str]:
    """The hexadecimal addresses at which this port listens."""
    lines = []
    for name in ("tcp", "tcp6"):
        lines += Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
    places = [line.split()[1].split(":") for line in lines if line.split()[3] == "0A"]
    return {host for host, found in places if int(found, 16) == port}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_0_listens_at_the_address_that_is_given_alone(pool, address):
    alone, everywhere = Meeting(address, 2, 0, LONG), "0" * 8
    (zero,) = start(pool, alone)
    connect(address).close()
    assert listening(address.port) == {"0100007F"}
    close(*map(outcome, [zero, *start(pool, Meeting(address, 2, 1, LONG))]))
    elsewhere = Meeting(address, 2, 0, LONG, bind=Address("0.0.0.0", address.port))
    (zero,) = start(pool, elsewhere)
    connect(address).close()
    assert listening(address.port) == {everywhere}
    close(*map(outcome, [zero, *start(pool, Meeting(address, 2, 1, LONG))]))


def test_a_missing_process_is_named_to_all(pool, address):
    """Also by one that came first, and has as much patience."""
    (two,) = start(pool, Meeting(address, 3, 2, 1.0))
    time.sleep(0.3)
    (zero,) = start(pool, Meeting(address, 3, 0, 1.0))
    zero, two = outcome(zero), outcome(two)
    assert isinstance(zero, LostProcessError)
    assert f"Process 1 of 3 did not reach {address} within 1 seconds (--timeout)" in str(zero)
    assert "listened at 127.0.0.1" in str(zero)
    assert "which other machines cannot reach" in str(zero)
    assert str(two) == str(zero)


def test_many_missing_processes_are_not_all_listed(address):
    with pytest.raises(LostProcessError, match=r"Processes 1, 2, .*, 10, … of 1000000000 did"):
        meet(Meeting(address, 10**9, 0, 0.1))


def test_process_0_is_missing(address):
    with pytest.raises(LostProcessError, match=r"Process 0 did not answer at localhost:\d+ within"):
        meet(Meeting(address, 2, 1, 0.2))


def test_a_process_with_less_patience_may_come_again(pool, address):
    (one,) = start(pool, Meeting(address, 3, 1, 0.5))
    zero = start(pool, Meeting(address, 3, 0, 3.0))[0]
    assert "Not all 3 processes came within 0.5 seconds" in str(outcome(one))
    others = start(pool, *[Meeting(address, 3, i, LONG) for i in (1, 2)])
    close(*map(outcome, [zero, *others]))


def test_a_number_that_is_there_twice_is_refused(pool, address, capsys):
    (zero,) = start(pool, Meeting(address, 3, 0, LONG))
    twins = start(pool, *[Meeting(address, 3, 1, LONG)] * 2)
    while not any(twin.done() for twin in twins):
        time.sleep(0.01)
    (refused,) = [outcome(twin) for twin in twins if twin.done()]
    assert isinstance(refused, ScaleError)
    assert "There are two processes with --process 1 at localhost" in str(refused)
    assert "The second one was refused" in capsys.readouterr().err
    (two,) = start(pool, Meeting(address, 3, 2, LONG))
    admitted = [result for result in map(outcome, twins) if result is not refused]
    close(*admitted, *map(outcome, [zero, two]))


@pytest.mark.parametrize(
    ("theirs", "difference"),
    [
        ({"processes": 3}, "process 0 has --processes 2, process 1 has --processes 3"),
        ({"about": {"JAX": "2"}}, "process 0 has JAX 1, process 1 has JAX '2'"),
    ],
)
def test_processes_that_disagree_all_say_so(pool, address, theirs, difference):
    one = {"processes": 2, "about": {"JAX": "1"}} | theirs
    meetings = [
        Meeting(address, 2, 0, LONG, about={"JAX": "1"}),
        Meeting(address, one["processes"], 1, LONG, about=one["about"]),
    ]
    zero, one = map(outcome, start(pool, *meetings))
    assert isinstance(zero, ScaleError)
    assert str(one) == str(zero)
    assert difference in str(zero)


STRANGE = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\n",
    b"[" * 4000 + b"\n",
    b"7\n",
    b"x" * 100_000,
    b'{"process": true, "facts": {}}\n',
    b'{"process": 1, "facts": null}\n',
    b'{"process": "1", "facts": {}}\n',
    b"{}\n",
]


def is_closed(connected: socket.socket) -> bool:
    """Whether the other end closes a connection, and says nothing before."""
    connected.settimeout(LONG)
    try:
        return connected.recv(1) == b""
    except ConnectionError:
        return True


def test_strangers_are_turned_away(pool, address):
    (zero,) = start(pool, Meeting(address, 2, 0, LONG))
    for text in STRANGE:
        with connect(address) as stranger:
            stranger.sendall(text)
            assert is_closed(stranger)
    close(*map(outcome, [zero, *start(pool, Meeting(address, 2, 1, LONG))]))


def test_silent_strangers_do_not_add_up(pool, address):
    (zero,) = start(pool, Meeting(address, 2, 0, LONG))
    with ExitStack() as stack:
        first = stack.enter_context(connect(address))
        for _ in range(meetings.MAX_STRANGERS):
            stack.enter_context(connect(address))
        assert is_closed(first)
        close(*map(outcome, [zero, *start(pool, Meeting(address, 2, 1, LONG))]))


def test_a_second_hello_is_refused(pool, address):
    (zero,) = start(pool, Meeting(address, 3, 0, 1.0))
    with connect(address) as both:
        both.sendall(hello(1, 3) + hello(2, 3))
        assert "Processes 1, 2 of 3 did not" in str(outcome(zero))


@pytest.mark.parametrize("answer", [b"\x00\x00\x12\x04\x00\x00", b"no\n", b""])
def test_another_program_at_the_address(pool, address, answer):
    with socket.create_server(("127.0.0.1", address.port)) as other:
        (one,) = start(pool, Meeting(address, 2, 1, 1.0))
        connected, _ = other.accept()
        connected.sendall(answer + b"\n" * (len(answer) > 3))
        connected.close()
        assert "is no process 0 that waits for others" in str(outcome(one))


def test_a_port_that_is_taken(address):
    with (
        socket.create_server(("127.0.0.1", address.port)),
        pytest.raises(ScaleError, match=r"cannot listen at localhost:\d+: the port is taken"),
    ):
        meet(Meeting(address, 2, 0, LONG))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "this machine does not have the address"),
        ("a" * 70, "is unknown"),
        ("no-such-host.invalid", "is unknown"),
    ],
)
def test_a_host_at_which_process_0_cannot_listen(host, message):
    with pytest.raises(ScaleError, match=message):
        meet(Meeting(Address(host, 12345), 2, 0, LONG))


@pytest.mark.parametrize("text", ["localhost:1", "a.b-c:65535", "[::1]:80", "10.0.0.1:12345"])
def test_an_address_is_read(text):
    assert str(Address.parse(text, "--coordinator")) == text


@pytest.mark.parametrize(
    "text",
    ["a", "a:", ":1", "a:0", "a:70000", "a:-1", "a:abc", "a:1 ", "a b:1", "::1:80", "[a:1", "a:٣",
     "http://a:1", "a:99999999999", "", "[]:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ScaleError, match="--coordinator must be HOST:PORT with a port of 1 to"):
        Address.parse(text, "--coordinator")


# --- after they have met --------------------------------------------------------------------------


class Watched:
    """The watches of several processes, and the sentences with which they end.

    `victim`: one that is killed, so that its own watch does nothing.
    """

    def __init__(self, processes: int, victim: int | None = None):
        self.ended: dict[int, str] = {}  # in this order
        self.killed: set[int] = set()
        pairs = {i: [Connection(x) for x in tcp_pair()] for i in range(1, processes)}
        ends = {0: {i: pair[0] for i, pair in pairs.items()}}
        ends |= {i: {0: pair[1]} for i, pair in pairs.items()}
        self.ends = ends
        self.watches = [Watch(ends[i], lambda text, i=i: self.end(i, text)) for i in ends]
        self.running = [watch for i, watch in enumerate(self.watches) if i != victim]
        for watch in self.running:
            watch.start()

    def end(self, process: int, sentence: str) -> None:
        if process not in self.killed:
            self.ended[process] = sentence
            self.kill(process)

    def kill(self, process: int) -> None:
        self.killed.add(process)
        for connection in self.ends[process].values():
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def join(self) -> dict[int, str]:
        for watch in self.running:
            watch.join(LONG)
            assert not watch.is_alive()
        return self.ended


def tcp_pair() -> list[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = socket.create_connection(listener.getsockname())
        return [listener.accept()[0], there]


@pytest.fixture(autouse=True)
def _brief_grace(monkeypatch):
    monkeypatch.setattr(watching, "GRACE_SECONDS", 0.4)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_the_others_end_when_a_process_is_killed(victim):
    watched = Watched(3, victim)
    watched.kill(victim)
    ended = watched.join()
    for process in {0, 1, 2} - {victim}:
        assert ended[process].startswith(f"Process {victim} has ended or cannot be reached; its")


def test_nobody_ends_after_a_goodbye():
    watched = Watched(3)
    for process in (2, 0, 1):
        watched.watches[process].say_goodbye()
    for process in (1, 0, 2):
        watched.kill(process)
    assert watched.join() == {}


def test_a_killed_writer_is_noticed_after_the_own_goodbye():
    watched = Watched(2, victim=0)
    watched.watches[1].say_goodbye()
    watched.kill(0)
    assert watched.join()[1].startswith("Process 0 has ended")


@pytest.mark.parametrize("victim", [0, 1])
def test_an_interrupted_process_says_so(victim):
    watched = Watched(3)
    watched.watches[victim].say_failure(130)
    watched.kill(victim)
    ended = watched.join()
    for process in {0, 1, 2} - {victim}:
        assert ended[process].startswith(f"Process {victim} was interrupted; its output says why.")
    assert victim not in ended


def test_processes_that_fail_alike_end_with_their_own_messages(pool):
    watched = Watched(2, victim=1)
    watched.watches[1].say_failure(1)
    own = pool.submit(watched.watches[0].say_failure, 1)
    time.sleep(2 * watching.GRACE_SECONDS)
    watched.kill(1)
    own.result(LONG)
    assert watched.join() == {}


def test_process_0_ends_last(monkeypatch):
    """JAX aborts the others when its service, in process 0, is gone."""
    monkeypatch.setattr(watching, "GRACE_SECONDS", 5.0)
    watched = Watched(3, victim=1)
    watched.kill(1)
    watched.join()
    assert list(watched.ended) == [2, 0]
