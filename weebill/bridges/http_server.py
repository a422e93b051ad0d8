"""Handler classes of the standard library's `http.server` on any of our wires.

Each request makes one instance of the class in a worker thread, with a `_Connection` for its socket. What
the class reads there is the request as text, its content complete; what it writes is parsed again:

    rfile <── request line, fields, content          from the Exchange
    wfile ──> head ──> content that waits ──> respond()                 an answer within BOUND, in PATIENCE
                                          ──> start() write() finish()  a longer or slower one, as it comes
"""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

from ..chunks import ChunkedReader
from ..errors import ClientDisconnected, HTTPException, ProtocolError, ResponseError
from ..exchange import BUFFERED
from ..headers import check_field
from ..threads import run_in_thread
from .common import answered_without, content_file, fail, logger, refuse

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ..exchange import Exchange, Intake
    from ..headers import Fields

__all__ = ["HandlerClassApplication"]

BOUND = 1 << 16  # bytes of content that wait for the rest of their answer
PATIENCE = 0.1  # seconds that they wait
MAX_HEAD = 1 << 16  # bytes

# The wire frames the answer, keeps the connection and dates it.
OF_THE_WIRE = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"date"))

access_logger = logging.getLogger("weebill.access")

_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ ([1-5][0-9][0-9])(?: .*)?")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class HandlerClassApplication:
    """The subclass of `BaseHTTPRequestHandler` `handler_class`, or a functools.partial of one.

    HEAD runs `do_GET` without its content where `do_GET` is overridden and `do_HEAD` is not, so that it
    never reaches the files of a base class. Field values with CR or LF are refused.
    """

    def __init__(self, handler_class: Callable[..., BaseHTTPRequestHandler]) -> None:
        self.handler_class = _prepared(handler_class)
        self._servers: dict[tuple[str, int], SimpleNamespace] = {}

    async def __startup__(self) -> None:
        """Nothing: a handler class lives for one request."""

    async def __shutdown__(self) -> None:
        """Nothing."""

    def __intake__(self, exchange: Exchange) -> Intake:
        return BUFFERED

    async def __exchange__(self, exchange: Exchange) -> None:
        if await answered_without(exchange):
            return
        connection = _Connection(exchange)
        client = exchange.client or ("", 0)
        server = self._server(exchange.server or ("localhost", 80))
        try:
            await self._handle(connection, client, server)
            await connection.finish()
        except HTTPException as refusal:  # QueueFull
            await refuse(exchange, refusal)
        except ClientDisconnected:
            pass
        except (Exception, SystemExit) as error:  # no request ends the server
            if connection.gone:  # the handler's own end after wfile told it
                logger.info("The handler ended with %r after its client had gone", error)
            else:
                await fail(exchange, f"{_class_of(self.handler_class).__qualname__} failed", error)

    async def _handle(self, connection: _Connection, client: tuple[str, int], server: object) -> None:
        handling = run_in_thread(self.handler_class, connection, client, server)
        try:
            await asyncio.wait([handling], timeout=PATIENCE)
            if not handling.done():
                await connection.become_eager()
            await handling
        finally:
            handling.cancel()

    def _server(self, address: tuple[str, int]) -> SimpleNamespace:
        """What handlers see as `self.server`; one for each address, for they may keep things on it."""
        if address not in self._servers:
            self._servers[address] = SimpleNamespace(
                server_address=address, server_name=address[0], server_port=address[1]
            )
        return self._servers[address]


# -- the class


