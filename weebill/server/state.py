"""What all connections of one worker share."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..exchange import Application
from ..headers import Fields, http_date
from ..settings import Settings

__all__ = ["SWEEP", "Connection", "Parser", "State"]

SWEEP = 1.0  # seconds between two ticks


class Connection(Protocol):
    """What the worker asks of a connection, whatever protocol it speaks."""

    def tick(self, now: float) -> None:
        """A second has passed: enforce the deadlines."""

    def shut_down(self) -> None:
        """Finish what is in flight, then close."""

    def cut(self) -> None:
        """Close now, whatever is in flight."""


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
        self.application = application
        self.settings = settings
        self.usual_head = _usual_head(settings)
        self.loop = loop
        self.new_parser = new_parser
        self.clock = clock
        self.stopping = asyncio.Event()
        self.is_stopping = False  # PERF: the same, without a call, for each answer
        self.connections: set[Connection] = set()
        self.drained = asyncio.Event()  # set while there is no connection
        self.drained.set()
        self.access_log = logging.getLogger("weebill.access") if settings.access_log else None
        self.now = 0.0
        self._read = clock()
        self.tick()

    def change(self, **options: Any) -> None:
        """Change some of the settings from now on. From any thread: they are read each time they count."""
        self.settings = dataclasses.replace(self.settings, **options)
        self.usual_head = _usual_head(self.settings)

    def add(self, connection: Connection) -> None:
        """A connection was made."""
        self.connections.add(connection)
        self.drained.clear()

    def remove(self, connection: Connection) -> None:
        """A connection was lost."""
        self.connections.discard(connection)
        if not self.connections:
            self.drained.set()

    def stop(self) -> None:
        """Tell streams that the server stops, and have every further answer close its connection."""
        self.is_stopping = True
        self.stopping.set()

    def tick(self) -> None:
        """Read the clocks, then let every connection look at its deadline."""
        read = self.clock()
        self.now += min(read - self._read, 2 * SWEEP)
        self._read = read
        self.date = f"date: {http_date(time.time())}\r\n".encode("ascii")
        for connection in tuple(self.connections):
            connection.tick(self.now)


def _usual_head(settings: Settings) -> int:
    """A head up to this length breaks no limit on its parts."""
    return min(settings.max_request_line, settings.max_fields_size)
