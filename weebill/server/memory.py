"""MemoryExchange: the wire of tests. No socket, and the rules of the HTTP/1 wire for all else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, cast

from ..body import Body
from ..errors import (
    BodyTooLarge,
    ClientDisconnected,
    HandlerTimeout,
    HTTPException,
    ProtocolError,
    ResponseError,
)
from ..exchange import BUFFERED, Application, Exchange
from ..headers import Fields, http_date
from ..settings import Settings
from .head import Head, HeadReader
from .parse_httptools import HttptoolsParser
from .wire import ResponseHead, has_no_content, interim_head, length_to_announce, response_head

__all__ = ["MemoryExchange"]

_END = object()


class MemoryExchange(Exchange):
    """One request in memory, and the answer to it.

    `content` are the pieces of the request's content, taken one by one as the application reads them.
    `settings` gives the limits, `room` how many bytes of a streamed answer may wait for `take` (None: all
    of them), `options` are those of Exchange. After `serve`, `status`, `answer_fields` and `pieces` hold the
    answer, `interim` the status and fields of those ahead of it, `complete` says whether it came to its end,
    and `fault` is what the test itself has done wrong.
    """

    def __init__(
        self,
        method: str,
        target: str,
        fields: Fields | None = None,
        content: Iterable[bytes] = (),
        settings: Settings | None = None,
        room: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(method, target, fields or [], **options)
        self._settings = settings = settings or Settings()
        self.status = 0
        self.answer_fields: Fields = []
        self.interim: list[tuple[int, Fields]] = []
        self.pieces: list[bytes] = []
        self.complete = False
        self.aborted = False
        self.keep_alive = True
        self.malformed: ProtocolError | None = None  # what the server holds against the head
        self.fault: Exception | None = None
        self._content = iter(content)
        self._is_at_hand = isinstance(content, list)
        self._announced = _content_length(self.fields)
        self._received = 0  # bytes of content
        self._limit = settings.max_body
        self._spool = settings.spool
        self._handler_timeout = settings.handler_timeout
        self._intake = BUFFERED
        self._task: asyncio.Task[Any] | None = None
        self._room = room
        self._waiting = 0  # bytes in pieces
        self._left: int | None = None  # bytes that Content-Length still promises
        self._gone = False
        self._over = asyncio.Event()  # the client has gone, or the answer has ended
        self._waiters: list[asyncio.Future[None]] = []

    @classmethod
    def sent(
        cls,
        method: str,
        target: str,
        fields: Fields,
        content: Iterable[bytes],
        settings: Settings | None,
        room: int | None = None,
        **options: Any,
    ) -> MemoryExchange:
        """The request as it is once the server has read its head: the same checks, the same limits. Raises
        ValueError for content that is longer than it says."""
        settings = settings or Settings()
        try:
            head = _read(method, target, fields, settings)
        except ProtocolError as error:
            exchange = cls(method, "/", [], (), settings, room, **options)
            exchange.malformed = error
            return exchange
        exchange = cls(head.method, head.target, head.fields, content, settings, room, **options)
        exchange.keep_alive = head.keep_alive
        if head.length is not None:
            exchange._announced = head.length
            if isinstance(content, list) and sum(map(len, content)) > head.length:
                raise exchange._too_long()
        if head.expectation not in ("", "100-continue"):
            exchange.refusal = HTTPException(417, f"Nothing here expects {head.expectation!r}.")
            exchange.keep_alive = False
        return exchange

    # -- what a server does with it

    async def serve(self, application: Application) -> None:
        """Let `application` answer. An answer that is left in its middle is aborted; none at all is a 500."""
        deadline: asyncio.TimerHandle | None = None
        try:
            if self.malformed is not None:
                await self._say(self.malformed)
                return
            self._intake = intake = application.__intake__(self)
            if intake.max_body is not None:
                self._limit = intake.max_body
            if intake.wanted and self.refusal is None:
                if (self._announced or 0) > self._limit:
                    self.refusal = BodyTooLarge(self._limit)
                elif not intake.stream and self._announced != 0:
                    await self._gather()
            if self.started:  # the content was no good
                return
            if self._gone and intake.cancel_on_disconnect:
                return
            self._task = asyncio.current_task()
            if self._handler_timeout:
                loop = asyncio.get_running_loop()
                deadline = loop.call_later(self._handler_timeout, self._time_is_over)
            await application.__exchange__(self)
            if not self.started:
                await self._say(HTTPException(500, "The application gave no answer."))
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            if self._task is None or not (isinstance(self.refusal, HandlerTimeout) or self._gone):
                raise
            self._task.uncancel()
            if not self.started and not self._gone:
                await self._say(self.refusal)
        finally:
            self._task = None
            if deadline is not None:
                deadline.cancel()
            self.body.close()
            if not self.complete:
                self.abort()

    def _time_is_over(self) -> None:
        if self._task is not None and not self.started:
            self.refusal = HandlerTimeout(self._handler_timeout)
            self._task.cancel()

    def disconnect(self) -> None:
        """The client goes away. To be called on the loop's thread."""
        self._gone = True
        self._over.set()
        self._wake()
        if self._intake.cancel_on_disconnect and self._task is not None and not self.complete:
            self._task.cancel()

    async def _say(self, error: HTTPException | ProtocolError | None) -> None:
        """Answer in the server's own words, and close."""
        assert error is not None
        self.keep_alive = False
        fields = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.respond(error.status_code, fields, f"{error.detail}\n".encode())

    # -- what the client takes of the answer

    async def begun(self) -> None:
        """Wait until the head of the answer is there, or none is going to come."""
        while not self.started and not self._over.is_set():
            await self._changed()

    async def take(self) -> list[bytes]:
        """The pieces that have been written since the last call; [] at the end of the answer."""
        while not self.pieces and not self._over.is_set():
            await self._changed()
        pieces, self.pieces, self._waiting = self.pieces, [], 0
        self._wake()
        return pieces

    async def _changed(self) -> None:
        """Wait until something happens, be it what the caller waits for or not."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self, *_: object) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- the content

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
            await self._say(error)
        else:
            body.rewind()
            self.body = body

    async def _next_piece(self) -> bytes:
        piece = await self._pulled()
        if piece is _END:
            if self._announced is not None and self._received < self._announced:
                raise ProtocolError(400, "The content ended early.")
            return b""
        self._received += len(piece)
        if self._announced is not None and self._received > self._announced:
            self._give_up(self._too_long())
        if self._received > self._limit:
            raise BodyTooLarge(self._limit)
        return bytes(piece)

    async def _pulled(self) -> Any:
        """The next piece that is not empty, _END at the end. A test's own iterator may take its time."""
        piece: Any = b""
        while piece == b"" and not self._gone:
            try:
                if self._is_at_hand:
                    piece = next(self._content, _END)
                else:
                    pull = asyncio.ensure_future(asyncio.to_thread(next, self._content, _END))
                    pull.add_done_callback(self._wake)
                    while not pull.done() and not self._gone:
                        await self._changed()
                    piece = await pull if pull.done() else b""
            except Exception as error:
                self._give_up(error)
            if piece is not _END and not isinstance(piece, bytes | bytearray | memoryview):
                self._give_up(TypeError(f"content comes in pieces of bytes, not of {type(piece).__name__}"))
        if self._gone:
            raise ClientDisconnected
        return piece

    def _too_long(self) -> ValueError:
        """The server would take the rest for the next request."""
        return ValueError(f"the content is longer than its Content-Length, {self._announced} bytes")

    def _give_up(self, fault: Exception) -> None:
        """The client cannot go on with its request."""
        self.fault = fault
        self.disconnect()
        raise ClientDisconnected

    # -- the contract with the application (exchange.Exchange)

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def started(self) -> bool:
        return self.status != 0

    async def read(self) -> bytes:
        return await self._next_piece() if self._intake.stream else await self.body.next_piece()

    async def disconnected(self) -> None:
        await self._over.wait()

    async def inform(self, status: int, fields: Fields) -> None:
        interim_head(status, fields)
        if self.started:
            raise ResponseError("an interim answer behind the beginning of the final one")
        if self._gone:
            raise ClientDisconnected
        if self.http_version != "1.0":
            self.interim.append((status, list(fields)))

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        head = response_head(status, fields)
        self._begin(status, head, length_to_announce(self.method, status, head, len(content)))
        if content and not has_no_content(self.method, status):
            self.pieces.append(content)
        self._end()

    async def start(self, status: int, fields: Fields) -> None:
        head = response_head(status, fields)
        length = length_to_announce(self.method, status, head, None)
        is_chunked = length is None and status not in (204, 304) and self.http_version != "1.0"
        self._begin(status, head, length, is_chunked)
        self._left = None if has_no_content(self.method, status) else length
        await asyncio.sleep(0)  # who waits for the head has it before the first piece

    def _begin(self, status: int, head: ResponseHead, length: int | None, is_chunked: bool = False) -> None:
        if self.started:
            raise ResponseError("the answer has begun already")
        if self._gone:
            raise ClientDisconnected
        self.status = status
        self.answer_fields = head.fields
        if length is not None:
            self.answer_fields.append((b"content-length", b"%d" % length))
        elif is_chunked:
            self.answer_fields.append((b"transfer-encoding", b"chunked"))
        options = [b"close"] if head.close or not self.keep_alive else []
        if head.upgrade:
            options.append(b"upgrade")
        if options:
            self.answer_fields.append((b"connection", b", ".join(options)))
        if not head.has_date:
            self.answer_fields.append((b"date", http_date(time.time()).encode("ascii")))
        self._wake()

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
            self._waiting += len(piece)
            self._wake()
        while self._room is not None and self._waiting > self._room:
            await self._changed()
            if self._gone:
                raise ClientDisconnected
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
        self._wake()

    def abort(self) -> None:
        self.aborted = True
        self._over.set()
        self._wake()


def _content_length(fields: Fields) -> int | None:
    return next((int(value) for name, value in fields if name.lower() == b"content-length"), None)


def _read(method: str, target: str, fields: Fields, settings: Settings) -> Head:
    """The head as the server reads it from a socket. Raises ProtocolError."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), *(b"%b: %b" % field for field in fields)]
    block = b"\r\n".join((*lines, b"", b""))
    return cast(Head, HeadReader(HttptoolsParser(), settings).read(block, 0, settings))  # it is complete
