"""The side of a connection that we write to, and what there is to wait for on it."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..errors import ClientDisconnected

__all__ = ["WRITE_BUFFER", "Output", "address", "unsent_limit"]

WRITE_BUFFER = 16 << 10  # bytes that the kernel has not taken; beyond it who writes has to wait
LONG_UNSENT = 512 << 10  # bytes that the kernel takes of long content beyond what it can send
HELD = 8 << 10  # bytes that wait for others; more are given to the transport at once
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, and for no time


class Output:
    """What is written to one client, and how far it has taken it. `now` is when the connection was made."""

    __slots__ = (
        "_holds",
        "_loop",
        "_progress",
        "_spoke",
        "_taken",
        "blocked",
        "held",
        "lost",
        "paused",
        "transport",
        "waiters",
        "written",
    )

    transport: asyncio.Transport  # from connection_made on

    def __init__(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._loop = loop
        self.lost = False  # the client has gone
        # While the kernel has no room for what does not pass the transport: how many bytes of it wait there.
        self.blocked: Callable[[], int] | None = None
        self.paused = False  # much of what was written waits for it
        self.held: list[bytes] = []  # written, and not given to the transport yet
        self._holds = 0  # bytes of it
        self.written = 0  # bytes given to the transport, or past it to the kernel
        self._taken = 0  # bytes of them that it had taken at the last look
        self._progress = now  # when it last took some, or there was nothing to take
        self._spoke = now  # when there was last something for it to take
        self.waiters: dict[asyncio.Future[None], None] = {}  # in order, and quick to leave

    def is_gone(self) -> bool:
        """Whether nothing that is written will arrive. The transport knows of a reset a turn before us."""
        return self.lost or self.transport.is_closing()

    def send(self, data: bytes) -> None:
        """Write, behind what is held."""
        if self.held:
            self.flush()
        self.written += len(data)
        self.transport.write(data)

    def send_long(self, head: bytes, content: bytes) -> None:
        """Write a head and long content behind it, as it is. PERF: one write, no copy of the content, and the
        kernel takes as much of it at once as LONG_UNSENT says: a fifth of what an echo of 1 MiB takes."""
        held, self.held, self._holds = self.held, [], 0
        self.written += sum(map(len, held)) + len(head) + len(content)
        with unsent_limit(self.transport.get_extra_info("socket"), LONG_UNSENT):
            self.transport.writelines((*held, head, content))
        # This looks whether who writes has to wait, which asyncio's writelines() forgets.
        self.transport.set_write_buffer_limits(WRITE_BUFFER)

    def hold(self, data: bytes, until_flushed: bool = False) -> None:
        """Write with what else comes: at the end of this turn of the loop, unless it waits `until_flushed` by
        the caller, or as soon as it is much.

        PERF: to write small pieces is most of their cost; of a thousand in one turn it saves half.
        """
        if not self.held and not until_flushed and len(data) <= HELD:
            self._loop.call_soon(self.flush)
        self.held.append(data)
        self._holds += len(data)
        if self._holds > HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self.held:
            return
        held, self.held, self._holds = self.held, [], 0
        if not self.is_gone():
            self.send(held[0] if len(held) == 1 else b"".join(held))

    def reset(self) -> None:
        """End at once, in a way that the client cannot take for the end of an answer."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):  # it has gone already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written. Raises ClientDisconnected."""
        while self.paused and not self.lost:
            await self.wait()
        if self.lost:
            raise ClientDisconnected

    def look(self, now: float) -> float:
        """How long the client has let everything lie, in seconds."""
        if self._taken == self.written and self.blocked is None:
            # PERF: nothing was left, and nothing was written since. Of many connections most are so at any
            # time; not to ask the transport saves two fifths of a sweep.
            self._progress = now
            return 0.0
        unsent = self.transport.get_write_buffer_size()
        waits = unsent > 0
        if self.blocked is not None:
            waits = True
            unsent += self.blocked()
        taken = self.written - unsent
        if not waits or taken > self._taken:
            self._progress = now
        if waits or taken > self._taken:
            self._spoke = now
        self._taken = taken
        return now - self._progress

    def silence(self, now: float) -> float:
        """For how long there was nothing to be taken at each look, in seconds."""
        return now - self._spoke

    @property
    def all_taken(self) -> bool:
        """Whether nothing was left at the last look."""
        return self._taken == self.written

    async def wait(self) -> None:
        """Wait until something happens on the connection, be it what the caller waits for or not."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self.waiters[waiter] = None
        try:
            await waiter
        finally:
            self.waiters.pop(waiter, None)

    def wake(self) -> None:
        """Something has happened."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


@contextmanager
def unsent_limit(sock: socket.socket | None, limit: int) -> Iterator[None]:
    """Have the kernel take so many bytes beyond what it can send, for now; see listen.py for what it takes
    otherwise. The descriptor may be closed inside."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if sock is None or option is None or sys.platform != "linux" or sock.family == socket.AF_UNIX:
        yield
        return
    before = sock.getsockopt(socket.IPPROTO_TCP, option)
    sock.setsockopt(socket.IPPROTO_TCP, option, limit)
    try:
        yield
    finally:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, before)


def address(transport: asyncio.BaseTransport, end: str) -> tuple[str, int] | None:
    """Host and port of one end; a unix socket has none, and neither has one that was reset at once."""
    name: object = None
    with suppress(OSError):
        name = transport.get_extra_info(end)
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
