"""The kinds of Response, and `to_response`, which makes one of any value that a handler may return."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from contextvars import copy_context
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast
from urllib.parse import quote

import msgspec

from .conditional import not_modified_fields, precondition
from .cookies import SameSite, format_cookie, must_be_secure
from .errors import ClientDisconnected, HTTPException, ReturnValueError
from .functions import describe
from .headers import Fields, MutableHeaders, parse_http_date
from .requests import current_request
from .threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from .exchange import Exchange
    from .requests import Request

__all__ = [
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
    "abort",
    "redirect",
    "to_response",
]

logger = logging.getLogger("weebill")

TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"
OCTETS = b"application/octet-stream"


class Response:
    """A whole answer: content, status, fields.

    `content` is bytes, or text to be sent as UTF-8. `headers` are added to the fields; a Content-Type among
    them, or `media_type`, replaces the kind's own. Raises ValueError for a field that HTTP does not allow
    and for a status outside 200 to 599.
    """

    content_type = b""  # of this kind; b"" has it follow from the type of the content
    encode: ClassVar[Any] = None  # a function that makes bytes of other content

    def __init__(
        self,
        content: str | bytes = b"",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        if not 200 <= status_code <= 599:
            raise ValueError(f"{status_code} is no status of an answer; they go from 200 to 599")
        content_type = self.content_type
        encode = type(self).encode
        if encode is not None:
            self.content = encode(content)
        elif isinstance(content, str):
            self.content = content.encode()
            content_type = content_type or TEXT
        else:
            self.content = content
            content_type = content_type or (OCTETS if content else b"")
        self.status_code = status_code
        self.raw_headers: Fields = [(b"content-type", content_type)] if content_type else []
        if headers is not None:
            self.headers.update(headers)
        if media_type is not None:
            self.headers["content-type"] = media_type

    @property
    def headers(self) -> MutableHeaders:
        """The fields, to read and to change."""
        headers = MutableHeaders.__new__(MutableHeaders)
        headers.raw, headers._index = self.raw_headers, None
        return headers

    def make_conditional(self, request: Request) -> Response:
        """Spare a client what it has already: the answer to a GET or HEAD, itself or a 304 without content,
        as the request's conditions say (RFC 9110 section 13). Raises HTTPException 412 for one that is false.

        An ETag that is not set yet is made of the content; a stream has none but what its author sets, and
        FileResponse does all of this by itself. Answers with another status than 200 stay as they are.

        >>> app = App(__name__)
        >>> @app.get("/birds")
        ... async def birds(request: Request) -> Response:
        ...     return JSONResponse(["weebill"]).make_conditional(request)
        >>> client = TestClient(app)
        >>> etag = client.get("/birds").headers["etag"]
        >>> client.get("/birds", headers={"if-none-match": etag}).status_code
        304
        """
        if request.method not in ("GET", "HEAD") or self.status_code != 200:
            return self
        headers = self.headers
        if "etag" not in headers:
            if type(self).send is not Response.send:
                return self
            headers["etag"] = f'"{sha256(self.content).hexdigest()[:32]}"'
        date = headers.get("last-modified")
        last_modified = None if date is None else parse_http_date(date)
        verdict = precondition(request.method, request.headers, headers["etag"], last_modified)
        if verdict == 412:
            raise HTTPException(412)
        if verdict is None:
            return self
        answer = Response(b"", 304)
        answer.raw_headers = not_modified_fields(self.raw_headers)
        return answer

    def set_cookie(
        self,
        name: str,
        value: str = "",
        max_age: float | timedelta | None = None,
        expires: datetime | float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Have the client keep a cookie (RFC 6265 section 4.1).

        `max_age` is in seconds, `expires` a datetime with a time zone or seconds since the epoch; without
        both it ends with the browser. `secure` None: Secure when the request came by https, or when the
        browser would drop the cookie otherwise. Raises ValueError for what a browser would not keep as it
        is; see `weebill.cookies.format_cookie`.

        >>> response = Response("hello")
        >>> response.set_cookie("theme", "dark", max_age=3600)
        >>> response.headers["set-cookie"]
        'theme=dark; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax'
        """
        if secure is None:
            request = current_request.get(None)
            by_https = request is not None and request.scheme == "https"
            secure = by_https or must_be_secure(name, samesite, partitioned)
        line = format_cookie(
            name, value, max_age, expires, path, domain, secure, httponly, samesite, partitioned
        )
        self.headers.add("set-cookie", line)

    def delete_cookie(
        self,
        name: str,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Have the client forget a cookie; path and domain are those that it was set with. Raises as
        `set_cookie`.

        >>> response = Response("goodbye")
        >>> response.delete_cookie("theme")
        >>> response.headers["set-cookie"].split("; ")[:2]
        ['theme=', 'Max-Age=0']
        """
        self.set_cookie(name, "", 0, 0.0, path, domain, secure, httponly, samesite, partitioned)

    def send(self, exchange: Exchange) -> Awaitable[None]:
        """Hand the answer to the wire; to be awaited."""
        # PERF: the wire's own coroutine, without another around it.
        return exchange.respond(self.status_code, self.raw_headers, self.content)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code}>"


class PlainTextResponse(Response):
    """Text, shown as it is."""

    content_type = TEXT


class HTMLResponse(Response):
    """A page."""

    content_type = HTML


def _beyond_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # pydantic, without importing it
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a value that JSON can hold")


_encode_json = msgspec.json.Encoder(enc_hook=_beyond_json).encode


class JSONResponse(Response):
    """Any value that JSON can hold: also dataclasses, msgspec.Struct, pydantic models, dates, UUIDs."""

    content_type = JSON
    encode = staticmethod(_encode_json)

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Any,
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
        ) -> None: ...


class RedirectResponse(Response):
    """Send the client elsewhere: `location` is a path of this site or an absolute http(s) URL.

    Raises ValueError for control bytes, backslashes, "//host" and other schemes, which browsers would take
    for another site than the one the author meant.
    """

    def __init__(
        self, location: str, status_code: int = 307, headers: Mapping[str, str] | None = None
    ) -> None:
        if status_code not in (301, 302, 303, 307, 308):
            raise ValueError(f"{status_code} is no redirect; there are 301, 302, 303, 307 and 308")
        _check_location(location)
        super().__init__(b"", status_code, headers)
        self.headers["location"] = quote(location, safe=":/%#?=@[]!$&'()*+,;~")


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")  # RFC 3986 section 3.1


def _check_location(location: str) -> None:
    if any(c <= " " or c == "\x7f" or c == "\\" for c in location):
        raise ValueError(f"the location {location!r} holds a blank, a control or a backslash")
    if location.startswith("//"):
        raise ValueError(f"the location {location!r} would lead to another host")
    scheme = _SCHEME.match(location)
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise ValueError(f"the location {location!r} is neither a path nor an http(s) URL")


class StreamingResponse(Response):
    """An answer in pieces, as an iterator or async iterator of text or bytes gives them.

    The head is sent with the first piece, so that an error before it is still a proper answer; the pieces'
    type decides the media type where none is given. An ordinary iterator runs in worker threads. The
    iterator is closed when the client goes away; one that waits for something then is cancelled.
    """

    def __init__(
        self,
        pieces: AsyncIterable[str | bytes] | Iterable[str | bytes],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(b"", status_code, headers, media_type)
        self.pieces = pieces

    async def send(self, exchange: Exchange) -> None:
        """Hand the pieces to the wire, each when the client has room for it."""
        pieces = self.pieces if isinstance(self.pieces, AsyncIterable) else _in_threads(iter(self.pieces))
        started = False
        async with aclosing(_closing(pieces)) as source, _while_connected(exchange):
            async for piece in source:
                if not isinstance(piece, str | bytes):
                    raise ReturnValueError(f"a stream gave {type(piece).__name__}; pieces are str or bytes")
                if not started:
                    if not self._has_type():
                        self.raw_headers.append((b"content-type", TEXT if isinstance(piece, str) else OCTETS))
                    await exchange.start(self.status_code, self.raw_headers)
                    started = True
                if exchange.method == "HEAD":
                    break
                await exchange.write(piece.encode() if isinstance(piece, str) else piece)
        if not started:
            await exchange.start(self.status_code, self.raw_headers)
        await exchange.finish()

    def _has_type(self) -> bool:
        return any(name.lower() == b"content-type" for name, _ in self.raw_headers)


@asynccontextmanager
async def _while_connected(exchange: Exchange) -> AsyncGenerator[None, None]:
    """Cancel what is inside when the client goes away, and raise ClientDisconnected: who waits for the next
    piece would not learn it from the wire."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    leaving = asyncio.ensure_future(exchange.disconnected())
    has_left = False

    def leave(_: asyncio.Future[None]) -> None:
        nonlocal has_left
        if not leaving.cancelled() and not over and not task.cancelling():
            has_left = True
            task.cancel()

    over = False
    leaving.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if not has_left or task.uncancel():
            raise
        raise ClientDisconnected from None
    finally:
        over = True
        leaving.cancel()


async def _closing(pieces: AsyncIterable[str | bytes]) -> AsyncGenerator[str | bytes, None]:
    """The same pieces; when it is closed, so is what they come from."""
    try:
        async for piece in pieces:
            yield piece
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _next(pieces: Iterator[Any], end: object) -> Any:
    return next(pieces, end)


async def _in_threads(pieces: Iterator[Any]) -> AsyncGenerator[Any, None]:
    """Step an ordinary iterator in worker threads, always in the same context."""
    context, end = copy_context(), object()
    step: asyncio.Future[Any] | None = None

    try:
        while True:
            step = run_in_thread(context.run, _next, pieces, end)
            piece = await asyncio.shield(step)  # a thread cannot be stopped
            if piece is end:
                return
            yield piece
    finally:
        if isinstance(pieces, Generator):
            if step is not None and not step.done():  # given up while it runs: it is closed after that
                step.add_done_callback(lambda _: run_in_thread(context.run, _close_quietly, pieces))
            else:
                await run_in_thread(context.run, pieces.close)


def _close_quietly(pieces: Generator[Any, None, None]) -> None:
    try:
        pieces.close()
    except Exception:
        logger.exception("a stream failed while it was closed, for its client has gone")


def to_response(value: Any, handler: Callable[..., Any] | None = None) -> Response:
    """Make a Response of what a handler returned.

    str is text/plain, an object with `__html__` text/html, bytes application/octet-stream; dict, list,
    dataclass, msgspec.Struct and pydantic models are JSON; None is 204; a generator or async generator is a
    stream; `(body, status)` and `(body, status, headers)` add to any of them. Raises ReturnValueError naming
    `handler` for everything else.
    """
    if isinstance(value, Response):
        return value
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return PlainTextResponse(value)
    if isinstance(value, dict | list):
        return JSONResponse(value)
    if value is None:
        return Response(b"", 204)
    if isinstance(value, tuple):
        return _from_tuple(value, handler)
    if isinstance(value, bytes | bytearray | memoryview):
        return Response(bytes(value))
    if hasattr(value, "__html__"):
        return HTMLResponse(value.__html__())
    if isinstance(value, Generator | AsyncGenerator):
        return StreamingResponse(value)
    if isinstance(value, msgspec.Struct) or hasattr(value, "model_dump") or dataclasses.is_dataclass(value):
        return JSONResponse(value)
    raise ReturnValueError(
        f"{_where(handler)} returned {type(value).__name__}: return str, bytes, dict, list, "
        "a dataclass, None, a generator, (body, status), (body, status, headers) or a Response"
    )


def _from_tuple(value: tuple[Any, ...], handler: Callable[..., Any] | None) -> Response:
    if len(value) not in (2, 3) or not isinstance(value[1], int) or isinstance(value[0], tuple):
        raise ReturnValueError(
            f"{_where(handler)} returned a tuple, but not (body, status) or (body, status, headers)"
        )
    response = to_response(value[0], handler)
    if not 200 <= value[1] <= 599:
        raise ReturnValueError(f"{_where(handler)} returned the status {value[1]}; they go from 200 to 599")
    response.status_code = value[1]
    if len(value) == 3 and value[2]:
        response.headers.update(dict(value[2]))
    return response


def _where(handler: Callable[..., Any] | None) -> str:
    return describe(handler) if handler else "a handler"


def abort(status_code: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> NoReturn:
    """Stop here and answer with this status. Raises HTTPException.

    >>> abort(404, "There is no such bird.")
    Traceback (most recent call last):
    weebill.errors.HTTPException: 404 There is no such bird.
    """
    raise HTTPException(status_code, detail, headers)


def redirect(location: str, status_code: int = 302) -> RedirectResponse:
    """An answer that sends the client to `location`, as Flask's. Raises as RedirectResponse."""
    return RedirectResponse(location, status_code)
