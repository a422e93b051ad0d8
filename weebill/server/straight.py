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

__all__ = ["LONG", "Straight"]

LONG = 1 << 16  # bytes still to come for which it is worth it
OTHER = 1 << 17  # bytes that are read at a time of all else, for what is pipelined is copied as it is cut


class Straight(asyncio.BufferedProtocol):
    """Reads for `connection` from its first long content on. All that does not go straight into a body goes
    to the connection as ever, by way of `scratch`, which all connections of a loop share: between reading and
    what is done with it nothing else happens.

    PERF: to change places with the connection for each request takes four more calls of the system.
    """

    def __init__(self, connection: ClientConnection, scratch: bytearray, came: Callable[[int], None]) -> None:
        self._connection = connection
        self._scratch = memoryview(scratch)
        self._came = came
        self._content: Content | None = None
        self._body = NO_BODY

    def expect(self, content: Content, body: Body) -> None:
        """Read this long content, and not a byte more; the rest of it straight to `body`, where room can be
        made. `came` is told each time how many bytes those were."""
        self._content = content
        if body.make_room(content.left):
            self._body = body

    def forget(self) -> None:
        """The content is complete, or nobody wants it any more."""
        self._content, self._body = None, NO_BODY

    def get_buffer(self, sizehint: int) -> memoryview:
        content = self._content
        if content is not None and (content.complete or content.use is Use.DROP):
            self.forget()
        if self._body is not NO_BODY:
            return self._body.room()
        return self._scratch[: OTHER if self._content is None else self._content.left]

    def buffer_updated(self, nbytes: int) -> None:
        if self._body is NO_BODY:
            self._connection.data_received(bytes(self._scratch[:nbytes]))
        else:
            if self._content is not None and nbytes == self._content.left:
                self.forget()
            self._came(nbytes)

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)
