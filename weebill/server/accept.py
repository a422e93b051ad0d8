"""Accepting connections, as many as there is room for.

    the kernel's queue ── accept() ──> being adopted ──> state.connections
            ^                                                 │
            └── no room: accepting pauses <── one has ended ──┘

By our own hand, because the loops' servers know no limit. asyncio's takes whatever comes; uvloop's closes at
once what it has no descriptor for, and may lose its listener for good.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable

from .state import State

__all__ = ["Door", "allow_descriptors", "descriptors"]

logger = logging.getLogger("weebill")

BATCH = 64  # connections taken in one turn of the loop: others have their turn in between
RETRY = 1.0  # seconds to wait when the system cannot give a connection, unless one of ours ends before
QUIET = 60.0  # seconds until it is said again that there is no room

# What accept() raises when the system has no room: the connection stays in its queue, ready to be accepted.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# Of the descriptors that a process may have, one in so many is left to the application and its files.
_SHARE = 4


class Door:
    """The listeners of one worker. To be used on the loop."""

    def __init__(
        self,
        state: State,
        listeners: list[socket.socket],
        new_connection: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self._state = state
        self._listeners = listeners
        self._new_connection = new_connection
        self._adopting: set[asyncio.Task[None]] = set()
        self._is_open = False  # whether the listeners are watched
        self._is_over = False  # whether they will never be again
        self._retry: asyncio.TimerHandle | None = None
        self._said: dict[str, float] = {}  # when what was said last
        self._most = min(state.settings.max_connections, descriptors() * (_SHARE - 1) // _SHARE)
        state.when_left = self._look_for_room

    def open(self) -> None:
        """Accept from now on."""
        self._is_open = True
        self._retry = None
        for listener in self._listeners:
            listener.setblocking(False)
            self._state.loop.add_reader(listener, self._accept, listener)

    def close(self) -> None:
        """Accept no more, but for what the kernel has ready, limit or not: these are the last."""
        self._is_over = True
        self._shut()
        for listener in self._listeners:
            for _ in range(self._state.settings.backlog):
                try:
                    accepted, _address = listener.accept()
                except OSError:  # there are no more
                    break
                self._adopt(accepted)

    def _shut(self) -> None:
        """Let connections wait in the kernel's queue."""
        self._is_open = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for listener in self._listeners:
            self._state.loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BATCH):
            if self._taken() >= self._most:
                self._say(QUIET, "%d connections are open: others wait until some end", self._most)
                self._shut()
                return
            try:
                accepted, _address = listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._wait_for_the_system(error)
                    return
                if isinstance(error, BlockingIOError):  # there are no more
                    return
                continue  # that one has gone already
            self._adopt(accepted)

    def _taken(self) -> int:
        return len(self._state.connections) + len(self._adopting)

    def _adopt(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task = self._state.loop.create_task(self._connect(accepted))
        self._adopting.add(task)
        task.add_done_callback(self._adopted)

    def _adopted(self, task: asyncio.Task[None]) -> None:
        self._adopting.discard(task)
        self._look_for_room()  # until now it was counted twice

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._state.loop.connect_accepted_socket(self._new_connection, accepted)
        except OSError:  # it has gone already
            accepted.close()

    def _look_for_room(self) -> None:
        if not self._is_open and not self._is_over and self._taken() < self._most:
            self._shut()
            self.open()

    def _say(self, every: float, message: str, *args: object) -> None:
        """Log a warning, but the same not more often than `every` so many seconds."""
        now = self._state.now
        if now - self._said.get(message, -every) >= every:
            self._said[message] = now
            logger.warning(message, *args)

    def _wait_for_the_system(self, error: OSError) -> None:
        self._say(RETRY, "no connection can be accepted for now: %s", error.strerror)
        self._shut()
        self._retry = self._state.loop.call_later(RETRY, self.open)


def descriptors() -> int:
    """How many descriptors this process may have."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def allow_descriptors(connections: int) -> None:
    """Have the system allow this process descriptors for so many connections, as far as it may ask for them.
    The usual limit of 1,024 is there for select(), which nobody here calls; Go's precedent."""
    if sys.platform == "win32":
        return
    import resource

    wanted = connections * _SHARE // (_SHARE - 1) + _SHARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # a sandbox may forbid it
            return
