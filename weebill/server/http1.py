"""HTTP/1.1 on one connection: framing, order, back-pressure, deadlines.

The connection cuts the stream; a parser never sees a byte that does not belong to the head or the content at
hand. One request is read, answered, and only then is the next one looked at: what a client pipelines waits as
bytes, bounded, and reading pauses beyond the bound. So answers cannot change places, and nothing is parsed
behind a request that closes. What reading does at each moment is one state:

    HEAD ──────> CONTENT ──────> ANSWER ──────> HEAD ...
     │  no content ────────────────^  │
     │             (answered early) ──┤
     │                                v
     └── a fault ─────────────────> LINGER ──> the transport is closed

HEAD     a head is awaited, or part of it has come
CONTENT  content comes: gathered (Body), handed on (stream) or thrown away (nobody wants it)
ANSWER   the request is complete and its answer is not
LINGER   the last answer is sent and our side is shut; what still comes is thrown away, so that no reset
         overtakes the answer (RFC 9112 section 9.6)

The answer has a small state of its own (Phase). The two meet in `_answered`.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import cast

from ..body import NO_BODY, Body
from ..errors import (
    BodyTooLarge,
    ClientDisconnected,
    FieldsTooLarge,
    HTTPException,
    ProtocolError,
    RequestTimeout,
    ResponseError,
    TargetTooLong,
)
from ..exchange import BUFFERED, Exchange, Intake
from ..headers import Fields
from .head import Head, read_head
from .state import State
from .wire import CONTINUE, LAST_CHUNK, ResponseHead, chunk, minimal, response_head

__all__ = ["HTTP1Connection", "HTTP1Exchange"]

logger = logging.getLogger("weebill")

SWEEP = 1.0  # seconds between two ticks: a deadline falls due at most that much late, and never early
LINGER = 2.0  # seconds that a closed connection waits for its client to see the answer
SMALL_REST = 65536  # unwanted content is read to its end up to this many bytes, to keep the connection
STREAM_BUFFER = 65536  # bytes of content that a handler has not read yet; beyond it reading pauses
CHUNK_OVERHEAD = 16384  # bytes of chunk framing without a byte of content between them


class Reading(Enum):
    """What becomes of the bytes that come."""

    HEAD = 1
    CONTENT = 2
    ANSWER = 3
    LINGER = 4


class Phase(Enum):
    """How far an answer has got."""

    NOTHING = 1
    STARTED = 2
    FINISHED = 3


class HTTP1Exchange(Exchange):
    """One request on an HTTP1Connection, and its answer."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_left",
        "began",
        "expects_continue",
        "intake",
        "keep_alive",
        "phase",
        "sent",
        "status",
    )

    def __init__(self, connection: HTTP1Connection, head: Head) -> None:
        super().__init__(
            head.method,
            head.target,
            head.fields,
            head.http_version,
            connection.scheme,
            connection.client,
            connection.server,
            connection.state.stopping,
        )
        self._connection = connection
        self.keep_alive = head.keep_alive
        self.expects_continue = False
        self.intake = BUFFERED
        self.phase = Phase.NOTHING
        self.status = 0
        self.sent = 0  # bytes of content
        self.began = 0.0  # the loop's time, where the access log asks for it

    @property
    def started(self) -> bool:
        return self.phase is not Phase.NOTHING

    async def read(self) -> bytes:
        if self.intake.stream:
            return await self._connection.read_content(self)
        return self.body.read_piece()

    async def disconnected(self) -> None:
        if not self._connection.lost and self.phase is not Phase.FINISHED:
            await self._connection.wait_end()

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        head = response_head(status, fields)
        length: int | None = len(content)
        if status in (204, 304):  # RFC 9110 section 6.4.1 and 8.6
            content, length = b"", head.length if status == 304 else None
        elif self.method == "HEAD":
            content, length = b"", length if head.length is None else head.length
        elif head.length is not None and head.length != length:
            raise ResponseError(f"Content-Length says {head.length}, but the content has {length} bytes")
        framing = b"" if length is None else b"content-length: %d\r\n" % length
        self._begin(status, head, framing, content)
        self.sent = len(content)
        self.phase = Phase.FINISHED
        self._connection.tell_end()
        if self._connection.paused_writing:
            await self._connection.drain()

    async def start(self, status: int, fields: Fields) -> None:
        head = response_head(status, fields)
        self._chunked = False
        self._left = head.length
        if status in (204, 304):
            self._left = 0
            framing = b"content-length: %d\r\n" % head.length if status == 304 and head.length else b""
        elif head.length is not None:
            framing = b"content-length: %d\r\n" % head.length
        elif self.http_version == "1.0":  # the end of the connection is the end of the content
            self.keep_alive = False
            framing = b""
        else:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        self._begin(status, head, framing, b"")
        self.phase = Phase.STARTED

    def _begin(self, status: int, head: ResponseHead, framing: bytes, content: bytes) -> None:
        """Send the head, and the content that is at hand, in one write."""
        connection = self._connection
        if self.phase is not Phase.NOTHING:
            raise ResponseError("the answer has begun already")
        if connection.lost:
            raise ClientDisconnected
        if self.keep_alive:
            if head.close or connection.must_close(self):
                self.keep_alive = False
                framing += b"connection: close\r\n"
            elif self.http_version == "1.0":
                framing += b"connection: keep-alive\r\n"
        else:
            framing += b"connection: close\r\n"
        date = b"" if head.has_date else connection.state.date
        connection.transport.write(b"".join((head.block, framing, date, b"\r\n", content)))
        self.status = status

    async def write(self, piece: bytes) -> None:
        connection = self._connection
        if self.phase is not Phase.STARTED:
            raise ResponseError("content before the answer's start, or after its end")
        if connection.lost:
            raise ClientDisconnected
        if self.method == "HEAD" or not piece:
            return
        if self._left is not None:
            if len(piece) > self._left:
                raise ResponseError(f"{len(piece) - self._left} bytes more than Content-Length announced")
            self._left -= len(piece)
        self.sent += len(piece)
        connection.transport.write(chunk(piece) if self._chunked else piece)
        if connection.paused_writing:
            await connection.drain()

    async def finish(self) -> None:
        if self.phase is not Phase.STARTED:
            raise ResponseError("the end of an answer that has not begun, or has ended")
        if self.method != "HEAD":
            if self._left:
                raise ResponseError(f"{self._left} bytes fewer than Content-Length announced")
            if self._chunked:
                self._connection.transport.write(LAST_CHUNK)
        self.phase = Phase.FINISHED
        self._connection.tell_end()

    def abort(self) -> None:
        # Without a length or chunks only a reset tells the client that the content is not complete.
        delimited = self.phase is Phase.STARTED and (self._chunked or self._left is not None)
        self._connection.close() if delimited else self._connection.transport.abort()


