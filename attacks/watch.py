"""What is watched while a server is under attack (Linux): its process, and an honest client beside it.

The server has one core, everything else the other. There the attackers have the lowest priority: an honest
client that comes late because they use up the core says nothing about the server.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from types import TracebackType

import measure
import msgspec

HOST = "127.0.0.1"
HELLO = b"Hello, world!"
CLIENTS = 5  # honest clients of each kind
EVERY = 0.1  # seconds between two requests of each of them: together one in 10 ms
PATIENCE = 10.0  # seconds that an honest client waits for an answer

fork = get_context("fork")


@dataclass(frozen=True)
class Left:
    """What a server holds: kinds of things and their number."""

    counts: dict[str, int]

    def beyond(self, before: Left) -> str:
        """What there is more of than there was, "" if nothing."""
        more = {name: count - before.counts[name] for name, count in self.counts.items()}
        return ", ".join(f"{count:+d} {name}" for name, count in more.items() if count > 0)


@dataclass(frozen=True)
class Target:
    """A server process, as anybody on this machine sees it."""

    pid: int
    port: int
    log: int  # descriptor of its log

    def cpu(self) -> float:
        """Seconds of CPU time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / measure.TICKS

    def memory(self, name: str = "VmRSS") -> float:
        """Resident memory in MB; with "VmHWM" the most that there was since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def sockets(self) -> int:
        """How many sockets it has open."""
        count = 0
        for path in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it was closed in between
                count += os.readlink(path).startswith("socket:")
        return count

    def lines(self, text: str = "") -> list[str]:
        """The lines in its log that contain `text`."""
        said = os.pread(self.log, 1 << 26, 0).decode(errors="replace")
        return [line for line in said.splitlines() if text in line]


class Server(measure.Server):
    """The program of server.py under `weebill run` with these options, from entering to leaving the context.

    `descriptors` limits how many it may have.
    """

    def __init__(self, options: Sequence[str] = (), descriptors: int | None = None) -> None:
        limit = [f"prlimit --nofile={descriptors}"] if descriptors else []
        command = [*limit, "python -m weebill run server.py --port {port}", *options]
        super().__init__(" ".join(command), Path(__file__).parent)

    def __enter__(self) -> Server:
        super().__enter__()
        self.target = Target(self.process.pid, self.port, self.said.fileno())
        try:
            self.first_answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def warm_up(self) -> None:
        """Ask for a little of everything, so that what is loaded and made at first use is there."""
        for path in ["/", "/def", "/user/bob?greeting=Hi", "/json", "/stream/20", "/nowhere"] * 20:
            self.ask(path)

    def left(self) -> Left:
        """What it holds now, with the connection that asks for it."""
        return Left(msgspec.json.decode(self.ask("/left")[2], type=dict[str, int]))

    def rest(self) -> Left:
        """The same, once the last connection has gone: to be compared with."""
        self.left()
        time.sleep(0.3)
        return self.left()

    def left_beyond(self, before: Left, seconds: float) -> str:
        """What is left of an attack when `seconds` have passed; "" as soon as nothing is."""
        deadline = time.monotonic() + seconds
        while True:
            more = self.left().beyond(before)
            if not more or time.monotonic() > deadline:
                return more
            time.sleep(0.2)


# -- the honest client


@dataclass
class Seen:
    """What an honest client has seen: latencies in seconds, and what went wrong."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return quantiles(self.latencies, n=100)[98] if len(self.latencies) > 1 else PATIENCE


class Honest:
    """Honest clients in a process of their own, from entering to leaving the context.

    Those of one kind keep their connection, the others make a new one for each request. `seen` then has what
    each kind saw.
    """

    def __init__(self, port: int, kinds: Sequence[str] = ("kept", "new")) -> None:
        self.port = port
        self.kinds = kinds
        self.seen: dict[str, Seen] = {}

    def __enter__(self) -> Honest:
        self._pipe, theirs = fork.Pipe()
        self._process = fork.Process(target=_be_honest, args=(theirs, self.port, self.kinds), daemon=True)
        self._process.start()
        assert self._pipe.recv() == "connected"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.send("enough")
        self.seen = self._pipe.recv() if self._pipe.poll(2 * PATIENCE) else {}
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    @property
    def worst(self) -> Seen:
        """Of the client that fared worse."""
        return max(self.seen.values(), key=lambda seen: seen.p99)

    @property
    def failures(self) -> list[str]:
        return [text for seen in self.seen.values() for text in seen.failures]


def _be_honest(pipe: Connection, port: int, kinds: Sequence[str]) -> None:
    enough = threading.Event()
    seen = {kind: Seen() for kind in kinds}
    clients = {"kept": _keep_asking, "new": _ask_anew}
    ready = threading.Barrier(CLIENTS * len(kinds) + 1)
    threads = [
        threading.Thread(target=clients[kind], args=(port, seen[kind], enough, ready, delay), daemon=True)
        for kind in kinds
        for delay in (number * EVERY / CLIENTS for number in range(CLIENTS))
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    pipe.send("connected")
    pipe.recv()
    enough.set()
    for thread in threads:
        thread.join()
    pipe.send(seen)


def _keep_asking(
    port: int, seen: Seen, enough: threading.Event, ready: threading.Barrier, delay: float
) -> None:
    connection = _connect(port)
    _get(connection)

    def ask() -> None:
        nonlocal connection
        try:
            _get(connection)
        except OSError:
            connection.close()
            connection = _connect(port)
            raise

    ready.wait()
    _repeat(ask, seen, enough, delay)
    connection.close()


def _ask_anew(port: int, seen: Seen, enough: threading.Event, ready: threading.Barrier, delay: float) -> None:
    def ask() -> None:
        with _connect(port) as connection:
            _get(connection, b"Connection: close\r\n")

    ready.wait()
    _repeat(ask, seen, enough, delay)


def _repeat(ask: Callable[[], None], seen: Seen, enough: threading.Event, delay: float) -> None:
    """Ask at fixed times. A latency counts from when the request was due: one that has to wait until a slow
    one before it is answered is slow as well."""
    due = time.perf_counter() + delay
    while not enough.wait(max(due - time.perf_counter(), 0)):
        try:
            ask()
        except OSError as error:
            seen.failures.append(f"{type(error).__name__}: {error}")
            if len(seen.failures) > 20:
                return
        seen.latencies.append(time.perf_counter() - due)
        due += EVERY


def _connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), PATIENCE)


def _get(connection: socket.socket, field: bytes = b"") -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: honest\r\n%s\r\n" % field)
    answer = b""
    while not answer.endswith(HELLO):
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError(f"closed after {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {answer!r}")


def allow_descriptors(count: int) -> None:
    """Let this process and its children have so many descriptors, or end the program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
        except (OSError, ValueError):
            raise SystemExit(
                f"it needs {count} descriptors, and may have {hard}: raise `ulimit -Hn`"
            ) from None