def _prepared(handler_class: Callable[..., BaseHTTPRequestHandler]) -> Callable[..., BaseHTTPRequestHandler]:
    """A subclass with our checks in front."""
    if isinstance(handler_class, functools.partial):
        prepared = _prepared(handler_class.func)
        return functools.partial(prepared, *handler_class.args, **handler_class.keywords)
    assert isinstance(handler_class, type)
    assert issubclass(handler_class, BaseHTTPRequestHandler)
    own: dict[str, Any] = {
        name: getattr(handler_class, name) for name in ("__module__", "__qualname__", "__doc__")
    }
    if _get_stands_for_head(handler_class):
        own["do_HEAD"] = lambda handler: handler.do_GET()
    if handler_class.log_message is BaseHTTPRequestHandler.log_message:
        own["log_message"] = _log_message
    prepared = type(handler_class.__name__, (_Checked, handler_class), own)
    assert issubclass(prepared, BaseHTTPRequestHandler)
    return prepared


def _class_of(handler_class: Callable[..., BaseHTTPRequestHandler]) -> type[BaseHTTPRequestHandler]:
    if isinstance(handler_class, functools.partial):
        return _class_of(handler_class.func)
    assert isinstance(handler_class, type)
    return handler_class


def _get_stands_for_head(handler_class: type) -> bool:
    for cls in handler_class.__mro__:
        if "do_GET" in vars(cls):
            return "do_HEAD" not in vars(cls)
        if "do_HEAD" in vars(cls):
            return False
    return False


def _log_message(handler: BaseHTTPRequestHandler, format: str, *args: Any) -> None:  # noqa: A002
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", format % args)
    access_logger.info("%s %s", handler.address_string(), text)


class _Checked(BaseHTTPRequestHandler):
    """Goes before the handler class: one request each, and no head that says more than it seems to."""

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.close_connection = True  # what the handler left unread is no second request

    def send_response_only(self, code: int, message: str | None = None) -> None:
        super().send_response_only(code)  # the phrase is the wire's, and `message` could hold CR and LF

    def send_header(self, keyword: str, value: str) -> None:
        check_field(keyword.encode("latin-1"), str(value).encode("latin-1"))
        super().send_header(keyword, value)


# -- its connection


class _Connection:
    """What a handler takes for its socket: the request to read, the answer to write.

    The handler's thread writes; `become_eager` and `finish` run on the loop.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.gone = False
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._head = bytearray()
        self._status = 0  # 0 until the head is complete
        self._fields: Fields = []
        self._chunks: ChunkedReader | None = None  # where the handler frames its answer by hand
        self._waiting: list[bytes] = []
        self._size = 0  # bytes in _waiting
        self._eager = False  # whether what is written goes out at once
        self._lock = threading.Lock()  # over the three above
        self._in_order = asyncio.Lock()

    # -- as a socket

    def makefile(self, mode: str, buffering: int = -1) -> BinaryIO:
        """The request to read, or a buffered way to `sendall`."""
        if "r" in mode:
            return content_file(self._exchange.body, _request_head(self._exchange))
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        return io.BufferedWriter(_Writer(self), size)

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: the server has its own deadlines."""

    def setsockopt(self, *args: Any) -> None:
        """Nothing: the socket is the server's."""

    def sendall(self, data: ReadableBuffer) -> None:
        """Take what the handler writes. Raises BrokenPipeError when the client has gone."""
        piece = bytes(data)
        if not self._status:
            piece = self._take_head(piece)
        if self._chunks is not None:
            piece = self._without_framing(self._chunks, piece)
        if not piece:
            return
        with self._lock:
            self._waiting.append(piece)
            self._size += len(piece)
            if not self._eager and self._size <= BOUND:
                return
            pieces = self._take_waiting()
        try:
            asyncio.run_coroutine_threadsafe(self._send(pieces), self._loop).result()
        except ClientDisconnected:
            self.gone = True
            raise BrokenPipeError("the client has gone") from None

    def _take_head(self, piece: bytes) -> bytes:
        """Add `piece` to the head; the content behind it, once the head is complete."""
        self._head += piece
        while found := _END_OF_HEAD.search(self._head):
            head, self._head = bytes(self._head[: found.start()]), self._head[found.end() :]
            self._status, self._fields, is_chunked = _parse_head(head)
            if self._status >= 200:
                self._chunks = ChunkedReader() if is_chunked else None
                return bytes(self._head)
            self._status = 0  # an interim answer; those are the wire's to give
        if len(self._head) > MAX_HEAD:
            raise ResponseError(f"the head of the answer is longer than {MAX_HEAD} bytes")
        return b""

    def _without_framing(self, chunks: ChunkedReader, piece: bytes) -> bytes:
        """The content in chunks that the handler has made, for the wire makes its own."""
        try:
            content, rest = chunks.feed(piece)
        except ProtocolError as error:
            raise ResponseError(f"the handler wrote Transfer-Encoding, but: {error.detail}") from None
        if rest:
            raise ResponseError("the handler wrote on behind its last chunk")
        return content

    def _take_waiting(self) -> bytes:
        pieces, self._waiting, self._size = self._waiting, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- on the loop

    async def become_eager(self) -> None:
        """Send what waits, and from now on all that is written, as it is written."""
        with self._lock:
            self._eager = True
            piece = self._take_waiting()
        if piece:
            try:
                await self._send(piece)
            except ClientDisconnected:
                self.gone = True  # the handler hears of it when it writes next

    async def _send(self, piece: bytes) -> None:
        async with self._in_order:
            if not self._exchange.started:
                await self._exchange.start(self._status, self._fields)
            await self._exchange.write(piece)

    async def finish(self) -> None:
        """The handler has returned: send the rest. Raises ResponseError if it wrote no whole head."""
        exchange = self._exchange
        if not self._status:
            what = "only a part of the head" if self._head else "no answer"
            raise ResponseError(f"the handler wrote {what}")
        if self._chunks is not None and not self._chunks.complete and exchange.method != "HEAD":
            raise ResponseError("the handler wrote no last chunk")
        content = self._take_waiting()
        if exchange.started:
            if content:
                await exchange.write(content)
            await exchange.finish()
        elif not content and exchange.method == "HEAD":  # no content says nothing of its length
            await exchange.start(self._status, self._fields)
            await exchange.finish()
        else:
            await exchange.respond(self._status, self._fields, content)