class HTTP1Connection(asyncio.Protocol):
    """One client. Only the loop's thread touches it."""

    __slots__ = (
        "_body",
        "_buffer",
        "_eof",
        "_failure",
        "_flush",
        "_left",
        "_limit",
        "_overhead",
        "_parser",
        "_paused_reading",
        "_pending",
        "_pieces",
        "_progress",
        "_reading",
        "_received",
        "_requests",
        "_searched",
        "_since",
        "_tail",
        "_task",
        "_unpaced",
        "_unsent",
        "_waiters",
        "client",
        "exchange",
        "lost",
        "paused_writing",
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
        self.exchange: HTTP1Exchange | None = None
        self.lost = False
        self.paused_writing = False
        self._parser = state.new_parser()
        self._reading = Reading.HEAD
        self._buffer = b""  # the beginning of a head, or what a client has pipelined
        self._searched = 0  # how far _buffer was searched for the end of its head
        self._eof = False
        self._paused_reading = False
        self._requests = 0
        self._since = state.now  # when this state of reading began
        self._progress = state.now  # when the client last took some of what we send
        self._unsent = 0  # bytes that it had not taken then
        self._task: asyncio.Task[None] | None = None
        self._flush: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []  # for more content, for room to write, for the end
        self._pieces: list[bytes] = []
        self._failure: Exception | None = None

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.client = _address(transport.get_extra_info("peername"))
        self.server = _address(transport.get_extra_info("sockname"))
        self.state.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self.state.remove(self)
        self._reading = Reading.LINGER
        self._buffer = b""
        self._wake()
        exchange = self.exchange
        if self._task is not None and exchange is not None and exchange.intake.cancel_on_disconnect:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._consume(self._buffer + data if self._buffer else data)

    def eof_received(self) -> bool:
        """The client sends no more. What it asked for completely is still answered (RFC 9112 section 9.6)."""
        self._eof = True
        if self._reading is Reading.CONTENT and self.exchange is not None:
            if self.exchange.intake.stream:
                self._fail(ClientDisconnected())
            elif self._task is None:
                self._refuse(ProtocolError(400, "The content ended early."))
        elif self._reading is Reading.HEAD and self._buffer:
            self._refuse(ProtocolError(400, "The head ended early."))
        elif self.exchange is not None and self.exchange.intake.cancel_on_disconnect:
            return False  # to shut one side looks like going away; this route has said which it is
        # False has the transport closed.
        return self._reading is Reading.ANSWER or self._task is not None

    def pause_writing(self) -> None:
        self.paused_writing = True

    def resume_writing(self) -> None:
        self.paused_writing = False
        self._wake()

    # -- reading

    def _consume(self, data: bytes) -> None:
        """Take from `data` what the state allows; keep or drop the rest."""
        try:
            while data:
                if self._reading is Reading.HEAD:
                    data = self._take_head(data)
                elif self._reading is Reading.CONTENT:
                    data = self._take_content(data)
                else:
                    if self._reading is Reading.ANSWER:
                        self._hold(data)
                    return
        except ProtocolError as error:
            self._refuse(error, data)

    def _hold(self, data: bytes) -> None:
        """Let a pipelined request wait for the answer before it."""
        self._buffer = data
        self._searched = 0
        if len(data) > self.state.settings.max_pipelined:
            self._pause_reading()

    def _take_head(self, data: bytes) -> bytes:
        """Read a head if it is complete; return what lies behind it."""
        end = data.find(b"\r\n\r\n", self._searched)
        if data[:2] == b"\r\n":  # one empty line is tolerated (RFC 9112 section 2.2)
            data = data[2:]
            end = data.find(b"\r\n\r\n")
            if data[:1] in (b"\r", b"\n"):
                raise ProtocolError(400, "More than one empty line before a request.")
            if not data:
                self._buffer = b""
                return b""
        if end < 0:
            self._wait_for_head(data)
            return b""
        end += 4
        self._searched = 0
        self._buffer = b""
        self._check_sizes(data, end)
        rest = data[end:]
        head = read_head(*self._parser.head(data[:end] if rest else data))
        if len(head.fields) > self.state.settings.max_fields:
            raise FieldsTooLarge(f"more than {self.state.settings.max_fields}")
        self._open(head, rest)
        return rest

    def _wait_for_head(self, data: bytes) -> None:
        """Keep an incomplete head, unless it is clear already that nothing good comes of it."""
        if not self._buffer and self._requests:  # the first bytes after an idle time
            self._since = self.state.now
        seen = self._searched + (data[self._searched : self._searched + 1] == b"\n")
        if data.count(b"\n", seen) != data.count(b"\r\n", seen):
            raise ProtocolError(400, "The head is malformed: a line does not end in CR LF.")
        if not 32 < data[0] < 127 and data != b"\r":
            raise ProtocolError(400, "This is not HTTP/1.1.")
        self._check_sizes(data, len(data))
        self._buffer = data
        self._searched = max(len(data) - 3, 0)

    def _check_sizes(self, data: bytes, end: int) -> None:
        settings = self.state.settings
        if end <= settings.max_request_line:  # PERF: the usual head is shorter than a request line may be
            return
        line = data.find(b"\r\n", 0, settings.max_request_line + 2)
        if line < 0:
            raise TargetTooLong(settings.max_request_line)
        if end - line > settings.max_fields_size + 4:
            raise FieldsTooLarge(f"longer than {settings.max_fields_size} bytes")

    def _open(self, head: Head, rest: bytes) -> None:
        """A head is complete: ask the application about the content, and begin when there is no need to wait."""
        exchange = self.exchange = HTTP1Exchange(self, head)
        self._requests += 1
        if self.state.access_log is not None:
            exchange.began = self.state.loop.time()
        if head.expectation:
            if head.expectation != "100-continue":
                exchange.refusal = HTTPException(417, f"Nothing here expects {head.expectation!r}.")
            elif head.http_version != "1.0":
                exchange.expects_continue = True
        intake = exchange.intake = self.state.application.__intake__(exchange)
        if head.length == 0:
            self._reading = Reading.ANSWER
            self._run(exchange)
            return
        self._expect_content(exchange, head, intake, bool(rest))

    def _expect_content(self, exchange: HTTP1Exchange, head: Head, intake: Intake, has_begun: bool) -> None:
        self._reading = Reading.CONTENT
        self._since = self.state.now
        self._received = self._unpaced = 0
        self._pending = 0
        self._left = head.length
        self._tail = b""
        self._overhead = 0
        self._failure = None
        self._pieces = []
        self._limit = self.state.settings.max_body if intake.max_body is None else intake.max_body
        if head.length is not None and head.length > self._limit:
            exchange.refusal = BodyTooLarge(self._limit)
        if exchange.refusal is not None or not intake.wanted:
            exchange.intake = BUFFERED  # nobody reads it: _keep throws it away
            self._run(exchange)
        elif intake.stream:
            self._run(exchange)
        else:
            exchange.body = Body(self.state.settings.spool)
            if exchange.expects_continue and not has_begun:
                self.transport.write(CONTINUE)
            exchange.expects_continue = False

    def _take_content(self, data: bytes) -> bytes:
        """Take the content's part of `data`; return what lies behind it."""
        if self._left is not None:
            piece, data = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
            self._left -= len(piece)
            complete = self._left == 0
        else:
            end = (self._tail + data).find(b"\r\n\r\n")
            cut = len(data) if end < 0 else end + 4 - len(self._tail)
            block, data = (data, b"") if cut >= len(data) else (data[:cut], data[cut:])
            self._tail = b"" if end >= 0 else (self._tail + block)[-3:]
            piece, complete = self._take_chunks(block)
        self._received += len(piece)
        if piece:
            self._keep(piece)
        if complete:
            self._content_is_complete()
        return data

    def _take_chunks(self, block: bytes) -> tuple[bytes, bool]:
        try:
            piece, complete = self._parser.chunks(block)
            self._overhead = 0 if piece else self._overhead + len(block)
            if self._overhead > CHUNK_OVERHEAD:
                raise ProtocolError(400, "The chunks hold extensions or trailers, but no content.")
        except ProtocolError as error:
            if self._task is None:
                raise
            self._fail(error)
            return b"", False
        return piece, complete

    def _keep(self, piece: bytes) -> None:
        """Gather a piece of content, hand it on, or throw it away."""
        exchange = self.exchange
        if exchange is None or (self._task is not None and not exchange.intake.stream):
            return
        if self._received > self._limit:
            self._too_large(exchange)
        elif exchange.intake.stream:
            self._pieces.append(piece)
            self._pending += len(piece)
            self._wake()
            if self._pending > STREAM_BUFFER:
                self._pause_reading()
        else:
            exchange.body.add(piece)
            if exchange.body.needs_flush and self._flush is None:
                self._pause_reading()
                self._flush = self.state.loop.create_task(self._spool(exchange))

    def _too_large(self, exchange: HTTP1Exchange) -> None:
        exchange.keep_alive = False
        if exchange.intake.stream:
            self._fail(BodyTooLarge(self._limit))
        else:
            exchange.refusal = BodyTooLarge(self._limit)
            exchange.body.close()
            self._run(exchange)

    async def _spool(self, exchange: HTTP1Exchange) -> None:
        """Write gathered content to its file, off the loop, and read on."""
        try:
            await exchange.body.flush()
        except OSError as error:
            logger.error("content could not be written to a temporary file: %s", error)
            exchange.refusal = HTTPException(507, "There is no room for this content.")
            exchange.keep_alive = False
        self._flush = None
        if self.lost:
            exchange.body.close()
        elif self._reading is Reading.ANSWER or exchange.refusal is not None:
            self._run(exchange)
        else:
            self._resume_reading()

    def _content_is_complete(self) -> None:
        exchange = self.exchange
        if exchange is None:  # answered early, and the rest was small
            self._await_head()
            return
        self._reading = Reading.ANSWER
        if exchange.intake.stream:
            self._wake()
        elif self._task is None and self._flush is None:
            exchange.body.rewind()
            self._run(exchange)

    async def read_content(self, exchange: HTTP1Exchange) -> bytes:
        """The next piece for a handler that streams; what it has not asked for is not read from the client."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.exchange is not exchange or self._reading is Reading.ANSWER:
                return b""
            if self.lost:
                raise ClientDisconnected
            if exchange.expects_continue:
                exchange.expects_continue = False
                self.transport.write(CONTINUE)
            self._resume_reading()
            await self._wait()
        piece = b"".join(self._pieces)
        self._pieces = []
        self._pending = 0
        self._resume_reading()
        return piece

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self._eof:
            self._paused_reading = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused_reading and not self.lost:
            self._paused_reading = False
            self.transport.resume_reading()

    # -- answering

    def _run(self, exchange: HTTP1Exchange) -> None:
        self._task = self.state.loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: HTTP1Exchange) -> None:
        try:
            await self.state.application.__exchange__(exchange)
        except ClientDisconnected:
            pass
        except Exception:
            logger.exception("the application failed to answer %s %s", exchange.method, exchange.target)
        finally:
            self._answered(exchange)

    def _answered(self, exchange: HTTP1Exchange) -> None:
        """The application has done with a request: go on to the next, or end."""
        self.exchange = self._task = None
        self._wake()
        if exchange.body is not NO_BODY:
            exchange.body.close()
        if self.lost:
            return
        if exchange.phase is not Phase.FINISHED:
            self._unanswered(exchange)
            return
        if self.state.access_log is not None:
            self._log_access(exchange)
        if not exchange.keep_alive:
            self._linger() if self._reading is Reading.CONTENT or self._buffer else self.close()
        elif self._reading is Reading.CONTENT:
            self._resume_reading()
        else:
            self._await_head()

    def _unanswered(self, exchange: HTTP1Exchange) -> None:
        if exchange.phase is Phase.NOTHING:
            self.transport.write(minimal(500, "The application gave no answer.", self.state.date))
            self._linger()
        else:
            exchange.abort()

    def _await_head(self) -> None:
        self._reading = Reading.HEAD
        self._since = self.state.now
        if self._buffer:
            self._consume(self._buffer)
        if self._reading is Reading.HEAD:
            if self._eof:
                self.close()
            self._resume_reading()

    def must_close(self, exchange: HTTP1Exchange) -> bool:
        """Whether the answer that now begins is the last: the server stops, the client has shut its side, or
        so much content is to come that nobody wants to read it."""
        if self.state.is_stopping or self._eof or self._failure is not None:
            return True
        if self._reading is not Reading.CONTENT:
            return False
        return self._left is None or self._left > SMALL_REST or exchange.expects_continue

    def _refuse(self, error: ProtocolError, data: bytes = b"") -> None:
        """Answer a fault of the peer in the server's own words, and close."""
        client = self.client[0] if self.client else "a client"
        logger.warning("refused %s: %d %s %r", client, error.status_code, error.detail, data[:80])
        self.exchange = None
        self.transport.write(minimal(error.status_code, error.detail, self.state.date))
        self._linger()

    def _fail(self, error: Exception) -> None:
        """Tell a handler that streams that no more content comes; its answer is the last."""
        self._failure = error
        self._reading = Reading.ANSWER
        self._wake()

    # -- waiting and ending

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written. Raises ClientDisconnected."""
        while self.paused_writing and not self.lost:
            await self._wait()
        if self.lost:
            raise ClientDisconnected

    async def wait_end(self) -> None:
        """Wait until the client has gone or the answer is complete."""
        exchange = self.exchange
        while not self.lost and self.exchange is exchange and exchange is not None:
            if exchange.phase is Phase.FINISHED:
                return
            await self._wait()

    def tell_end(self) -> None:
        """The answer is complete, though the application may have more to do: tell who waits for it."""
        if self._waiters:
            self._wake()

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = self.state.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _linger(self) -> None:
        """Shut our side, and wait a little for the client to read the answer and shut its own."""
        self._reading = Reading.LINGER
        self._since = self.state.now
        self._buffer = b""
        if self._eof or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self._resume_reading()

    def close(self) -> None:
        """Close when what was written has been sent."""
        self._reading = Reading.LINGER
        self._since = self.state.now
        self.transport.close()

    def shut_down(self) -> None:
        """The server stops: an idle connection ends, any other with the answer in flight."""
        if self._reading is Reading.HEAD and not self._buffer:
            self._linger()

    def cut(self) -> None:
        """End now, whatever is in flight."""
        if self._task is not None:
            self._task.cancel()
        self.transport.abort()

    def tick(self, now: float) -> None:
        """Enforce the deadlines; called once in a sweep. Times are those of the sweeps, so a limit counts
        from the sweep after it began: never early, and late by no more than one sweep."""
        settings = self.state.settings
        if self._write_has_stalled(now):
            logger.info("cut off %s: it read nothing for %gs", self.client, settings.write_timeout)
            self.cut()
            return
        elapsed = now - self._since - SWEEP
        if self._reading is Reading.HEAD:
            fresh = self._buffer or not self._requests
            if elapsed >= (settings.header_timeout if fresh else settings.idle_timeout):
                if self._buffer:
                    self._refuse(RequestTimeout(f"No complete head in {settings.header_timeout:g} seconds."))
                else:
                    self._linger()
        elif self._reading is Reading.CONTENT:
            self._check_pace(now, elapsed)
        elif self._reading is Reading.LINGER and elapsed >= LINGER and not self._unsent:
            self.transport.abort()

    def _check_pace(self, now: float, elapsed: float) -> None:
        if self._paused_reading:  # it is we who make the client wait
            self._since, self._unpaced = now, self._received
            return
        settings = self.state.settings
        late = elapsed - settings.body_grace
        if late <= 0 or self._received - self._unpaced >= settings.body_rate * late:
            return
        error = RequestTimeout(f"The content comes more slowly than {settings.body_rate} bytes a second.")
        if self._task is None:
            self._refuse(error)
        elif self.exchange is None:
            self._linger()
        else:
            self._fail(error)

    def _write_has_stalled(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent or not unsent:
            self._progress = now
        self._unsent = unsent
        return unsent > 0 and now - self._progress >= self.state.settings.write_timeout + SWEEP

    def _log_access(self, exchange: HTTP1Exchange) -> None:
        assert self.state.access_log is not None
        self.state.access_log.info(
            '%s "%s %s HTTP/%s" %d %d %.1fms',
            self.client[0] if self.client else "-",
            exchange.method,
            exchange.target,
            exchange.http_version,
            exchange.status,
            exchange.sent,
            (self.state.loop.time() - exchange.began) * 1000,
        )


def _address(name: object) -> tuple[str, int] | None:
    """Host and port of a socket's name; a unix socket has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
