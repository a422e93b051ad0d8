"""The waist: one request and the way to answer it.

Wires (HTTP/1.1, ASGI servers, the in-memory client of tests) stand below, applications (App, bridged
ASGI and WSGI programs, event listeners) above. They meet in two small contracts:

    wire                                        application
    ----                                        -----------
    the head is complete   -> __intake__(ex)    says how the content is to be taken in
    (gathers the content, unless the application streams it)
    the request is ready   -> __exchange__(ex)  reads ex, then respond(), or start() write()... finish()

An application that wants neither the content nor the request sets `exchange.refusal` in `__intake__`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from .body import NO_BODY, Body
from .errors import HTTPException
from .threads import run_file_io

if TYPE_CHECKING:
    import asyncio

    from .headers import Fields
    from .settings import Settings

__all__ = [
    "BUFFERED",
    "ENCODED_SLASH",
    "FILE_PIECE",
    "UNWANTED",
    "Application",
    "Exchange",
    "ExchangeAround",
    "Intake",
    "ReadableFile",
    "TargetParts",
    "decode_path",
    "split_target",
]

# Stands for "%2F" in a decoded path, so that an encoded slash never splits a segment. It is the
# surrogateescape of the byte 0x2F, which no decoding of UTF-8 can produce.
ENCODED_SLASH = "\udc2f"


class Intake(Struct, frozen=True):
    """What an application wants of one request's content; constant per route.

    `wanted` False: it is answered without the content. `stream` True: the handler starts at the end of
    the head and reads for itself. `max_body` in bytes, None for the server's own limit.
    `cancel_on_disconnect`: the task is cancelled when the client goes away.
    """

    wanted: bool = True
    stream: bool = False
    max_body: int | None = None
    cancel_on_disconnect: bool = False


BUFFERED = Intake()
UNWANTED = Intake(wanted=False)


@cache
def _defaults() -> Settings:
    from .settings import Settings  # a server brings its own

    return Settings()


class Application(Protocol):
    """What a wire can serve."""

    async def __startup__(self) -> None:
        """Runs once before the first request; an exception stops the start."""

    async def __shutdown__(self) -> None:
        """Runs once after the last answer."""

    def __intake__(self, exchange: Exchange) -> Intake:
        """The head of `exchange` is complete: say how to take in its content. Never raises."""

    async def __exchange__(self, exchange: Exchange) -> None:
        """Answer. Raises nothing but CancelledError; an answer left unfinished ends the connection."""


class ReadableFile(Protocol):
    """An open regular file that no close() takes away from a thread that is reading it."""

    def fileno(self) -> int:
        """Its descriptor."""

    def read_at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on, b"" beyond the end. Blocks."""


FILE_PIECE = 1 << 18  # bytes of a file that are read at a time


