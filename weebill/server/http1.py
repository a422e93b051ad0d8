"""HTTP/1.1 on one connection: order and deadlines.

The connection cuts the stream; a parser never sees a byte that does not belong to the head at hand. One
request is read, answered, and only then is the next one looked at: what a client pipelines waits as bytes,
bounded, and reading pauses beyond the bound. So answers cannot change places, and nothing is parsed behind a
request that closes. What reading does at each moment is one state:

    HEAD ──────> CONTENT ──────> ANSWER ──────> HEAD ...
     │  no content ────────────────^  │
     │             (answered early) ──┤
     │                                v
     └── a fault ───────────────> LINGERING ──> the transport is closed

HEAD       a head is awaited, or part of it has come
CONTENT    content comes (content.py)
ANSWER     the request is complete, or broken, and its answer is not complete
LINGERING  the last answer is sent and our side is shut; what still comes is thrown away, so that no reset
           overtakes the answer (RFC 9112 section 9.6)

The answer has a small state of its own (http1_exchange.py). The two meet in `_answered`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from enum import Enum
from typing import Any, cast

from ..body import NO_BODY, Body
from ..errors import (
    BodyTooLarge,
    ClientDisconnected,
    HandlerTimeout,
    HTTPException,
    ProtocolError,
    RequestTimeout,
)
from ..exchange import BUFFERED
from .connection import LINGER, ClientConnection
from .content import Content, Use
from .head import HeadReader, check_beginning, check_sizes, skip_empty_line
from .http1_exchange import FINISHED, NOTHING, HTTP1Exchange
from .state import SWEEP, SWEPT, State
from .straight import LONG, Straight
from .wire import CONTINUE, minimal

__all__ = ["HTTP1Connection"]

logger = logging.getLogger("weebill")


MOST_CHUNKS = 1000  # that are read in one turn of the loop


class Reading(Enum):
    """What becomes of the bytes that come."""

    HEAD = 1
    CONTENT = 2
    ANSWER = 3
    LINGERING = 4


HEAD, CONTENT, ANSWER, LINGERING = Reading  # PERF: before 3.12 `Reading.HEAD` is a call


_Task: Any = asyncio.Task  # for type checkers, whose Python may not know eager_start
# PERF: most handlers wait for nothing; where Python can begin a task at once, those need no turn of the loop.
_begins_at_once = sys.version_info >= (3, 12)


def _raise(error: BaseException) -> None:
    raise error


class HTTP1Connection(ClientConnection):
    """One client. Only the loop's thread touches it."""

    __slots__ = (
        "_buffer",
        "_content",
        "_flush",
        "_is_used",
        "_reader",
        "_reading",
        "_searched",
        "_straight",
        "_task",
        "exchange",
        "is_looking",
    )

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.exchange: HTTP1Exchange | None = None
        self._reader = HeadReader(state.new_parser(), state.settings)
        self._reading = HEAD
        # The beginning of a head, or what a client has pipelined: a bytearray if that comes in pieces.
        self._buffer: bytes | bytearray = b""
        self._searched = 0  # how far _buffer was searched for the end of its head
        self._content: Content | None = None
        self._straight: Straight | None = None  # who reads for us since there was long content
        self._is_used = False  # it has had a request
        self._task: asyncio.Task[None] | None = None
        self._flush: asyncio.Task[None] | None = None
        self.is_looking = False  # in the next turn of the loop, at a request that others wait for

    # -- the transport's calls

    def connection_lost(self, error: Exception | None) -> None:
        self.output.lost = True
        self.state.remove(self)
        self._reading = LINGERING
        self._buffer = b""
        self._straight = None  # which holds us
        self.output.wake()
        if self._task is None:
            self._forget_request()
        elif self.exchange is not None and self.exchange.may_be_cancelled:
            self._cancel()
        if self._task is not None:
            self.state.leave_behind(self._task)

    def _cancel(self) -> None:
        """Cancel the handler, but only once: a second time would break what it does to end well."""
        task, exchange = self._task, self.exchange
        if task is not None and exchange is not None and not task.cancelling():
            task.cancel()
            # One that has not begun never comes to the end of _answer.
            task.add_done_callback(lambda _: self._answered(exchange))

    def data_received(self, data: bytes) -> None:
        if self._reading is ANSWER:
            self._hold(data)
        else:
            self._consume(bytes(self._buffer) + data if self._buffer else data)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.let_go_if_answered()

    def eof_received(self) -> bool:
        """The client sends no more. What it asked for completely is still answered (RFC 9112 section 9.6)."""
        self._eof = True
        self._end_input()
        return self._reading is not LINGERING  # False has the transport closed

    # -- reading heads

    def _consume(self, data: bytes) -> None:
        """Take from `data` what the state allows; keep or drop the rest."""
        try:
            while data:
                if self._reading is HEAD:
                    data = self._take_head(data)
                elif self._reading is CONTENT:
                    data = self._take_content(data)
                elif self._reading is ANSWER:
                    self._hold(data)
                    return
                else:
                    self._since = self.state.now  # it still talks; nobody listens
                    return
        except ProtocolError as error:
            self._refuse(error, data)

    def _hold(self, data: bytes) -> None:
        """Let a pipelined request wait for the answer before it. It may come byte by byte."""
        if not self._buffer:
            self._buffer = data
        elif isinstance(self._buffer, bytearray):
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer + data)
        if self.exchange is not None:
            self.exchange.is_awaited = True
            self._look_soon()
        if len(self._buffer) > self.state.settings.max_pipelined:
            self._pause_reading()

    def _take_head(self, data: bytes) -> bytes:
        """Read a head if it is complete, ask the application about its content, and begin unless that comes
        first; return what lies behind it and is to be read now."""
        state = self.state
        head = self._reader.read(data, self._searched, state.settings)
        if head is None:
            self._wait_for_head(data)
            return b""
        self._searched = 0
        self._buffer = b""
        exchange = self.exchange = HTTP1Exchange(self, head)
        self._is_used = True
        if state.access_log is not None:
            exchange.began = state.clock()
        rest = data[head.size :] if len(data) > head.size else b""
        if head.expectation:
            self._look_at_expectation(exchange, head.expectation, rest)
        intake = state.intake  # PERF: a function that is called as an attribute is looked up each time
        try:
            exchange.intake = intake(exchange)
        except BaseException as error:  # it had promised not to raise
            self._note_failure(exchange, "look at", error)
            self._answered(exchange)
            return b""
        if head.length != 0:
            self._expect_content(exchange, head.length)
            return rest
        self._reading = ANSWER
        self._run(exchange, at_once=not rest)
        if rest:  # PERF: what _consume would do, without another round
            self._hold(rest)
        return b""

    def _wait_for_head(self, data: bytes) -> None:
        """Keep an incomplete head, unless it is clear already that nothing good comes of it."""
        if self._is_idle() and self._is_used:  # the first bytes after an idle time
            self._since = self.state.now
        start = skip_empty_line(data)
        check_beginning(data, start, self._searched)
        check_sizes(data, start, len(data), self.state.settings)
        self._buffer = data
        self._searched = max(len(data) - 3, start)

    def _is_idle(self) -> bool:
        """Whether nothing of a head has come. The one empty line that is tolerated begins none."""
        return self._reading is HEAD and self._buffer in (b"", b"\r\n")

    def _look_at_expectation(self, exchange: HTTP1Exchange, expectation: str, rest: bytes) -> None:
        if expectation != "100-continue":
            exchange.refusal = HTTPException(417, f"Nothing here expects {expectation!r}.")
            exchange.keep_alive = False  # whether the content comes all the same, nobody knows
        elif exchange.http_version != "1.0":
            exchange.expects_continue = not rest

    # -- reading content

    def _expect_content(self, exchange: HTTP1Exchange, length: int | None) -> None:
        settings, intake = self.state.settings, exchange.intake
        limit = settings.max_body if intake.max_body is None else intake.max_body
        if length is not None and length > limit and intake.wanted and exchange.refusal is None:
            exchange.refusal = BodyTooLarge(limit)
        if exchange.refusal is not None or not intake.wanted:
            exchange.intake = BUFFERED  # nobody reads it
            use = Use.DROP
        else:
            use = Use.HAND_ON if intake.stream else Use.GATHER
        self._reading = CONTENT
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
            piece, rest = content.take(data, MOST_CHUNKS)
        except ProtocolError as error:
            self._end_content(error)
            return b""
        if exchange is not None:
            self._keep(piece, content, exchange)
        if content.complete:
            self._content_is_complete(content)
        elif rest:  # many chunks at once: others have their turn before the rest of them
            self._buffer = rest
            self._pause_reading()
            self.state.loop.call_soon(self._go_on)
            return b""
        elif content.left > LONG and content.use is not Use.DROP:
            self._expect(content, cast(HTTP1Exchange, exchange).body)
        return rest

    def _expect(self, content: Content, body: Body) -> None:
        """Have the rest of long content read by Straight, and where it may into `body`."""
        if self._straight is None:
            self._straight = Straight(self, self.state.scratch, self._content_came)
            self.transport.set_protocol(self._straight)
            if not self._paused_reading:  # uvloop looks only then who reads, and would go on giving us bytes
                self.transport.pause_reading()
                self.transport.resume_reading()
        self._straight.expect(content, body)

    def _content_came(self, count: int) -> None:
        """So much of the content is in its place already."""
        content, exchange = cast(Content, self._content), cast(HTTP1Exchange, self.exchange)
        content.count(count)
        exchange.body.fill(count)
        if content.complete:
            self._content_is_complete(content)

    def _go_on(self) -> None:
        """Read the chunks that were left for a later turn."""
        if not self._buffer or self._reading is not CONTENT or self._must_wait():
            return
        data, self._buffer = bytes(self._buffer), b""
        self._consume(data)
        if self._reading is CONTENT and not self._buffer and not self._must_wait():
            self.resume_reading()

    def _must_wait(self) -> bool:
        """Whether no more of the content is to come for now."""
        content = cast(Content, self._content)
        if content.use is Use.DROP:  # what is not wanted waits for the answer
            return self.exchange is not None and not content.rest_is_small
        return self._flush is not None or content.is_far_ahead

    def resume_reading(self) -> None:
        """Take more from the client, if it was to wait."""
        super().resume_reading()
        if self._buffer and self._reading is CONTENT:
            self.state.loop.call_soon(self._go_on)

    def _keep(self, piece: bytes, content: Content, exchange: HTTP1Exchange) -> None:
        if content.use is Use.DROP:
            if self._must_wait():
                self._pause_reading()
        elif content.is_too_long:
            exchange.keep_alive = False
            if content.use is Use.GATHER:
                content.drop()
                exchange.refusal = BodyTooLarge(content.limit)
                self._run(exchange)
            else:
                self._fail(BodyTooLarge(content.limit))
        elif not piece:
            return
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
        elif self._reading is ANSWER:
            exchange.body.rewind()
            self._run(exchange)

    def _content_is_complete(self, content: Content) -> None:
        exchange = self.exchange
        if exchange is None:  # it was answered early, and the rest was small
            self._await_head()
            return
        if self._reading is not CONTENT:  # it was too long to the last byte
            return
        self._reading = ANSWER
        if content.use is Use.HAND_ON:
            self.output.wake()
        elif content.use is Use.GATHER and self._flush is None:
            self.resume_reading()
            exchange.body.rewind()
            self._run(exchange)

    def _end_content(self, error: ProtocolError) -> None:
        """No more content comes, or none that could be used."""
        if self.exchange is None:  # its answer has been sent
            self._linger()
            return
        request = f"{self.exchange.method} {self.exchange.target}".encode("ascii")
        if self._task is None:
            self._refuse(error, request)
        else:
            self._complain(error, request)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Tell a handler that no more of its content comes; its answer is the last."""
        cast(Content, self._content).failure = error
        cast(HTTP1Exchange, self.exchange).keep_alive = False
        self._reading = ANSWER
        self.output.wake()

    def _end_input(self) -> None:
        """The client has shut its side."""
        if self._reading is CONTENT:
            self._end_content(ProtocolError(400, "The content ended early."))
        elif self._reading is HEAD:
            if self._is_idle():
                self.close()
            else:
                self._refuse(ProtocolError(400, "The head ended early."), bytes(self._buffer))
        elif self.exchange is not None and self.exchange.phase is FINISHED:
            self.let_go_if_answered()
        elif self.exchange is not None and self.exchange.may_be_cancelled:
            self.close()  # to shut one side looks like going away; this route has said which it is

    # -- answering

    def _run(self, exchange: HTTP1Exchange, at_once: bool = False) -> None:
        """Have the application answer, `at_once` where nothing else that was read waits for its turn."""
        state = self.state
        self._since = state.now
        # Not in the context of whoever let the bytes come, as asyncio's resume_reading() has it: that is the
        # request before, whose variables are its own.
        context = state.context.copy()
        # PERF: what loop.create_task makes, without its detour; with a name none has to be made up.
        answer, name = self._answer(exchange), "weebill-request"
        if _begins_at_once:
            task = _Task(answer, loop=state.loop, name=name, context=context, eager_start=at_once)
        else:
            task = _Task(answer, loop=state.loop, name=name, context=context)
        if self.exchange is exchange:  # and has not been answered already
            self._task = task
            if self.output.held:
                self._look_soon()

    def _look_soon(self) -> None:
        if not self.is_looking:
            self.is_looking = True
            self.state.look_soon(self)

    def look_at_request(self) -> bool:
        """Look at the request at hand, if others wait for it. One that is not answered has until the next
        look: its task, which was made before this one, has run by then."""
        exchange, output = self.exchange, self.output
        if (
            exchange is not None
            and exchange.phase is not FINISHED
            and not exchange.was_seen
            and (exchange.is_awaited or output.held)
        ):
            exchange.was_seen = True
            return True
        self.is_looking = False
        self.let_go_if_answered()
        if self.exchange is exchange:
            output.flush()  # the answers before this one do not wait for it, if it takes time
        return False

    async def _answer(self, exchange: HTTP1Exchange) -> None:
        answer = self.state.answer
        try:
            await answer(exchange)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            exchange.keep_alive = False  # the loop may be about to end: begin nothing more
            self._answered(exchange)
            raise
        except GeneratorExit:  # the loop was closed under it
            raise
        except BaseException as error:
            self._note_failure(exchange, "answer", error)
        self._answered(exchange)

    def _note_failure(self, exchange: HTTP1Exchange, what: str, error: BaseException) -> None:
        """Log what the application raised, SystemExit too: no request ends the server, only Ctrl+C does."""
        if isinstance(error, KeyboardInterrupt):
            # By way of the loop, for uvloop does not hand on what is raised while bytes come.
            self.state.loop.call_soon(_raise, error)
            return
        method, target = exchange.method, exchange.target
        logger.error("the application failed to %s %s %r", what, method, target, exc_info=error)

    def let_go_if_answered(self) -> None:
        """Go on to the next request, although the application still works for the one that it has answered.
        Not while the client does not take its answers: that is what they wait for."""
        exchange, task = self.exchange, self._task
        if exchange is None or task is None or exchange.phase is not FINISHED:
            return
        if self.output.paused:
            self.output.flush()  # the next answer, for which this one was held, does not come now
            return
        self.state.leave_behind(task)
        self._answered(exchange)

    def _answered(self, exchange: HTTP1Exchange) -> None:
        """The application has done with a request: go on to the next, or end."""
        if self.exchange is not exchange:  # it was let go before
            return
        if self.output.waiters:
            self.output.wake()
        if exchange.content is None:  # PERF: _forget_request(), without a call
            self.exchange = self._task = None
        else:
            self._forget_request()
        reading = self._reading
        is_over = reading is LINGERING  # the client has gone, or was cut off
        is_finished = exchange.phase is FINISHED
        if not is_over and not is_finished:
            self._unanswered(exchange)
        if self.state.access_log is not None and exchange.status:
            exchange.log(self.state.access_log, self.state.clock())
        if is_over or not is_finished:
            return
        if not exchange.keep_alive:
            self._linger()
        elif reading is not CONTENT:
            self._await_head()
        elif self._eof:
            self._linger()
        else:
            self.resume_reading()

    def _forget_request(self) -> None:
        exchange, self.exchange, self._task = self.exchange, None, None
        if exchange is not None and exchange.content is not None:
            exchange.content.drop()
            if self._straight is not None:
                self._straight.forget()
            if exchange.body is not NO_BODY and self._flush is None:
                exchange.body.close()

    def _unanswered(self, exchange: HTTP1Exchange) -> None:
        if exchange.phase is NOTHING:
            error = exchange.refusal
            if not isinstance(error, HandlerTimeout):
                error = HTTPException(500, "The application gave no answer.")
            exchange.status = error.status_code
            self._say(error, exchange.method == "HEAD")
            self._linger()
        else:
            exchange.abort()

    def _await_head(self) -> None:
        self._reading = HEAD
        self._content = None
        self._since = self.state.now
        if self._paused_reading:
            self.resume_reading()
        if self._buffer:
            held, self._buffer = bytes(self._buffer), b""
            self._consume(held)
        if self.output.held and self._task is None:
            self.output.flush()
        if self._eof:
            self._end_input()
        elif self.state.is_stopping:
            self.shut_down()

    def is_last(self, exchange: HTTP1Exchange) -> bool:
        """Whether the answer that now begins is the last: the server stops, the client has sent its last
        request, or so much content is to come that nobody wants to read it."""
        if self.state.is_stopping or (self._eof and not self._buffer):
            return True
        if self._reading is not CONTENT:
            return False
        return exchange.expects_continue or not cast(Content, self._content).rest_is_small

    def _refuse(self, error: ProtocolError, data: bytes) -> None:
        """Answer a fault of the peer in the server's own words, and close."""
        self._complain(error, data)
        if self.exchange is not None:
            is_head = self.exchange.method == "HEAD"
        else:
            is_head = data.removeprefix(b"\r\n").startswith(b"HEAD ")
        self._forget_request()
        self._say(error, is_head)
        self._linger()
        if isinstance(error, RequestTimeout):  # who was too slow is not waited for much longer
            self._lingers_until = self._since + LINGER

    def _say(self, error: HTTPException | ProtocolError, is_head: bool) -> None:
        self.output.send(minimal(error.status_code, error.detail, self.state.date, is_head))

    # -- ending

    def _end_reading(self) -> None:
        super()._end_reading()
        self._reading = LINGERING
        self._buffer = b""

    def cut(self) -> None:
        """End now, whatever is in flight."""
        self._cancel()
        self._drop()

    def shut_down(self) -> None:
        """The server stops: an idle connection ends, any other with the answer in flight."""
        if self._is_idle():
            self._linger()
        elif self._reading is LINGERING:
            self._end_soon()
        elif self._reading is CONTENT and self.exchange is None:  # it has its answer
            self._linger()

    # -- deadlines

    def tick(self, now: float) -> None:
        """Enforce the deadlines; called once in a sweep. Times are those of the sweeps, so a limit counts
        from the sweep after it began: never early, and late by no more than one sweep."""
        settings = self.state.settings
        if self.output.look(now) >= settings.write_timeout + SWEPT:
            self._give_up(f"it read nothing for {settings.write_timeout:g}s")
            return
        elapsed = now - self._since - SWEPT
        if self._reading is HEAD:
            if not self._buffer or self._is_idle():  # PERF: the first says it of most without a call
                if elapsed >= (settings.idle_timeout if self._is_used else settings.header_timeout):
                    self._linger()
            elif elapsed >= settings.header_timeout:
                error = RequestTimeout(f"No complete head in {settings.header_timeout:g} seconds.")
                self._refuse(error, bytes(self._buffer))
        elif self._reading is not LINGERING:
            if self._reading is CONTENT:
                self._check_pace(now)
            self._check_answer(now, elapsed)
        elif self._has_lingered(now):
            self.transport.abort()

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
        if exchange.phase is NOTHING:
            if limit and elapsed >= limit and not isinstance(exchange.refusal, HandlerTimeout):
                logger.warning("%s %r had no answer within %gs", exchange.method, exchange.target, limit)
                exchange.refusal = HandlerTimeout(limit)
                self._cancel()
            elif self._eof and min(elapsed, self.output.silence(now)) >= settings.write_timeout:
                self._probe(exchange)
        elif exchange.phase is FINISHED:
            self.let_go_if_answered()
        elif self._may_have_gone() and self.output.silence(now) >= settings.write_timeout + SWEPT:
            self._give_up(f"nothing was sent for {settings.write_timeout:g}s, and it may have gone")

    def _probe(self, exchange: HTTP1Exchange) -> None:
        """Find out whether a client that has shut its side still listens: if not, a reset comes back. What
        can be said before an answer is an interim one, and a client of 1.1 passes over it (RFC 9110 section
        15.2)."""
        if exchange.http_version != "1.0":
            self.output.send(CONTINUE)

    def _may_have_gone(self) -> bool:
        """Whether only writing would tell: the client has shut its side, or is not read from."""
        return self._reading is ANSWER and (self._eof or self._paused_reading)