class _Writer(io.RawIOBase):
    """`sendall` as a raw stream, for handlers with a `wbufsize`."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._connection.sendall(data)
        return memoryview(data).nbytes


def _request_head(exchange: Exchange) -> bytes:
    """The head as it might have been sent with the content that we have: whole, and asked for."""
    version = "1.0" if exchange.http_version == "1.0" else "1.1"  # the standard library knows no other
    lines = [f"{exchange.method} {exchange.target} HTTP/{version}".encode("latin-1")]
    sized = False
    for name, value in exchange.fields:
        key = name.lower()
        sized = sized or key == b"content-length"
        if key not in (b"transfer-encoding", b"expect"):
            lines.append(name + b": " + value)
    if exchange.body.size and not sized:
        lines.append(b"Content-Length: %d" % exchange.body.size)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _parse_head(head: bytes) -> tuple[int, Fields, bool]:
    """Status and fields of what a handler wrote, and whether its content is in chunks. Raises ResponseError
    for what is no head of an answer."""
    first, *lines = [line.rstrip(b"\r") for line in head.split(b"\n")]
    if not (found := _STATUS_LINE.fullmatch(first)):
        raise ResponseError(f"the handler wrote {first[:80]!r} where the status line belongs")
    if int(found[1]) == 101:
        raise ResponseError("a handler class cannot switch to another protocol here")
    fields: Fields = []
    is_chunked = False
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise ResponseError(f"the handler wrote {line[:80]!r} among the fields")
        key = name.lower()
        is_chunked = is_chunked or (key == b"transfer-encoding" and value.strip().lower() == b"chunked")
        # The standard library's default names the version of Python, which is nobody's business.
        if key not in OF_THE_WIRE and not (key == b"server" and b"Python/" in value):
            fields.append((name, value.strip(b" \t")))
    return int(found[1]), fields, is_chunked