class Exchange:
    """One request and the way to answer it. A wire fills it and implements the ways to answer.

    `target` is the request target in origin form as it was sent (RFC 9112 section 3.2.1), `raw_path` and
    `query_string` its two halves, `path` the decoded path (see `decode_path`); a wire that has these already
    gives them as `parts`. `fields` are the pairs as they were sent. `client` and `server` are (host, port),
    None where the wire has no such thing.
    `refusal` is what the wire or the router holds against this request, to be raised where the
    handler would have run. `failure` is the exception of the program that made the answer an error of the
    server's. `route` and `params` are the application's own, from `__intake__` on.
    `root_path` is the prefix that mounts have taken off the path. `id` names the request in logs; it is not
    set before somebody asks `Request.id` for it.
    """

    __slots__ = (
        "body",
        "client",
        "failure",
        "fields",
        "http_version",
        "id",
        "method",
        "params",
        "path",
        "query_string",
        "raw_path",
        "refusal",
        "root_path",
        "route",
        "scheme",
        "server",
        "stopping",
        "target",
    )

    body: Body
    path: str
    refusal: HTTPException | None
    failure: Exception | None
    id: str
    params: dict[str, Any]
    route: Any

    def __init__(
        self,
        method: str,
        target: str,
        fields: Fields,
        http_version: str = "1.1",
        scheme: str = "http",
        client: tuple[str, int] | None = None,
        server: tuple[str, int] | None = None,
        stopping: asyncio.Event | None = None,
        parts: TargetParts | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.http_version = http_version
        self.scheme = scheme
        self.client = client
        self.server = server
        if stopping is None:
            import asyncio  # not with our own server

            stopping = asyncio.Event()
        self.stopping = stopping
        self.root_path = ""
        self.body = NO_BODY
        self.refusal = None
        self.failure = None
        self.route = None
        self.params = {}
        self.raw_path, self.query_string, self.path, fault = parts or split_target(target)
        if fault:
            self.refusal = HTTPException(400, fault)

    @property
    def settings(self) -> Settings:
        """Those of the server that took the request in; on servers of others the defaults."""
        return _defaults()

    @property
    def started(self) -> bool:
        """Whether a byte of the final answer has been handed to the wire."""
        raise NotImplementedError

    async def read(self) -> bytes:
        """The next piece of the request's content, b"" at its end.

        Raises ClientDisconnected if the peer goes before that, BodyTooLarge beyond the limit, ProtocolError
        if what it sends is malformed, too slow or cut short.
        """
        return await self.body.next_piece()

    async def disconnected(self) -> None:
        """Wait until the client has gone or the answer is complete."""
        raise NotImplementedError

    async def inform(self, status: int, fields: Fields) -> None:
        """Send an interim answer ahead of the final one (RFC 9110 section 15.2). Where the client or the wire
        knows of no such thing, nothing is sent. Raises ResponseError as `respond`, for a status other than
        102 to 199, and when the final answer has begun."""
        raise NotImplementedError

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        """Answer at once. The wire adds Content-Length and Date, and drops the content where RFC 9110
        forbids it (HEAD, 204, 304). Raises ResponseError for a field that would break the framing."""
        raise NotImplementedError

    async def start(self, status: int, fields: Fields) -> None:
        """Send the head of an answer whose content follows in pieces. Without a Content-Length in
        `fields` the wire frames the content itself. Raises as `respond`."""
        raise NotImplementedError

    async def write(self, piece: bytes) -> None:
        """Send one piece; returns when the peer keeps up. Raises ClientDisconnected when it has gone,
        ResponseError when more comes than Content-Length announced."""
        raise NotImplementedError

    async def send_file(self, file: ReadableFile, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset` on, as `write` would, read off the loop. Raises as it;
        OSError if the file cannot be read or has become shorter."""
        while count:
            piece = await run_file_io(file.read_at, offset, min(count, FILE_PIECE))
            if not piece:
                raise OSError(f"a file has become shorter while it was sent, by {count} bytes")
            await self.write(piece)
            offset += len(piece)
            count -= len(piece)

    async def finish(self) -> None:
        """End the answer begun with `start`. Fewer bytes than announced end the connection."""
        raise NotImplementedError

    def abort(self) -> None:
        """Give up on an answer that has begun: the peer sees that it is incomplete."""
        raise NotImplementedError


class ExchangeAround:
    """An exchange with something changed; everything else is that of `exchange`, to read and to set."""

    exchange: Exchange

    def __init__(self, exchange: Exchange) -> None:
        vars(self)["exchange"] = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exchange, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.exchange, name, value)


# Raw path, query string, decoded path, and what is wrong with the path, "" if nothing.
TargetParts: TypeAlias = tuple[str, str, str, str]


def split_target(target: str) -> TargetParts:
    """The parts of a target in origin form. A path that cannot be decoded stays as it is."""
    raw_path, _, query_string = target.partition("?")
    if "%" not in raw_path:
        return raw_path, query_string, raw_path, ""
    try:
        return raw_path, query_string, decode_path(raw_path), ""
    except ValueError as error:
        return raw_path, query_string, raw_path, str(error)


def decode_path(raw_path: str) -> str:
    """Percent-decode a path once, segment by segment (RFC 3986 section 2.1 and 3.3).

    An encoded slash becomes ENCODED_SLASH, all else is UTF-8. Raises ValueError for a bad escape, for
    bytes that are not UTF-8 and for NUL.
    """
    _, *parts = raw_path.split("%")
    for part in parts:
        if len(part) < 2 or not (part[0] in _HEX and part[1] in _HEX):
            raise ValueError(f"The path has a bad percent-escape: %{part[:2]}")
    try:
        decoded = ENCODED_SLASH.join(
            unquote_to_bytes(piece).decode() for piece in raw_path.replace("%2f", "%2F").split("%2F")
        )
    except UnicodeDecodeError:
        raise ValueError("The path is not UTF-8 once it is decoded.") from None
    if "\0" in decoded:
        raise ValueError("The path holds a NUL.")
    return decoded


_HEX = frozenset("0123456789abcdefABCDEF")
