"""One client on a transport: its addresses, back-pressure both ways, and the ways to end.

What the bytes mean is for a subclass to say, be it HTTP/1.1 or what a connection is upgraded to.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from ..errors import ProtocolError, TooManyConnections
from .output import WRITE_BUFFER, Output, address
from .state import SWEPT, State

__all__ = ["ClientConnection"]

logger = logging.getLogger("weebill")

LINGER = 2.0  # seconds that a connection which has ended waits for its client to say something more
LINGER_IN_ALL = 30.0  # seconds that it waits for a client that goes on talking (nginx's precedent)
LAST_LINGER = 0.5  # the same while the server stops
SHOWN = 80  # bytes of a refused request in the log


class ClientConnection(asyncio.Protocol):
    """Only the loop's thread touches it."""

    __slots__ = (
        "_eof",
        "_lingers_until",
        "_paused_reading",
        "_since",
        "client",
        "output",
        "scheme",
        "server",
        "state",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, state: State) -> None:
        self.state = state
        self.scheme = "http"
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int] | None = None
        self.output = Output(state.loop, state.now)
        self._eof = False  # the client has shut its side
        self._paused_reading = False
        self._since = state.now  # when what it does now began

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = self.output.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(WRITE_BUFFER)
        self.client = address(transport, "peername")
        self.server = address(transport, "sockname")
        logger.debug("connection from %s", self.client)
        try:
            self.state.add(self, self.client and self.client[0])
        except TooManyConnections as error:
            self._refuse(error, b"")

    # -- for a subclass to say

    def tick(self, now: float) -> None:
        """A second has passed: enforce the deadlines."""
        raise NotImplementedError

    def shut_down(self) -> None:
        """Finish what is in flight, then close."""
        raise NotImplementedError

    def cut(self) -> None:
        """End now, whatever is in flight."""
        raise NotImplementedError

    def _refuse(self, error: ProtocolError, data: bytes) -> None:
        """Answer a fault of the peer, and close."""
        raise NotImplementedError

    def _end_reading(self) -> None:
        """From now on, what comes is thrown away."""
        self._since = self.state.now
        self._lingers_until = self._since + LINGER_IN_ALL

    # -- back-pressure

    def pause_writing(self) -> None:
        self.output.paused = True

    def resume_writing(self) -> None:
        self.output.paused = False
        self.output.wake()

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self._eof:
            self._paused_reading = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more from the client, if it was to wait."""
        if self._paused_reading and not self.output.lost:
            self._paused_reading = False
            self.transport.resume_reading()

    # -- ending

    def _linger(self) -> None:
        """Shut our side, and wait a little for the client to read the answer and shut its own."""
        if self._eof or not self.transport.can_write_eof():
            self.close()
            return
        self.output.flush()
        self._end_reading()
        try:
            self.transport.write_eof()
        except OSError:  # it was reset a moment ago
            self.transport.abort()
            return
        self.resume_reading()
        if self.state.is_stopping:
            self._end_soon()

    def _has_lingered(self, now: float) -> bool:
        is_over = now - self._since >= LINGER + SWEPT or now >= self._lingers_until + SWEPT
        return is_over and self.output.all_taken

    def _end_soon(self) -> None:
        self.state.loop.call_later(LAST_LINGER, self.transport.close)

    def close(self) -> None:
        """Close when what was written has been sent."""
        self.output.flush()
        self._end_reading()
        self.transport.close()

    def _drop(self) -> None:
        """End now. Whoever reads or writes learns that the client has gone."""
        self._end_reading()
        self.output.reset()

    def _give_up(self, reason: str) -> None:
        self.state.complain(logging.INFO, "cut off %s: %s", self._who(), reason)
        self._drop()

    def _complain(self, error: ProtocolError, data: bytes) -> None:
        who, status = self._who(), error.status_code
        # The first line and no other: fields and content hold cookies, passwords and the like.
        line = data.lstrip(b"\r\n")[:SHOWN].replace(b"\r", b"\n").partition(b"\n")[0]
        self.state.complain(logging.WARNING, "refused %s: %d %s %r", who, status, error.detail, line)

    def _who(self) -> str:
        return self.client[0] if self.client else "a client"
