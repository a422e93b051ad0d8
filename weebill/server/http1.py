"""HTTP/1.1 on one connection: order, back-pressure, deadlines.

The connection cuts the stream; a parser never sees a byte that does not belong to the head at hand. One
request is read, answered, and only then is the next one looked at: what a client pipelines waits as bytes,
bounded, and reading pauses beyond the bound. So answers cannot change places, and nothing is parsed behind a
request that closes. What reading does at each moment is one state:

    HEAD ──────> CONTENT ──────> ANSWER ──────> HEAD ...
     │  no content ────────────────^  │
     │             (answered early) ──┤
     │                                v
     └── a fault ─────────────────> LINGER ──> the transport is closed

HEAD     a head is awaited, or part of it has come
CONTENT  content comes (content.py)
ANSWER   the request is complete, or broken, and its answer is not complete
LINGER   the last answer is sent and our side is shut; what still comes is thrown away, so that no reset
         overtakes the answer (RFC 9112 section 9.6)

The answer has a small state of its own (http1_exchange.py). The two meet in `_answered`.
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
    HandlerTimeout,
    HTTPException,
    ProtocolError,
    RequestTimeout,
    TooManyConnections,
)
from ..exchange import BUFFERED
from .content import Content, Use
from .head import Head, check_beginning, check_sizes, read_head
from .http1_exchange import HTTP1Exchange, Phase
from .output import Output, address
from .state import SWEEP, State
from .wire import CONTINUE, minimal

__all__ = ["HTTP1Connection"]

logger = logging.getLogger("weebill")

LINGER = 2.0  # seconds that a connection which has ended waits for its client to say something more
LINGER_IN_ALL = 30.0  # seconds that it waits for a client that goes on talking (nginx's precedent)
LAST_LINGER = 0.5  # the same while the server stops


class Reading(Enum):
    """What becomes of the bytes that come."""

    HEAD = 1
    CONTENT = 2
    ANSWER = 3
    LINGER = 4


class HTTP1Connection(asyncio.Protocol):
    """One client. Only the loop's thread touches it."""

    __slots__ = (
        "_buffer",
        "_content",
        "_eof",
        "_flush",
        "_lingers_until",
        "_parser",
        "_paused_reading",
        "_reading",
        "_requests",
        "_searched",
        "_since",
        "_task",
        "client",
        "exchange",
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
        self.exchange: HTTP1Exchange | None = None
        self.output = Output(state.loop, state.now)
        self._parser = state.new_parser()
        self._reading = Reading.HEAD
        self._buffer = b""  # the beginning of a head, or what a client has pipelined
        self._searched = 0  # how far _buffer was searched for the end of its head
        self._content: Content | None = None
        self._eof = False
        self._paused_reading = False
        self._requests = 0
        self._since = state.now  # when this state of reading began, or the handler
        self._task: asyncio.Task[None] | None = None
        self._flush: asyncio.Task[None] | None = None

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = self.output.transport = cast(asyncio.Transport, transport)
        self.client = address(transport, "peername")
        self.server = address(transport, "sockname")
        logger.debug("connection from %s", self.client)
        try:
            self.state.add(self, self.client and self.client[0])
        except TooManyConnections as error:
            self._refuse(error, b"")

    def connection_lost(self, error: Exception | None) -> None:
        self.output.lost = True
        self.state.remove(self)
        self._reading = Reading.LINGER
        self._buffer = b""
        self.output.wake()
        if self._task is None:
            self._forget_request()
        elif self.exchange is not None and self.exchange.intake.cancel_on_disconnect:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._consume(self._buffer + data if self._buffer else data)

    def eof_received(self) -> bool:
        """The client sends no more. What it asked for completely is still answered (RFC 9112 section 9.6)."""
        self._eof = True
        self._end_input()
        return self._reading is not Reading.LINGER  # False has the transport closed

    def pause_writing(self) -> None:
        self.output.paused = True

    def resume_writing(self) -> None:
        self.output.paused = False
        self.output.wake()

    # -- reading heads

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
                    else:
                        self._since = self.state.now  # it still talks; nobody listens
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
        start = 0
        if data[0] == 13 and data[:2] == b"\r\n":  # one empty line is tolerated (RFC 9112 section 2.2)
            start = 2
            if data[2:3] in (b"\r", b"\n"):
                raise ProtocolError(400, "More than one empty line before a request.")
        end = data.find(b"\r\n\r\n", self._searched or start) + 4
        if end < 4:
            self._wait_for_head(data, start)
            return b""
        if end > self.state.usual_head:
            check_sizes(data, start, end, self.state.settings)
        self._searched = 0
        self._buffer = b""
        rest = data[end:]
        head = read_head(data[start:end] if rest or start else data, self._parser)
        if len(head.fields) > self.state.settings.max_fields:
            raise FieldsTooLarge(f"more than {self.state.settings.max_fields}")
        self._open(head, rest)
        return rest

    def _wait_for_head(self, data: bytes, start: int) -> None:
        """Keep an incomplete head, unless it is clear already that nothing good comes of it."""
        if self._is_idle() and self._requests:  # the first bytes after an idle time
            self._since = self.state.now
        check_beginning(data, start, self._searched)
        check_sizes(data, start, len(data), self.state.settings)
        self._buffer = data
        self._searched = max(len(data) - 3, start)

    def _is_idle(self) -> bool:
        """Whether nothing of a head has come. The one empty line that is tolerated begins none."""
        return self._reading is Reading.HEAD and self._buffer in (b"", b"\r\n")

    def _open(self, head: Head, rest: bytes) -> None:
        """A head is complete: ask the application about its content, and begin unless that comes first."""
        exchange = self.exchange = HTTP1Exchange(self, head)
        self._requests += 1
        if self.state.access_log is not None:
            exchange.began = self.state.loop.time()
        if head.expectation:
            if head.expectation != "100-continue":
                exchange.refusal = HTTPException(417, f"Nothing here expects {head.expectation!r}.")
                exchange.keep_alive = False  # whether the content comes all the same, nobody knows
            elif head.http_version != "1.0":
                exchange.expects_continue = not rest
        exchange.intake = self.state.application.__intake__(exchange)
        if head.length == 0:
            self._reading = Reading.ANSWER
            self._run(exchange)
        else:
            self._expect_content(exchange, head.length)

    # -- reading content

    def _expect_content(self, exchange: HTTP1Exchange, length: int | None) -> None:
        settings, intake = self.state.settings, exchange.intake
        limit = settings.max_body if intake.max_body is None else intake.max_body
        if length is not None and length > limit:
            exchange.refusal = BodyTooLarge(limit)
        if exchange.refusal is not None or not intake.wanted:
            exchange.intake = BUFFERED  # nobody reads it
            use = Use.DROP
        else:
            use = Use.HAND_ON if intake.stream else Use.GATHER
        self._reading = Reading.CONTENT
        self._content = exchange.content = Content(length, limit, use, self.state.now, settings)
        if use is not Use.GATHER:
            self._run(exchange)
            return
        exchange.body = Body(settings.spool)
        if exchange.expects_continue:
            exchange.expects_continue = False
            self.output.send(CONTINUE)

    def _take_content(self, data: bytes) -> bytes:
        """Take the content's part of `data`; return what lies behind it."""
        content, exchange = self._content, self.exchange
        assert content is not None
        if exchange is not None:
            exchange.expects_continue = False  # it has not waited
        try:
            piece, rest = content.take(data)
        except ProtocolError as error:
            self._end_content(error, data)
            return b""
        if piece and content.use is not Use.DROP and exchange is not None:
            self._keep(piece, content, exchange)
        if content.complete:
            self._content_is_complete(content)
        return rest

    def _keep(self, piece: bytes, content: Content, exchange: HTTP1Exchange) -> None:
        if content.received > content.limit:
            exchange.keep_alive = False
            if content.use is Use.GATHER:
                content.drop()
                exchange.refusal = BodyTooLarge(content.limit)
                self._run(exchange)
            else:
                self._fail(BodyTooLarge(content.limit))
        elif content.use is Use.GATHER:
            exchange.body.add(piece)
            if exchange.body.needs_flush and self._flush is None:
                self._pause_reading()
                self._flush = self.state.loop.create_task(self._spool(exchange))
        else:
            content.put(piece)
            self.output.wake()
            if content.is_far_ahead:
                self._pause_reading()

    async def _spool(self, exchange: HTTP1Exchange) -> None:
        """Write gathered content to its file, off the loop, and read on."""
        try:
            await exchange.body.flush()
        except OSError as error:
            logger.error("content could not be written to a temporary file: %s", error)
            exchange.refusal = HTTPException(507, "There is no room for this content.")
            exchange.keep_alive = False
        self._flush = None
        if self.exchange is not exchange or self._task is not None:  # the client has gone, or was refused
            exchange.body.close()
            return
        self.resume_reading()
        if exchange.refusal is not None:
            cast(Content, self._content).drop()
            self._run(exchange)
        elif self._reading is Reading.ANSWER:
            exchange.body.rewind()
            self._run(exchange)

    def _content_is_complete(self, content: Content) -> None:
        exchange = self.exchange
        if exchange is None:  # it was answered early, and the rest was small
            self._await_head()
            return
        if self._reading is not Reading.CONTENT:  # it was too long to the last byte
            return
        self._reading = Reading.ANSWER
        if content.use is Use.HAND_ON:
            self.output.wake()
        elif content.use is Use.GATHER and self._flush is None:
            exchange.body.rewind()
            self._run(exchange)

    def _end_content(self, error: ProtocolError, data: bytes = b"") -> None:
        """No more content comes, or none that could be used."""
        if self.exchange is None:  # its answer has been sent
            self._linger()
        elif self._task is None:
            self._refuse(error, data)
        else:
            self._complain(error, data)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Tell a handler that no more of its content comes; its answer is the last."""
        cast(Content, self._content).failure = error
        cast(HTTP1Exchange, self.exchange).keep_alive = False
        self._reading = Reading.ANSWER
        self.output.wake()

    def _end_input(self) -> None:
        """The client has shut its side."""
        if self._reading is Reading.CONTENT:
            self._end_content(ProtocolError(400, "The content ended early."))
        elif self._reading is Reading.HEAD:
            if self._is_idle():
                self.close()
            else:
                self._refuse(ProtocolError(400, "The head ended early."), self._buffer)
        elif self.exchange is not None and self.exchange.intake.cancel_on_disconnect:
            self.close()  # to shut one side looks like going away; this route has said which it is

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self._eof:
            self._paused_reading = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more from the client, if it was to wait."""
        if self._paused_reading and not self.output.lost:
            self._paused_reading = False
            self.transport.resume_reading()

    # -- answering

    def _run(self, exchange: HTTP1Exchange) -> None:
        self._since = self.state.now
        # PERF: what loop.create_task makes, without its detour; with a name none has to be made up.
        self._task = asyncio.Task(self._answer(exchange), loop=self.state.loop, name="weebill-request")

    async def _answer(self, exchange: HTTP1Exchange) -> None:
        try:
            await self.state.application.__exchange__(exchange)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            exchange.keep_alive = False  # the loop may be about to end: begin nothing more
            self._answered(exchange)
            raise
        except GeneratorExit:  # the loop was closed under it
            raise
        except KeyboardInterrupt:
            self._answered(exchange)
            raise
        except BaseException:  # SystemExit too: no request ends the server
            logger.exception("the application failed to answer %s %r", exchange.method, exchange.target)
        self._answered(exchange)

    def _answered(self, exchange: HTTP1Exchange) -> None:
        """The application has done with a request: go on to the next, or end."""
        if self.output.waiters:
            self.output.wake()
        self._forget_request()
        is_over = self._reading is Reading.LINGER  # the client has gone, or was cut off
        is_finished = exchange.phase is Phase.FINISHED
        if not is_over and not is_finished:
            self._unanswered(exchange)
        if self.state.access_log is not None and exchange.status:
            exchange.log(self.state.access_log, self.state.loop.time())
        if is_over or not is_finished:
            return
        if not exchange.keep_alive:
            self._linger()
        elif self._reading is not Reading.CONTENT:
            self._await_head()
        elif self._eof:
            self._linger()
        else:
            self.resume_reading()

    def _forget_request(self) -> None:
        exchange, self.exchange, self._task = self.exchange, None, None
        if exchange is not None and exchange.content is not None:
            exchange.content.drop()
            if exchange.body is not NO_BODY and self._flush is None:
                exchange.body.close()

    def _unanswered(self, exchange: HTTP1Exchange) -> None:
        if exchange.phase is Phase.NOTHING:
            error = exchange.refusal
            if not isinstance(error, HandlerTimeout):
                error = HTTPException(500, "The application gave no answer.")
            exchange.status = error.status_code
            self.output.send(minimal(error.status_code, error.detail, self.state.date))
            self._linger()
        else:
            exchange.abort()

    def _await_head(self) -> None:
        self._reading = Reading.HEAD
        self._content = None
        self._since = self.state.now
        if self._paused_reading:
            self.resume_reading()
        if self._buffer:
            self._consume(self._buffer)
        if self._eof:
            self._end_input()
        elif self.state.is_stopping:
            self.shut_down()

    def is_last(self, exchange: HTTP1Exchange) -> bool:
        """Whether the answer that now begins is the last: the server stops, the client has sent its last
        request, or so much content is to come that nobody wants to read it."""
        if self.state.is_stopping or (self._eof and not self._buffer):
            return True
        if self._reading is not Reading.CONTENT:
            return False
        return exchange.expects_continue or not cast(Content, self._content).rest_is_small

    def _refuse(self, error: ProtocolError, data: bytes) -> None:
        """Answer a fault of the peer in the server's own words, and close."""
        self._complain(error, data)
        self._forget_request()
        self.output.send(minimal(error.status_code, error.detail, self.state.date))
        self._linger()

    def _complain(self, error: ProtocolError, data: bytes) -> None:
        client, status = self._client(), error.status_code
        self.state.complain(logging.WARNING, "refused %s: %d %s %r", client, status, error.detail, data[:80])

    def _client(self) -> str:
        return self.client[0] if self.client else "a client"

    # -- ending

    def _linger(self) -> None:
        """Shut our side, and wait a little for the client to read the answer and shut its own."""
        if self._eof or not self.transport.can_write_eof():
            self.close()
            return
        self._end_reading()
        try:
            self.transport.write_eof()
        except OSError:  # it was reset a moment ago
            self.transport.abort()
            return
        self.resume_reading()
        if self.state.is_stopping:
            self._end_soon()

    def _end_soon(self) -> None:
        self.state.loop.call_later(LAST_LINGER, self.transport.close)

    def close(self) -> None:
        """Close when what was written has been sent."""
        self._end_reading()
        self.transport.close()

    def _end_reading(self) -> None:
        self._reading = Reading.LINGER
        self._since = self.state.now
        self._lingers_until = self._since + LINGER_IN_ALL
        self._buffer = b""

    def shut_down(self) -> None:
        """The server stops: an idle connection ends, any other with the answer in flight."""
        if self._is_idle():
            self._linger()
        elif self._reading is Reading.LINGER:
            self._end_soon()

    def cut(self) -> None:
        """End now, whatever is in flight."""
        if self._task is not None:
            self._task.cancel()
        self._end_reading()
        self.output.reset()

    # -- deadlines

    def tick(self, now: float) -> None:
        """Enforce the deadlines; called once in a sweep. Times are those of the sweeps, so a limit counts
        from the sweep after it began: never early, and late by no more than one sweep."""
        settings = self.state.settings
        if self.output.look(now) >= settings.write_timeout + SWEEP:
            self._give_up(f"it read nothing for {settings.write_timeout:g}s")
            return
        elapsed = now - self._since - SWEEP
        if self._reading is Reading.HEAD:
            if self._is_idle():
                if elapsed >= (settings.idle_timeout if self._requests else settings.header_timeout):
                    self._linger()
            elif elapsed >= settings.header_timeout:
                error = RequestTimeout(f"No complete head in {settings.header_timeout:g} seconds.")
                self._refuse(error, self._buffer)
        elif self._reading is Reading.CONTENT:
            self._check_pace(now)
        elif self._reading is Reading.ANSWER:
            self._check_answer(now, elapsed)
        elif (elapsed >= LINGER or now >= self._lingers_until) and self.output.all_taken:
            self.transport.abort()

    def _give_up(self, reason: str) -> None:
        self.state.complain(logging.INFO, "cut off %s: %s", self._client(), reason)
        self.cut()

    def _check_pace(self, now: float) -> None:
        assert self._content is not None
        settings = self.state.settings
        if self._paused_reading or (self.exchange is not None and self.exchange.expects_continue):
            self._content.restart_pace(now)  # it is we who make the client wait
        elif self._content.is_too_slow(now, settings.body_rate, settings.body_grace + SWEEP):
            rate = settings.body_rate
            self._end_content(RequestTimeout(f"The content comes more slowly than {rate} bytes a second."))

    def _check_answer(self, now: float, elapsed: float) -> None:
        exchange, settings = self.exchange, self.state.settings
        if exchange is None or self._task is None:
            return
        limit = settings.handler_timeout
        if exchange.phase is Phase.NOTHING:
            if limit and elapsed >= limit and not isinstance(exchange.refusal, HandlerTimeout):
                exchange.refusal = HandlerTimeout(limit)
                self._task.cancel()
        # A client that has shut its side may read on, or have gone: that is known when something is written.
        elif self._eof and self.output.silence(now) >= settings.write_timeout + SWEEP:
            self._give_up(f"it had shut its side, and nothing was sent for {settings.write_timeout:g}s")
