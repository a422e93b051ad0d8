"""What all connections of one worker share."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from ..errors import TooManyConnections
from ..exchange import Application
from ..headers import Fields, http_date
from ..settings import Settings
from .log import AccessLog

__all__ = ["SWEEP", "SWEPT", "Connection", "Parser", "State"]

logger = logging.getLogger("weebill")

SCRATCH = 1 << 19  # bytes that straight.py reads at a time
SWEEP = 1.0  # seconds between two ticks
SWEPT = SWEEP - 0.005  # the same where it is waited for: timers of a loop may fire early by a hair
MOST_COMPLAINTS = 20  # lines about peers in one sweep; of more only their number is told


class Connection(Protocol):
    """What the worker asks of a connection, whatever protocol it speaks."""

    def tick(self, now: float) -> None:
        """A second has passed: enforce the deadlines."""

    def shut_down(self) -> None:
        """Finish what is in flight, then close."""

    def cut(self) -> None:
        """Close now, whatever is in flight."""


class Looking(Protocol):
    """A connection that looks how far its request has got."""

    def look_at_request(self) -> bool:
        """A turn of the loop has passed: look, and say whether to look again after the next."""


class Parser(Protocol):
    """Bytes in, values out; no I/O, and nothing is remembered from one head to the next."""

    def fields(self, lines: bytes) -> Fields:
        """The fields in the lines of a head, which end in an empty one. Raises ProtocolError."""


class State:
    """The application, the settings, the clock and the connections.

    `now` is a monotonic clock and `date` the Date field; both move when `tick` does, once a second, so that
    no request asks for the time. While the loop was blocked, or the process stopped, `now` stood still: what
    a client sent in that time waits in the kernel, and the client is not to blame for it.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        new_parser: Callable[[], Parser],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.intake = application.__intake__
        self.answer = application.__exchange__
        self.settings = settings
        self.loop = loop
        self.new_parser = new_parser
        self.clock = clock
        self.context = copy_context()  # that in which requests begin
        self.stopping = asyncio.Event()
        self.is_stopping = False  # PERF: the same, without a call, for each answer
        self.connections: set[Connection] = set()
        self.when_left: Callable[[], None] = lambda: None  # called when a connection has ended
        self._client_of: dict[Connection, bytes] = {}  # only while their number is limited
        self._by_client: Counter[bytes] = Counter()
        self._looking: list[Looking] = []  # connections that look in the next turn of the loop
        self._complaints = 0  # in this sweep
        self.left_behind: set[asyncio.Task[None]] = set()  # handlers that no connection waits for any more
        self.drained = asyncio.Event()  # set while there is no connection, and nobody left behind
        self.drained.set()
        self.access_log = AccessLog(loop) if settings.access_log else None
        self.now = 0.0
        self._read = clock()
        self.tick()

    def change(self, **options: Any) -> None:
        """Change some of the settings from now on. From any thread: they are read each time they count."""
        self.settings = dataclasses.replace(self.settings, **options)

    @cached_property
    def scratch(self) -> bytearray:
        """Where bytes lie for a moment (straight.py)."""
        return bytearray(SCRATCH)

    def add(self, connection: Connection, host: str | None) -> None:
        """A connection was made from this address. Raises TooManyConnections if its client has enough."""
        self.connections.add(connection)
        self.drained.clear()
        most = self.settings.max_connections_per_client
        if most and host is not None:
            client = _client(host)
            if self._by_client[client] >= most:
                raise TooManyConnections(most)
            self._client_of[connection] = client
            self._by_client[client] += 1

    def remove(self, connection: Connection) -> None:
        """A connection was lost."""
        self.connections.discard(connection)
        client = self._client_of.pop(connection, None)
        if client is not None:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
        self._look_whether_drained()
        self.when_left()

    def leave_behind(self, task: asyncio.Task[None]) -> None:
        """Keep a handler that goes on although its client has gone, or has its answer. A stop waits."""
        self.drained.clear()
        self.left_behind.add(task)
        task.add_done_callback(self._is_done)

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self.left_behind.discard(task)
        self._look_whether_drained()

    def _look_whether_drained(self) -> None:
        if not self.connections and not self.left_behind:
            self.drained.set()

    def look_soon(self, connection: Looking) -> None:
        """Have the connection look in the next turn of the loop, behind what is ready now.

        PERF: one call of the loop's for all of them; one for each pipelined request would be a twentieth of
        what that takes.
        """
        if not self._looking:
            self.loop.call_soon(self._look)
        self._looking.append(connection)

    def _look(self) -> None:
        looking, self._looking = self._looking, []
        for connection in looking:
            if connection.look_at_request():
                self.look_soon(connection)

    def complain(self, level: int, message: str, *args: object) -> None:
        """Log a line about a peer, unless there were many just now: none of them may fill the disk."""
        self._complaints += 1
        if self._complaints <= MOST_COMPLAINTS:
            logger.log(level, message, *args)

    def stop(self) -> None:
        """Tell streams that the server stops, and have every further answer close its connection."""
        self.is_stopping = True
        self.stopping.set()

    def tick(self) -> None:
        """Read the clocks, then let every connection look at its deadline."""
        read = self.clock()
        self.now += min(read - self._read, 2 * SWEEP)
        self._read = read
        if self._complaints > MOST_COMPLAINTS:
            logger.warning(
                "%d more complaints about clients within a second", self._complaints - MOST_COMPLAINTS
            )
        self._complaints = 0
        self.date = f"date: {http_date(time.time())}\r\n".encode("ascii")
        for connection in tuple(self.connections):
            connection.tick(self.now)


def _client(host: str) -> bytes:
    """Who is one client: an IPv4 address, or 64 bits of an IPv6 address, for every site has as many."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host.encode()
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped.packed if address.ipv4_mapped else address.packed[:8]
    return address.packed
