"""Long content on its way from the kernel straight to where it stays.

PERF: by itself a transport reads into memory of its own and makes pieces of bytes of that, which are joined
at the end: two copies of everything, from memory that is in no cache any more. Here it reads to where it is
told, and all that there is at once. An echo of 1 MiB takes an eighth less; so does an upload of 16 MiB, whose
pieces are twice as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..body import NO_BODY, Body
from .connection import ClientConnection
from .content import Content, Use

__all__ = ["LONG", "Straight", "fits"]

LONG = 1 << 16  # bytes still to come for which it is worth it
AHEAD = 4  # times what has come: there is no room for more on the mere word of a client
FIRST = 1 << 17  # bytes that are read at a time of what is not long content


def fits(content: Content, spool: int) -> bool:
    """Whether the rest of `content` may go straight into its body: all of it stays in memory, which is up to
    `spool` bytes."""
    if content.use is not Use.GATHER:
        return False
    return content.received + content.left <= min(spool, AHEAD * content.received)


class Straight(asyncio.BufferedProtocol):
    """Reads for `connection` from its first long content on. All that does not go straight into a body goes
    to the connection as ever, by way of `scratch`, which all connections of a loop share: between reading and
    what is done with it nothing else happens.

    PERF: to change places with the connection for each request takes four more calls of the system.
    """

    def __init__(self, connection: ClientConnection, scratch: bytearray, came: Callable[[int], None]) -> None:
        self._connection = connection
        self._scratch = self._view = memoryview(scratch)
        self._came = came
        self._content: Content | None = None
        self._body = NO_BODY

    def expect(self, content: Content, body: Body = NO_BODY) -> None:
        """Read this long content. If there is a `body`, the rest goes there, and not a byte more; `came` is
        told each time how many bytes those were."""
        self._content, self._body = content, body
        if body is not NO_BODY:
            body.make_room(content.left)

    def _look(self) -> None:
        """Forget content that is complete, or that nobody wants any more."""
        content = self._content
        if content is not None and (content.complete or content.use is Use.DROP):
            self._content, self._body = None, NO_BODY

    def get_buffer(self, sizehint: int) -> memoryview:
        self._look()
        if self._body is not NO_BODY:
            self._view = self._body.room()
        else:
            self._view = self._scratch if self._content is not None else self._scratch[:FIRST]
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        view, self._view = self._view, self._scratch
        self._look()
        if self._body is not NO_BODY:
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
