"""Long content on its way from the kernel straight to where it stays.

PERF: by itself a transport reads into memory of its own and makes pieces of bytes of that, which are joined
at the end: two copies of everything, from memory that is in no cache any more. Here it reads to where it is
told, and all that there is at once. An echo of 1 MiB takes an eighth less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..body import NO_BODY, Body
from .connection import ClientConnection
from .content import Content, Use

__all__ = ["Straight", "can_go_straight"]

LONG = 1 << 16  # bytes still to come for which it is worth it
AHEAD = 8  # times what has come: there is no room for more on the mere word of a client


def can_go_straight(content: Content, spool: int) -> bool:
    """Whether the rest of `content` is long, and all of it stays in memory: up to `spool` bytes."""
    if content.use is not Use.GATHER or content.left <= LONG:
        return False
    return content.received + content.left <= min(spool, AHEAD * content.received)


class Straight(asyncio.BufferedProtocol):
    """Reads for `connection` from its first long content on. What it does not `expect` goes to the connection
    as ever, by way of `scratch`, which all connections of a loop share: nothing happens between reading and
    what is done with it. PERF: to change places with the connection each time takes four calls of the system.
    """

    def __init__(self, connection: ClientConnection, scratch: bytearray, came: Callable[[int], None]) -> None:
        self._connection = connection
        self._scratch = memoryview(scratch)
        self._came = came
        self._content: Content | None = None
        self._body = NO_BODY
        self._view = self._scratch

    def expect(self, content: Content, body: Body) -> None:
        """Put the rest of `content` straight into `body`, and not a byte more. `came` is told each time how
        many bytes those were."""
        body.make_room(content.left)
        self._content, self._body = content, body

    def _is_expecting(self) -> bool:
        content = self._content
        if content is not None and (content.complete or content.use is not Use.GATHER):
            self._content, self._body = None, NO_BODY
        return self._content is not None

    def get_buffer(self, sizehint: int) -> memoryview:
        self._view = self._body.room() if self._is_expecting() else self._scratch
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        view, self._view = self._view, self._scratch
        if self._is_expecting():
            self._came(nbytes)
        else:
            self._connection.data_received(bytes(view[:nbytes]))

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)
