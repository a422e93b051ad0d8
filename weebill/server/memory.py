"""MemoryExchange: the wire of tests. No socket, and the rules of the HTTP/1 wire for all else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from ..body import Body
from ..errors import BodyTooLarge, ClientDisconnected, ProtocolError, ResponseError
from ..exchange import Application, Exchange
from ..headers import Fields, http_date
from ..settings import Settings
from .wire import ResponseHead, has_no_content, length_to_announce, response_head

__all__ = ["MemoryExchange"]


class MemoryExchange(Exchange):
    """One request in memory, and the answer to it.

    `content` are the pieces of the request's content, taken one by one as the application reads them.
    `settings` gives the limits `max_body` and `spool`, `options` are those of Exchange. After `serve`,
    `status`, `answer_fields` and `pieces` hold the answer, and `complete` says whether it came to its end.
    """

    def __init__(
        self,
        method: str,
        target: str,
        fields: Fields | None = None,
        content: Iterable[bytes] = (),
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        super().__init__(method, target, fields or [], **options)
        settings = settings or Settings()
        self.status = 0
        self.answer_fields: Fields = []
        self.pieces: list[bytes] = []
        self.complete = False
        self.aborted = False
        self._content = iter(content)
        self._is_at_hand = isinstance(content, list)
        self._received = 0  # bytes of content
        self._limit = settings.max_body
        self._spool = settings.spool
        self._streams = False
        self._left: int | None = None  # bytes that Content-Length still promises
        self._gone = False
        self._over = asyncio.Event()

    # -- what a server does with it

    async def serve(self, application: Application) -> None:
        """Let `application` answer. An answer that is left in its middle is aborted; none at all is a 500."""
        intake = application.__intake__(self)
        if intake.max_body is not None:
            self._limit = intake.max_body
        self._streams = intake.stream
        try:
            if intake.wanted and self.refusal is None:
                if self._announced() > self._limit:
                    self.refusal = BodyTooLarge(self._limit)
                elif not intake.stream:
                    await self._gather()
            if self.started:  # the content was no good
                return
            await application.__exchange__(self)
            if not self.started:
                await self.respond(500, [], b"The application gave no answer.\n")
        except ClientDisconnected:
            pass
        finally:
            self.body.close()
            if not self.complete:
                self.abort()

    def disconnect(self) -> None:
        """The client goes away. To be called on the loop's thread."""
        self._gone = True
        self._over.set()

    def _announced(self) -> int:
        return next((int(value) for name, value in self.fields if name.lower() == b"content-length"), 0)

    async def _gather(self) -> None:
        body = Body(self._spool)
        try:
            while piece := await self._next_piece():
                body.add(piece)
                if body.needs_flush:
                    await body.flush()
        except BodyTooLarge as error:
            body.close()
            self.refusal = error
        except ProtocolError as error:
            body.close()
            await self.respond(error.status_code, [(b"content-type", b"text/plain")], error.detail.encode())
        else:
            body.rewind()
            self.body = body

    async def _next_piece(self) -> bytes:
        if self._is_at_hand:
            piece = next(self._content, b"")
        else:  # a test's own iterator may take its time
            piece = await asyncio.to_thread(next, self._content, b"")
        if self._gone:
            raise ClientDisconnected
        self._received += len(piece)
        if self._received > self._limit:
            raise BodyTooLarge(self._limit)
        if not piece and self._received < self._announced():
            raise ProtocolError(400, "The content ended early.")
        return piece

    # -- the contract with the application (exchange.Exchange)

    @property
    def started(self) -> bool:
        return self.status != 0

    async def read(self) -> bytes:
        return await self._next_piece() if self._streams else await self.body.next_piece()

    async def disconnected(self) -> None:
        await self._over.wait()

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        head = response_head(status, fields)
        self._begin(status, head, length_to_announce(self.method, status, head, len(content)))
        if content and not has_no_content(self.method, status):
            self.pieces.append(content)
        self._end()

    async def start(self, status: int, fields: Fields) -> None:
        head = response_head(status, fields)
        length = length_to_announce(self.method, status, head, None)
        self._begin(status, head, length)
        self._left = None if has_no_content(self.method, status) else length

    def _begin(self, status: int, head: ResponseHead, length: int | None) -> None:
        if self.started:
            raise ResponseError("the answer has begun already")
        if self._gone:
            raise ClientDisconnected
        self.status = status
        self.answer_fields = head.fields
        if length is not None:
            self.answer_fields.append((b"content-length", b"%d" % length))
        if not head.has_date:
            self.answer_fields.append((b"date", http_date(time.time()).encode("ascii")))

    async def write(self, piece: bytes) -> None:
        self._check_middle()
        if self._gone:
            raise ClientDisconnected
        if self._left is not None:
            if len(piece) > self._left:
                raise ResponseError(f"{len(piece) - self._left} bytes more than Content-Length announced")
            self._left -= len(piece)
        if piece and not has_no_content(self.method, self.status):
            self.pieces.append(bytes(piece))
        await asyncio.sleep(0)  # others have their turn, as they do while a peer takes the piece

    async def finish(self) -> None:
        self._check_middle()
        if self._gone:
            raise ClientDisconnected
        if self._left:
            raise ResponseError(f"{self._left} bytes fewer than Content-Length announced")
        self._end()

    def _check_middle(self) -> None:
        if not self.started or self.complete or self.aborted:
            raise ResponseError("content or the end of an answer that has not begun, or has ended")

    def _end(self) -> None:
        self.complete = True
        self._over.set()

    def abort(self) -> None:
        self.aborted = True
        self._over.set()
