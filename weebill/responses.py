"""The kinds of Response, and `to_response`, which makes one of any value that a handler may return."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping
from contextlib import aclosing, suppress
from functools import lru_cache
from inspect import iscoroutine
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, get_args, get_type_hints

import msgspec

from .conditional import not_modified_fields, precondition
from .cookies import SameSite, format_cookie, must_be_secure
from .errors import HTTPException, ReturnValueError
from .functions import describe
from .headers import Fields, MutableHeaders, parse_http_date
from .requests import current_request
from .streams import interrupted_by, stepped, until_gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from .exchange import Exchange
    from .requests import Request

__all__ = [
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "Response",
    "StreamingResponse",
    "abort",
    "to_response",
]

T = TypeVar("T")

TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"
OCTETS = b"application/octet-stream"

# A page is what it says it is, stands in no frame of other sites, and tells them no paths.
PAGE_FIELDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
)


class Response:
    """A whole answer: content, status, fields.

    `content` is bytes, or text to be sent as UTF-8. `headers` are added to the fields; a Content-Type among
    them, or `media_type`, replaces the kind's own, and of text it says the charset. Raises ValueError for a
    field that HTTP does not allow and for a status outside 200 to 599.

    >>> Response("a,b", media_type="text/csv").headers["content-type"]
    'text/csv; charset=utf-8'
    """

    # PERF: these three without a dict, in which each layer of middleware would have to copy them.
    __slots__ = ("__dict__", "__weakref__", "content", "raw_headers", "status_code")

    content_type = b""  # of this kind; b"" has it follow from the type of the content
    own_fields: ClassVar[tuple[tuple[bytes, bytes], ...]] = ()  # of this kind, unless the author sets others
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
        self.raw_headers: Fields = [(b"content-type", content_type), *self.own_fields] if content_type else []
        if headers is not None:
            self.headers.update(headers)
        if media_type is not None:
            self.headers["content-type"] = media_type
        if (headers or media_type) and isinstance(content, str):
            say_charset(self.headers)

    @property
    def headers(self) -> MutableHeaders:
        """The fields, to read and to change.

        >>> response = HTMLResponse("<h1>Birds</h1>")
        >>> response.headers["cache-control"] = "max-age=60"
        """
        headers = _new(MutableHeaders)
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
            from hashlib import sha256  # most answers have none

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
        """Hand the answer to the wire; to be awaited. Weebill calls it, a subclass may do more.

        >>> class Logged(PlainTextResponse):
        ...     async def send(self, exchange):
        ...         await super().send(exchange)
        ...         print("sent", self.status_code)
        >>> app = App()
        >>> app.add_route("/", lambda: Logged("hello"))
        >>> TestClient(app).get("/").text
        sent 200
        'hello'
        """
        # PERF: the wire's own coroutine, without another around it.
        return exchange.respond(self.status_code, self.raw_headers, self.content)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code}>"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if any(getattr(cls, name) is not part for name, part in _PARTS.items()):  # a property, say
            cls._own = Response._own_by_parts  # type: ignore[method-assign]

    def _own(self) -> Response:
        """The same answer for one request alone. A handler may give one object to many clients, a middleware
        may keep one, and what the others around it set must not be there for the next client."""
        own = _new(type(self))
        try:
            own.content, own.status_code = self.content, self.status_code
            own.raw_headers = self.raw_headers.copy()
        except AttributeError:  # a kind that makes its content as it is sent
            return self._own_by_parts()
        if more := self.__dict__:
            if "send" in more:  # a middleware's, which would send the first; that is of this request alone
                return self
            own.__dict__.update(more)
        return own

    def _own_by_parts(self) -> Response:
        """The same where a subclass has something of its own in the place of a part, a property say."""
        if "send" in self.__dict__:
            return self
        own = _new(type(self))
        own.__dict__.update(self.__dict__)
        for part in _PARTS.values():
            with suppress(AttributeError):
                part.__set__(own, part.__get__(self))
        own.raw_headers = own.raw_headers.copy()
        return own


# The parts that every answer has.
_PARTS: dict[str, Any] = {name: vars(Response)[name] for name in ("content", "raw_headers", "status_code")}

_TEXTUAL = re.compile(r"text/(?!event-stream)|application/(xml|javascript)$|.*\+xml$", re.IGNORECASE)


def say_charset(headers: MutableHeaders) -> None:
    """Name UTF-8 in the Content-Type of a text that was encoded here, unless it has parameters already. An
    event stream is UTF-8 by definition."""
    media_type = headers.get("content-type", "")
    if ";" not in media_type and _TEXTUAL.match(media_type):
        headers["content-type"] = f"{media_type}; charset=utf-8"


class PlainTextResponse(Response):
    """Text, shown as it is.

    >>> PlainTextResponse("<b>").headers["content-type"]
    'text/plain; charset=utf-8'
    """

    content_type = TEXT


class HTMLResponse(Response):
    """A page. What it shows of others must be escaped; `render_template` does that.

    It tells browsers to be careful: X-Content-Type-Options, X-Frame-Options and Referrer-Policy are set, to
    be changed or deleted as other fields are; SecurityHeadersMiddleware has more, and goes before them.

    >>> page = HTMLResponse("<h1>Birds</h1>")
    >>> page.headers["content-type"], page.headers["x-frame-options"]
    ('text/html; charset=utf-8', 'SAMEORIGIN')
    """

    content_type = HTML
    own_fields = PAGE_FIELDS


def _beyond_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # pydantic, without importing it
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a value that JSON can hold")


_encode_json = msgspec.json.Encoder(enc_hook=_beyond_json).encode


class JSONResponse(Response):
    """Any value that JSON can hold: also dataclasses, msgspec.Struct, pydantic models, dates, UUIDs.

    Raises TypeError for any other. It has no charset, for JSON is UTF-8 (RFC 8259 section 8.1).

    >>> JSONResponse({"eggs": 3}).content
    b'{"eggs":3}'
    """

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


class StreamingResponse(Response):
    """An answer in pieces, as an iterator or async iterator of text or bytes gives them.

    The head is sent with the first piece, so that an error before it is still a proper answer; the pieces'
    type decides the media type where none is given. An error behind it breaks the connection, so that nobody
    takes what has come for the whole. An ordinary iterator runs in worker threads. The iterator is closed
    when the client goes away; one that waits for something then is cancelled.

    >>> app = App()
    >>> @app.get("/")
    ... async def count() -> StreamingResponse:
    ...     return StreamingResponse((f"{n}," for n in range(3)), media_type="text/csv")
    >>> TestClient(app).get("/").text
    '0,1,2,'
    """

    # Kinds of stream by the class of their pieces; who defines such pieces (event_stream.py) puts it in.
    kinds: ClassVar[dict[type, Callable[..., StreamingResponse]]] = {}

    def __init__(
        self,
        pieces: AsyncIterable[Any] | Iterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(b"", status_code, headers, media_type)
        self.pieces = pieces

    async def send(self, exchange: Exchange) -> None:
        """Hand the pieces to the wire, each when the client has room for it."""
        started = False
        async with aclosing(stepped(self.pieces)) as source, interrupted_by(until_gone(exchange)):
            async for piece in source:
                if not started:
                    if (kind := self.kinds.get(type(piece))) is not None:
                        return await self._turned_into(kind, piece, source).send(exchange)
                    self._say_type(piece)
                    await exchange.start(self.status_code, self.raw_headers)
                    started = True
                    if exchange.method == "HEAD":
                        break
                if isinstance(piece, str):
                    piece = piece.encode()
                elif not isinstance(piece, bytes):
                    raise _no_piece(piece)
                await exchange.write(piece)
        if not started:
            await exchange.start(self.status_code, self.raw_headers)
        await exchange.finish()
        return None

    def _say_type(self, piece: object) -> None:
        """The first piece decides what was left open."""
        if not isinstance(piece, str | bytes):
            raise _no_piece(piece)
        headers = self.headers
        if "content-type" not in headers:
            self.raw_headers.append((b"content-type", TEXT if isinstance(piece, str) else OCTETS))
        elif isinstance(piece, str):
            say_charset(headers)

    def _turned_into(
        self, kind: Callable[..., StreamingResponse], first: object, rest: AsyncIterable[Any]
    ) -> StreamingResponse:
        """The same answer as another kind of stream, for that is what its first piece belongs to."""
        response = kind(_with_first(first, rest), self.status_code)
        response.headers.update(self.headers)
        return response


def _no_piece(piece: object) -> ReturnValueError:
    return ReturnValueError(f"a stream gave {type(piece).__name__}; pieces are str or bytes")


async def _with_first(first: T, rest: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    yield first
    async for piece in rest:
        yield piece


def to_response(value: Any, handler: Callable[..., Any] | None = None) -> Response:
    """Make a Response of what a handler returned.

    str is text/plain, an object with `__html__` text/html, bytes application/octet-stream; dict, list,
    dataclass, msgspec.Struct and pydantic models are JSON; None is 204; a generator or async generator is a
    stream; `(body, status)` and `(body, status, headers)` add to any of them. Raises ReturnValueError naming
    `handler` for everything else.
    """
    # PERF: what most handlers return is told by its type, and made without the questions of a constructor,
    # which looks for everything that an author may have said. It takes a third of the time.
    kind: type[Response]
    given = type(value)
    if given is str:
        kind, field, content = PlainTextResponse, _TEXT_FIELD, value.encode()
    elif given is dict or given is list:
        kind, field, content = JSONResponse, _JSON_FIELD, _encode_json(value)
    elif isinstance(value, Response):
        return value._own()
    else:
        return _of_other(value, handler)
    response = _new(kind)
    response.content = content
    response.status_code = 200
    response.raw_headers = [field]
    return response


_new = object.__new__
_TEXT_FIELD = (b"content-type", TEXT)
_JSON_FIELD = (b"content-type", JSON)


def _of_other(value: Any, handler: Callable[..., Any] | None) -> Response:
    """The same of what comes less often."""
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
        if handler is not None and not isinstance(handler, FunctionType | MethodType):
            handler = type(handler).__call__  # an object need not be hashable
        return _kind_of_stream(handler)(value)
    if isinstance(value, msgspec.Struct) or hasattr(value, "model_dump") or dataclasses.is_dataclass(value):
        return JSONResponse(value)
    if iscoroutine(value):
        value.close()
        raise ReturnValueError(f"{_where(handler)} returned a coroutine: write async def, or await it")
    raise ReturnValueError(
        f"{_where(handler)} returned {type(value).__name__}: return str, bytes, dict, list, "
        "a dataclass, None, a generator, (body, status), (body, status, headers) or a Response"
    )


@lru_cache(1000)
def _kind_of_stream(handler: Callable[..., Any] | None) -> Callable[..., StreamingResponse]:
    """The kind of stream whose pieces `handler` is annotated to yield, as in AsyncIterator[Event]."""
    try:
        said = get_type_hints(handler).get("return") if handler else None
    except Exception:  # an annotation that means nothing at run time
        return StreamingResponse
    for argument in get_args(said):
        for piece in (argument, *get_args(argument)):
            if piece in StreamingResponse.kinds:
                return StreamingResponse.kinds[piece]
    return StreamingResponse


def _from_tuple(value: tuple[Any, ...], handler: Callable[..., Any] | None) -> Response:
    if len(value) not in (2, 3) or not isinstance(value[1], int) or isinstance(value[0], tuple):
        hint = "; the body comes first" if value and type(value[0]) is int else ""
        raise ReturnValueError(
            f"{_where(handler)} returned a tuple, but not (body, status) or (body, status, headers){hint}"
        )
    response = to_response(value[0], handler)
    if not 200 <= value[1] <= 599:
        raise ReturnValueError(f"{_where(handler)} returned the status {value[1]}; they go from 200 to 599")
    response.status_code = value[1]
    if len(value) == 3 and value[2]:
        response.headers.update(value[2])
        if isinstance(value[0], str):
            say_charset(response.headers)
    return response


def _where(handler: Callable[..., Any] | None) -> str:
    return describe(handler) if handler else "a handler"


def abort(
    status_code: int,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> NoReturn:
    """Stop here and answer with this status. Raises HTTPException, which says what the arguments are.

    >>> abort(404, "There is no such bird.")
    Traceback (most recent call last):
    weebill.errors.HTTPException: 404 There is no such bird.
    """
    raise HTTPException(status_code, detail, headers, members)
