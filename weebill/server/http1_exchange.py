"""HTTP1Exchange: one request on an HTTP/1 connection, and the answer to it.

The answer is a small state of its own:

    NOTHING ── start() ──> STARTED ── write()* finish() ──> FINISHED
        └────────────────── respond() ────────────────────────^

How it is framed is decided once, where it begins (RFC 9112 section 6).
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Protocol, cast

from ..errors import ClientDisconnected, ResponseError
from ..exchange import FILE_PIECE, Exchange, Intake, ReadableFile
from ..headers import Fields
from ..settings import Settings
from .content import Content, Use
from .head import Head
from .log import AccessLog
from .output import Output
from .send_file import can_send_file, send_file
from .state import State
from .wire import (
    CONTINUE,
    LAST_CHUNK,
    ResponseHead,
    chunk,
    content_length,
    has_no_content,
    interim_head,
    length_to_announce,
    response_head,
)

__all__ = ["FINISHED", "NOTHING", "STARTED", "Channel", "HTTP1Exchange", "Phase"]


LARGE = 65536  # bytes; longer content is not copied behind its head (PERF: a fifth of 1 MiB's time)
AT_ONCE = 65536  # bytes of one stream; then others have a turn, however fast its client is


class Phase(Enum):
    """How far an answer has got."""

    NOTHING = 1
    STARTED = 2
    FINISHED = 3


NOTHING, STARTED, FINISHED = Phase  # PERF: before 3.12 `Phase.NOTHING` is a call


_begin_exchange = Exchange.__init__  # PERF: super() makes an object only to call this


class Channel(Protocol):
    """What an exchange asks of its connection."""

    output: Output
    state: State
    scheme: str
    client: tuple[str, int] | None
    server: tuple[str, int] | None
    is_looking: bool  # in the next turn of the loop: it lets go of what is answered by then

    def is_last(self, exchange: HTTP1Exchange) -> bool:
        """Whether the answer that begins now ends the connection."""

    def resume_reading(self) -> None:
        """Take more from the client, if it was to wait."""

    def close(self) -> None:
        """Close when what was written has been sent."""

    def let_go_if_answered(self) -> None:
        """Go on, although the application still works for what it has answered."""


class HTTP1Exchange(Exchange):
    """One request and its answer."""

    intake: Intake
    began: float  # by the state's clock, where the access log asks for it

    __slots__ = (
        "_bare",
        "_channel",
        "_chunked",
        "_left",
        "_output",
        "_yielded",
        "began",
        "content",
        "expects_continue",
        "intake",
        "is_awaited",
        "keep_alive",
        "phase",
        "sent",
        "status",
        "was_seen",
    )

    def __init__(self, channel: Channel, head: Head) -> None:
        _begin_exchange(
            self,
            head.method,
            head.target,
            head.fields.copy(),
            head.http_version,
            channel.scheme,
            channel.client,
            channel.server,
            channel.state.stopping,
            head.parts,
        )
        self._channel = channel
        self._output = channel.output
        self.keep_alive = head.keep_alive
        self.expects_continue = False  # the client waits for 100 before it sends the content
        self.is_awaited = False  # another request waits for the end of this one
        self.was_seen = False  # by its connection, in an earlier turn of the loop
        self.content: Content | None = None  # None if there is none
        self.phase = NOTHING
        self.status = 0
        self.sent = 0  # bytes of content

    @property
    def settings(self) -> Settings:
        return self._channel.state.settings

    @property
    def started(self) -> bool:
        return self.phase is not NOTHING

    @property
    def may_be_cancelled(self) -> bool:
        """Whether the handler ends with its client. What it does behind its answer is let be."""
        return self.intake.cancel_on_disconnect and self.phase is not FINISHED

    async def read(self) -> bytes:
        content = self.content
        if not self.intake.stream or content is None:
            return await self.body.next_piece()
        while True:
            if piece := content.get():
                self._channel.resume_reading()
                return piece
            if content.failure is not None:
                raise content.failure
            if content.complete:
                return b""
            if self._output.lost or content.use is Use.DROP:  # the rest is not going to be read
                raise ClientDisconnected
            if self.expects_continue:
                self._ask_for_content(content)
            await self._output.wait()

    def _ask_for_content(self, content: Content) -> None:
        self.expects_continue = False
        content.restart_pace(self._channel.state.now)
        if not self.started:  # behind a final answer it would be the beginning of another
            self._output.send(CONTINUE)

    async def disconnected(self) -> None:
        while self.phase is not FINISHED and not self._output.lost:
            await self._output.wait()

    async def inform(self, status: int, fields: Fields) -> None:
        head = interim_head(status, fields)
        if self.phase is not NOTHING:
            raise ResponseError("an interim answer behind the beginning of the final one")
        if self._output.is_gone():
            raise ClientDisconnected
        if self.http_version != "1.0":
            self._output.send(head)

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        head = response_head(status, fields)
        if head.has_content and head.length is None and self.method != "HEAD":
            framing = content_length(len(content))
        else:
            length = length_to_announce(self.method, status, head, len(content))
            framing = b"" if length is None else content_length(length)
            if has_no_content(self.method, status):
                content = b""
        output = self._output
        if len(content) > LARGE:
            output.send_long(self._begin(status, head, framing), content)
        else:
            data = self._begin(status, head, framing, content)
            if self.is_awaited or output.held:  # in one write with the answer to the next, which is at hand
                output.hold(data, until_flushed=True)
                if not (self.is_awaited and self.keep_alive) or output.paused:
                    output.flush()
            else:
                output.written += len(data)  # PERF: send(), without a call
                output.transport.write(data)
        self.sent = len(content)
        self.phase = FINISHED
        if (self.is_awaited and not self._channel.is_looking) or not self.keep_alive:
            self._let_go_soon()
        if output.waiters:
            output.wake()
        if output.paused:
            await output.drain()

    async def start(self, status: int, fields: Fields) -> None:
        head = response_head(status, fields)
        self._bare = has_no_content(self.method, status)
        self._chunked = False
        self._yielded = self._output.written
        self._left = length_to_announce(self.method, status, head, None)
        if self._left is not None:
            framing = content_length(self._left)
        elif status in (204, 304):
            framing = b""
        elif self.http_version == "1.0":  # the end of the connection is the end of the content
            self.keep_alive = False
            framing = b""
        else:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        self._output.hold(self._begin(status, head, framing))
        self.phase = STARTED

    def _begin(self, status: int, head: ResponseHead, framing: bytes, content: bytes = b"") -> bytes:
        """The bytes that the answer begins with: its head, and the content if that is given. Raises
        ResponseError if it has begun, ClientDisconnected if nobody would get it."""
        if self.phase is not NOTHING:
            raise ResponseError("the answer has begun already")
        if self._output.transport.is_closing():  # so it is when output.lost is set, and before
            raise ClientDisconnected
        channel = self._channel
        if self.keep_alive and (head.close or channel.is_last(self)):
            self.keep_alive = False
        if not self.keep_alive or head.upgrade or self.http_version == "1.0":
            framing += self._connection_field(head)
        self.status = status
        date = b"" if head.has_date else channel.state.date
        return b"".join((head.block, framing, date, b"\r\n", content))

    def _connection_field(self, head: ResponseHead) -> bytes:
        """What is not the rule is said (RFC 9110 section 7.6.1 and 7.8, RFC 9112 section 9.3)."""
        if not self.keep_alive:
            return b"connection: close, upgrade\r\n" if head.upgrade else b"connection: close\r\n"
        return b"connection: upgrade\r\n" if head.upgrade else b"connection: keep-alive\r\n"

    async def write(self, piece: bytes) -> None:
        output = self._output
        if self.phase is not STARTED:
            raise ResponseError("content before the answer's start, or after its end")
        if output.is_gone():
            raise ClientDisconnected
        if self._bare or not piece:
            return
        if self._left is not None:
            if len(piece) > self._left:
                raise ResponseError(f"{len(piece) - self._left} bytes more than Content-Length announced")
            self._left -= len(piece)
        self.sent += len(piece)
        output.hold(chunk(piece) if self._chunked else piece)
        if output.paused:
            await output.drain()
        elif output.written - self._yielded > AT_ONCE:
            self._yielded = output.written
            await asyncio.sleep(0)

    async def send_file(self, file: ReadableFile, offset: int, count: int) -> None:
        output = self._output
        output.flush()
        if self._is_for_kernel(count):
            await asyncio.sleep(0)  # uvloop writes at the end of a turn: the head is not to be overtaken
        if self._is_for_kernel(count) and can_send_file(output.transport):
            before = output.written
            try:
                await send_file(output, file, offset, count)
            finally:
                sent = output.written - before
                self._left = cast(int, self._left) - sent
                self.sent += sent
                self._yielded = output.written
            offset, count = offset + sent, count - sent
        await super().send_file(file, offset, count)

    def _is_for_kernel(self, count: int) -> bool:
        """Whether so many bytes of a file belong here as they are, and are worth a detour."""
        if count <= FILE_PIECE or self.phase is not STARTED or self._bare or self._output.is_gone():
            return False
        return self._left is not None and count <= self._left

    async def finish(self) -> None:
        output = self._output
        if self.phase is not STARTED:
            raise ResponseError("the end of an answer that has not begun, or has ended")
        if output.is_gone():
            raise ClientDisconnected
        if not self._bare:
            if self._left:
                raise ResponseError(f"{self._left} bytes fewer than Content-Length announced")
            if self._chunked:
                output.hold(LAST_CHUNK)
        output.flush()
        self.phase = FINISHED
        if self.is_awaited or not self.keep_alive:
            self._let_go_soon()
        if output.waiters:
            output.wake()

    def _let_go_soon(self) -> None:
        """The client waits for its next answer, or for the end of the connection: neither is to be late if
        the application works on behind this answer."""
        self._channel.state.loop.call_soon(self._channel.let_go_if_answered)

    def abort(self) -> None:
        if self.phase is not STARTED:  # nothing is half said
            return
        self.keep_alive = False
        self._output.flush()
        if self._chunked or self._left is not None:
            self._channel.close()
        else:  # only a reset tells the client that the content is not complete
            self._output.reset()

    def log(self, access_log: AccessLog, now: float) -> None:
        """Write the access log's line about the answer."""
        access_log.add(
            self.client[0] if self.client else "-",
            self.method,
            self.target,
            self.http_version,
            self.status,
            self.sent,
            (now - self.began) * 1000,
        )
