"""ASGIExchange: one "http" scope of an ASGI server as an Exchange, so that our applications run there.

Of `receive` only one call may wait at a time, and it tells of the client's going only behind the content.
So `_receive_one` alone calls it, under a lock, for the reader of the content as for the listener that waits
for the client to go:

    server -> _receive_one() -> _ahead -> read()           one piece at most while only the listener asks
                             -> gone, _over -> disconnected(), write()
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from ..errors import BodyTooLarge, ClientDisconnected, ResponseError
from ..exchange import Exchange
from ..headers import check_field

if TYPE_CHECKING:
    from ..body import Body
    from ..exchange import Intake
    from ..headers import Fields

__all__ = ["ASGIExchange", "Message", "Receive", "Scope", "Send"]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# Of one connection, which is the server's; HTTP/2 forbids them.
OF_THE_CONNECTION = frozenset((b"connection", b"keep-alive", b"upgrade"))

PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


class ASGIExchange(Exchange):
    """One request of an ASGI server. `max_body` is its limit on content where the intake names none."""

    __slots__ = (
        "_ahead",
        "_bare",
        "_content_ended",
        "_hints",
        "_left",
        "_limit",
        "_listener",
        "_lock",
        "_over",
        "_receive",
        "_received",
        "_room",
        "_send",
        "_send_tells",
        "_started",
        "_streams",
        "aborted",
        "complete",
        "gone",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body: int) -> None:
        root_path = scope.get("root_path", "").rstrip("/")
        super().__init__(
            scope["method"],
            _target(scope, root_path),
            [(bytes(name), bytes(value)) for name, value in scope["headers"]],
            scope["http_version"],
            scope.get("scheme", "http"),
            _address(scope.get("client")),
            _address(scope.get("server")),
            asyncio.Event(),  # these servers do not tell
        )
        self.root_path = root_path
        self._receive = receive
        self._send = send
        # From 2.4 on `send` raises OSError when the client has gone; before, only `receive` tells.
        spec_version = scope.get("asgi", {}).get("spec_version", "2.0")
        self._send_tells = tuple(map(int, spec_version.split("."))) >= (2, 4)
        self._hints = "http.response.early_hint" in (scope.get("extensions") or ())
        self._streams = False  # whether read() asks the server or the body
        self._limit = max_body
        self._received = 0  # bytes of content
        self._ahead: list[bytes] = []  # received and not yet read
        self._content_ended = False
        self._lock = asyncio.Lock()
        self._room = asyncio.Event()  # set while _ahead is empty
        self._room.set()
        self._listener: asyncio.Task[None] | None = None
        self._over = asyncio.Event()  # the client has gone, or the answer is complete
        self._started = False
        self._bare = False  # an answer without content (RFC 9110 section 6.4.1)
        self._left: int | None = None  # bytes that Content-Length still promises
        self.gone = False
        self.complete = False
        self.aborted = False

    # -- the content

    def prepare(self, intake: Intake) -> None:
        """Take note of what the application wants, and refuse content that announces itself as too long."""
        self._streams = intake.stream or not intake.wanted
        if intake.max_body is not None:
            self._limit = intake.max_body
        if intake.wanted and self.refusal is None:
            announced = next(
                (value for name, value in self.fields if name.lower() == b"content-length"), b"0"
            )
            if announced.isdigit() and int(announced) > self._limit:
                self.refusal = BodyTooLarge(self._limit)

    async def gather(self, body: Body) -> None:
        """Take in the whole content, or set `refusal`. Raises ClientDisconnected if it breaks off."""
        while not self._content_ended:
            await self._receive_one()
            if self.gone:
                raise ClientDisconnected
            while self._ahead:
                body.add(self._ahead.pop())
            if body.needs_flush:
                await body.flush()
        if self._received > self._limit:
            self.refusal = BodyTooLarge(self._limit)
        else:
            body.rewind()
            self.body = body

    async def read(self) -> bytes:
        if not self._streams:
            return await self.body.next_piece()
        while not (self._ahead or self._content_ended or self.gone):
            async with self._lock:
                if not (self._ahead or self._content_ended or self.gone):
                    await self._receive_one()
        if self._ahead:
            self._room.set()
            return self._ahead.pop()
        if self._received > self._limit:
            raise BodyTooLarge(self._limit)
        if not self._content_ended:
            raise ClientDisconnected
        return b""

    async def _receive_one(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone()
        elif not self._content_ended:
            piece = message.get("body", b"")
            self._received += len(piece)
            self._content_ended = not message.get("more_body", False) or self._received > self._limit
            if piece and self._received <= self._limit:
                self._ahead.append(piece)
                self._room.clear()

    async def _listen(self) -> None:
        """Wait for the client to go, without running ahead of who reads the content."""
        while not self.gone:
            if not self._content_ended:
                await self._room.wait()
            async with self._lock:
                if self._content_ended or not self._ahead:
                    await self._receive_one()

    def _begin_to_listen(self) -> None:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="asgi disconnect")

    async def disconnected(self) -> None:
        if not self._over.is_set():
            self._begin_to_listen()
            await self._over.wait()

    def _gone(self) -> None:
        self.gone = True
        self._over.set()

    # -- the answer

    @property
    def started(self) -> bool:
        return self._started

    async def inform(self, status: int, fields: Fields) -> None:
        headers, _ = _checked(fields)
        if not 102 <= status <= 199:
            raise ResponseError(f"{status!r} is no status of an interim answer")
        if self._started:
            raise ResponseError("an interim answer behind the beginning of the final one")
        links = [value for name, value in headers if name == b"link"]
        if self._hints and status == 103 and links:  # ASGI knows no other, and no other field
            await self._tell({"type": "http.response.early_hint", "links": links})

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        headers = self._begin(status, fields)
        if self._left is None:
            if status not in (204, 304):
                headers.append((b"content-length", b"%d" % len(content)))
        elif self._left != len(content) and not self._bare:
            raise ResponseError(f"the content has {len(content)} bytes, but Content-Length says {self._left}")
        await self._emit({"type": "http.response.start", "status": status, "headers": headers})
        await self._emit({"type": "http.response.body", "body": b"" if self._bare else content})
        self._complete()

    async def start(self, status: int, fields: Fields) -> None:
        headers = self._begin(status, fields)
        if not self._send_tells:
            self._begin_to_listen()
        await self._emit({"type": "http.response.start", "status": status, "headers": headers})

    def _begin(self, status: int, fields: Fields) -> list[tuple[bytes, bytes]]:
        if self._started:
            raise ResponseError("the answer has begun already")
        headers, self._left = _checked(fields)
        self._bare = self.method == "HEAD" or status in (204, 304)
        if status in (204, 304):  # 304 may name the length it would have had, but servers hold us to it
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        return headers

    async def write(self, piece: bytes) -> None:
        if not self._started or self.complete or self.aborted:
            raise ResponseError("a piece of an answer that has not begun, or has ended")
        if self._bare or not piece:
            return
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise ResponseError("the content is longer than its Content-Length")
        await self._emit({"type": "http.response.body", "body": piece, "more_body": True})
        if self._listener is not None:
            await asyncio.sleep(0)  # where `send` never waits, the listener would never have its turn

    async def finish(self) -> None:
        if not self._started or self.complete or self.aborted:
            raise ResponseError("the end of an answer that has not begun, or has ended")
        if self._left and not self._bare:
            raise ResponseError(f"the content is {self._left} bytes shorter than its Content-Length")
        await self._emit({"type": "http.response.body", "body": b""})
        self._complete()

    async def _emit(self, message: Message) -> None:
        if not self.gone:
            self._started = True
        await self._tell(message)

    async def _tell(self, message: Message) -> None:
        if self.gone:
            raise ClientDisconnected
        try:
            await self._send(message)
        except OSError:
            self._gone()
            raise ClientDisconnected from None

    def _complete(self) -> None:
        self.complete = True
        self._over.set()

    def abort(self) -> None:
        self.aborted = True
        self._over.set()

    async def close(self) -> None:
        """The application has returned: stop listening and free the content."""
        self._over.set()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
        self.body.close()


def _address(value: Any) -> tuple[str, int] | None:
    if not value or value[1] is None:  # a unix socket has no port
        return None
    return value[0], int(value[1])  # some servers give the port as text


def _target(scope: Scope, root_path: str) -> str:
    """The request target as it was sent, as far as the server lets us know, without the root path.

    By the specification the path includes the root path; some servers leave it away.
    """
    raw_path = scope.get("raw_path") or quote(scope["path"], safe=PRINTABLE.replace("%", "").replace("?", ""))
    path = raw_path.decode("latin-1") if isinstance(raw_path, bytes) else raw_path
    path = path.partition("?")[0]  # some servers hand over the query with it
    prefix = root_path if path.startswith(root_path + "/") else quote(root_path)
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :] or "/"
    query: bytes = scope.get("query_string", b"")
    target = f"{path}?{query.decode('latin-1')}" if query else path
    return target if target.isascii() else quote(target, safe=PRINTABLE, encoding="latin-1")


def _checked(fields: Fields) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The fields in the spelling of ASGI, and what Content-Length says. Raises ResponseError."""
    headers: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for name, value in fields:
        try:
            check_field(name, value)
        except ValueError as error:
            raise ResponseError(str(error)) from None
        name = name.lower()
        if name == b"transfer-encoding":
            raise ResponseError("Transfer-Encoding is the server's to set, not the application's")
        if name == b"content-length":
            if length is not None or not value.isdigit():
                raise ResponseError(f"Content-Length is {value!r}, or there are two of them")
            length = int(value)
        if name in OF_THE_CONNECTION and b"close" not in value.lower():
            continue
        headers.append((name, value))
    return headers, length
