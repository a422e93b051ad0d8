"""Request: what a handler sees of an exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from .afterwards import Afterwards
from .body import NO_BODY
from .errors import ConfigurationError, HTTPException
from .exchange import BUFFERED, ENCODED_SLASH
from .headers import Headers, MultiDict, parse_cookies, parse_query, split_host
from .validation import decode_json

if TYPE_CHECKING:
    import asyncio

    from .exchange import Exchange
    from .forms import FormData, FormReader, UploadFile
    from .session_stores import Session

__all__ = ["Address", "Request", "current_request"]

current_request: ContextVar[Request] = ContextVar("current_request")

_CHARSETS = frozenset(("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1"))


class Address(NamedTuple):
    """One end of a connection.

    >>> from weebill.requests import Address
    >>> host, port = Address("192.0.2.7", 50000)
    >>> host
    '192.0.2.7'
    """

    host: str
    port: int


class Request:
    """One request, with its content complete (or, on a route with `stream=True`, about to come).

    `method`, `path` (decoded, but for an encoded slash, which stays "%2F") and `params` (the values of the
    route's parameters) are at hand; everything else is read when it is asked for.

    >>> app = App()
    >>> @app.get("/birds/{name}")
    ... def bird(request):
    ...     print(request.method, request.target, request.params, request.query["page"])
    ...     return [request.client.host, request.http_version, request.scheme, request.host, request.url]
    >>> TestClient(app).get("/birds/wren?page=2").json()
    GET /birds/wren?page=2 {'name': 'wren'} 2
    ['127.0.0.1', '1.1', 'http', 'testserver', 'http://testserver/birds/wren?page=2']
    """

    __slots__ = (
        "_afterwards",
        "_cookies",
        "_dependencies",
        "_form",
        "_headers",
        "_query",
        "_session",
        "_state",
        "app",
        "exchange",
        "method",
        "params",
    )

    # Filled when they are first asked for.
    _cookies: dict[str, str]
    _form: FormReader
    _dependencies: dict[Any, Any]
    _query: MultiDict[str]
    _session: Session

    def __init__(self, exchange: Exchange, app: Any) -> None:
        self.exchange = exchange
        self.app = app
        self.method = exchange.method
        self.params = exchange.params
        self._afterwards: Afterwards | None = None
        # Half of all requests ask for these: to begin with None costs less than to miss an attribute.
        self._headers: Headers | None = None
        self._state: SimpleNamespace | None = None

    @property
    def path(self) -> str:
        """The decoded path, without the prefix of a mount; an encoded slash stays "%2F".

        >>> app = App()
        >>> app.add_route("/{file:path}", lambda request: request.path)
        >>> TestClient(app).get("/a%20b/c%2Fd").text
        '/a b/c%2Fd'
        """
        return self.exchange.path.replace(ENCODED_SLASH, "%2F")

    @property
    def target(self) -> str:
        """Path and query as they were sent (RFC 9112 section 3.2.1)."""
        return self.exchange.target

    @property
    def root_path(self) -> str:
        """The prefix that a mount or a proxy has taken off the path.

        >>> api, app = App(), App()
        >>> api.add_route("/birds", lambda request: [request.root_path, request.path])
        >>> app.mount("/api", api)
        >>> TestClient(app).get("/api/birds").json()
        ['/api', '/birds']
        """
        return self.exchange.root_path

    @property
    def http_version(self) -> str:
        """ "1.1" or "1.0"."""
        return self.exchange.http_version

    @property
    def scheme(self) -> str:
        """ "http" or "https"."""
        return self.exchange.scheme

    @property
    def client(self) -> Address | None:
        """Address of the peer, None where the wire has none (a unix socket)."""
        return Address(*self.exchange.client) if self.exchange.client else None

    @property
    def headers(self) -> Headers:
        """The fields, by case-insensitive name.

        >>> app = App()
        >>> app.add_route("/", lambda request: request.headers.get("Accept-Language", "en"))
        >>> TestClient(app).get("/", headers={"accept-language": "de"}).text
        'de'
        """
        if self._headers is None:
            self._headers = Headers.from_raw(self.exchange.fields)
        return self._headers

    @property
    def query(self) -> MultiDict[str]:
        """The parameters of the query. Raises HTTPException 400 beyond 1,000.

        >>> app = App()
        >>> app.add_route("/", lambda request: [request.query["q"], request.query.getlist("tag")])
        >>> TestClient(app).get("/?q=wren&tag=small&tag=brown").json()
        ['wren', ['small', 'brown']]
        """
        try:
            return self._query
        except AttributeError:
            pass
        try:
            self._query = parse_query(self.exchange.query_string)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        return self._query

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent.

        >>> app = App()
        >>> app.add_route("/", lambda request: request.cookies.get("theme", "light"))
        >>> TestClient(app).get("/", cookies={"theme": "dark"}).text
        'dark'
        """
        try:
            return self._cookies
        except AttributeError:
            self._cookies = parse_cookies(self.headers.get("cookie", ""))
            return self._cookies

    @property
    def host(self) -> str:
        """Host and port as the client named them, the server's own address where it named none."""
        if host := self.headers.get("host", ""):
            return host
        if self.exchange.server is None:
            return "localhost"
        host, port = self.exchange.server
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @host.setter
    def host(self, value: str) -> None:
        # In the field itself, so that mounted applications see it too.
        others = [field for field in self.exchange.fields if field[0].lower() != b"host"]
        self.exchange.fields = [(b"host", value.encode("ascii")), *others]
        self._headers = Headers.from_raw(self.exchange.fields)

    @property
    def url(self) -> str:
        """The target URI (RFC 9110 section 7.1). Raises HTTPException 400 where Host is malformed."""
        host = self.host
        if split_host(host.encode("latin-1")) is None:  # let through by a server of others, never by ours
            raise HTTPException(400, "The Host field is malformed.")
        exchange = self.exchange  # its target may begin with the root path (a mount) or not (a proxy)
        path = quote(exchange.root_path, safe="/%") + exchange.raw_path
        query = f"?{exchange.query_string}" if exchange.query_string else ""
        return f"{self.scheme}://{host}{path}{query}"

    def url_for(self, name: str, /, **params: object) -> str:
        """The full URL of a route, as `App.url_for` gives with `_external=True`.

        >>> app = App()
        >>> @app.get("/user/{name}")
        ... def user(request, name):
        ...     return request.url_for("user", name="grace")
        >>> TestClient(app).get("/user/ada").text
        'http://testserver/user/grace'
        """
        url: str = self.app.url_for(name, _external=True, **params)
        return url

    @property
    def state(self) -> SimpleNamespace:
        """A place for what middleware and hooks hand on to the handler.

        >>> app = App()
        >>> @app.before_request
        ... def who(request):
        ...     request.state.user = request.query.get("user", "nobody")
        >>> app.add_route("/", lambda request: f"Hello, {request.state.user}!")
        >>> TestClient(app).get("/?user=ada").text
        'Hello, ada!'
        """
        if self._state is None:
            self._state = SimpleNamespace()
        return self._state

    @property
    def id(self) -> str:
        """A name for this request, for logs: 16 random hexadecimal digits, unless a middleware has given
        another. Mounted applications see the same.

        >>> app = App()
        >>> app.add_route("/", lambda request: request.id)
        >>> len(TestClient(app).get("/").text)
        16
        """
        try:
            return self.exchange.id
        except AttributeError:
            from secrets import token_hex  # few ask

            self.exchange.id = token_hex(8)
            return self.exchange.id

    @id.setter  # noqa: A003
    def id(self, value: str) -> None:
        self.exchange.id = value

    @property
    def session(self) -> Session:
        """What the program remembers of this client. ConfigurationError without a SessionMiddleware.

        >>> from weebill.sessions import SessionMiddleware
        >>> app = App(secret_key="0123456789abcdef" * 4)
        >>> app.middleware(SessionMiddleware())
        <SessionMiddleware in a signed cookie>
        >>> @app.get("/")
        ... async def index(request):
        ...     return request.session.setdefault("first", "now")
        >>> TestClient(app).get("/").text
        'now'
        """
        try:
            return self._session
        except AttributeError:
            raise ConfigurationError(
                "there is no request.session here; write app.middleware(SessionMiddleware()), from "
                "weebill.sessions, on the app or a router of this route (a mounted app needs its own)"
            ) from None

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that a browser has had of this stream before it came back, None for none
        (Last-Event-ID, WHATWG HTML section 9.2.4).

        >>> app = App()
        >>> @app.get("/")
        ... async def behind(request: Request) -> str:
        ...     return f"what came behind {request.last_event_id}"
        >>> TestClient(app).get("/", headers={"last-event-id": "7"}).text
        'what came behind 7'
        """
        value = self.headers.get("last-event-id")
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the server begins to stop: a stream that has no end should end then.

        >>> import asyncio
        >>> app = App()
        >>> @app.get("/")
        ... async def ticks(request):
        ...     while not request.stopping.is_set():
        ...         yield "tick\\n"
        ...         await asyncio.sleep(1)
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     next(answer.iter_lines())
        'tick'
        """
        return self.exchange.stopping

    @property
    def body(self) -> bytes:
        """The content, b"" where there is none. ConfigurationError on a route with `stream=True`, where
        `stream()` reads it.

        >>> app = App()
        >>> app.add_route("/", lambda request: f"{len(request.body)} bytes", methods=["PUT"])
        >>> TestClient(app).put("/", content=b"a picture").text
        '9 bytes'
        """
        if self.exchange.body is NO_BODY and getattr(self.exchange.route, "intake", BUFFERED).stream:
            raise ConfigurationError(
                "request.body is not gathered on a route with stream=True; read "
                "`async for piece in request.stream()`, or leave stream=True out"
            )
        return self.exchange.body.read_all()

    @property
    def text(self) -> str:
        """The content as text. Content-Type may say utf-8, which is the default, us-ascii or iso-8859-1.

        Raises HTTPException 415 for another charset, 400 for bytes that are not of it.

        >>> app = App()
        >>> app.add_route("/", lambda request: request.text.upper(), methods=["POST"])
        >>> TestClient(app).post("/", content="grüße").text
        'GRÜSSE'
        """
        charset = "utf-8"
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                charset = value.strip().strip('"')
        if charset.lower() not in _CHARSETS:  # some of Python's other codecs are slow beyond measure
            raise HTTPException(415, f"The charset {charset!r} is not read here; send utf-8.")
        try:
            return self.body.decode(charset)
        except UnicodeDecodeError as error:
            raise HTTPException(400, f"The content is not {charset}: {error}") from None

    def json(self) -> Any:
        """The content read as JSON. Raises HTTPException 400 that says where it is malformed.

        >>> app = App()
        >>> app.add_route("/", lambda request: request.json()["name"], methods=["POST"])
        >>> TestClient(app).post("/", json={"name": "Ada"}).text
        'Ada'
        """
        return decode_json(self.body)

    async def stream(self) -> AsyncIterator[bytes]:
        """The content piece by piece, as it arrives on a route with `stream=True`.

        Raises ClientDisconnected if the client goes before the end, BodyTooLarge beyond the limit, and
        ConfigurationError if it was read as a form before.

        >>> app = App()
        >>> @app.post("/", stream=True, max_body="10GiB")
        ... async def measure(request):
        ...     length = 0
        ...     async for piece in request.stream():
        ...         length += len(piece)
        ...     return f"{length} bytes"
        >>> TestClient(app).post("/", content=[b"one", b"two"]).text
        '6 bytes'
        """
        form: FormReader | None = getattr(self, "_form", None)
        if form is not None and form.has_streamed:
            raise ConfigurationError(
                "the content has been read already, by load_form or by CSRFMiddleware, which looks for its "
                "token in a form; read `await request.load_form()`, or have the token sent as X-CSRF-Token"
            )
        while piece := await self.exchange.read():
            yield piece

    def early_hints(self, fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> Awaitable[None]:
        """Tell the client which things it is going to need, while the answer is still made (RFC 8297); to be
        awaited, in an `async def`. A client of HTTP/1.0, or a server that cannot do it, sends nothing.

        Raises ValueError for a field that HTTP does not allow, ResponseError once the answer has begun.

        >>> app = App()
        >>> @app.get("/")
        ... async def home(request: Request) -> str:
        ...     await request.early_hints({"link": "</style.css>; rel=preload; as=style"})
        ...     return "the page"
        >>> TestClient(app).get("/").text
        'the page'
        """
        from asyncio import get_running_loop  # a hello does not need it

        try:
            get_running_loop()
        except RuntimeError:  # it would never be awaited, and nobody would tell
            raise ConfigurationError("early_hints is awaited, so it is for `async def` handlers") from None
        return self.exchange.inform(103, Headers(fields).raw)

    @property
    def form(self) -> MultiDict[str]:
        """The text fields of a form, urlencoded or multipart; none of a request without content.

        `form["name"]` of a field that was not sent is a 400. Raises HTTPException: 415 for other content,
        400 for what is malformed and 413 beyond a limit, with the place; ConfigurationError on a route with
        `stream=True` before `load_form`.

        >>> app = App()
        >>> @app.post("/")
        ... def greet(request: Request):
        ...     return f"Hello, {request.form['name']}!"
        >>> TestClient(app).post("/", data={"name": "Ada"}).text
        'Hello, Ada!'
        """
        return self._form_reader().now("request.form").fields

    @property
    def files(self) -> MultiDict[UploadFile]:
        """The files of a form, an input that was left empty not among them. Raises as `form` does.

        >>> app = App()
        >>> @app.post("/")
        ... def count(request: Request):
        ...     return f"{len(request.files)} files"
        >>> TestClient(app).post("/", data={"name": "Ada"}).text
        '0 files'
        """
        return self._form_reader().now("request.files").files

    async def load_form(self) -> FormData:
        """Read the form, on a route with `stream=True` as it arrives; from then on `form` and `files` are
        there. It is read once, however often this is called. Raises as `form` does, and ClientDisconnected.

        >>> app = App()
        >>> @app.post("/", stream=True, max_body="3GiB")
        ... async def greet(request: Request):
        ...     await request.load_form()
        ...     return f"Hello, {request.form['name']}!"
        >>> TestClient(app).post("/", data={"name": "Ada"}).text
        'Hello, Ada!'
        """
        return await self._form_reader().load()

    async def prepare_form(self) -> None:
        """Read a form that lies on disk, if this is one, so that `form` and `files` need no disk. The App
        awaits it before a handler runs; what is wrong with the form is raised when it is asked for."""
        await self._form_reader().prepare()

    def _form_reader(self) -> FormReader:
        try:
            return self._form
        except AttributeError:
            from .forms import FormReader  # not every program has forms

            self._form = FormReader(self.exchange, self.afterwards.cleanup)
            return self._form

    @property
    def afterwards(self) -> Afterwards:
        """What is left to do when the answer has been sent.

        >>> app, told = App(), []
        >>> @app.get("/")
        ... def index(request):
        ...     request.afterwards.cleanup.callback(told.append, "closed")
        ...     return "hello"
        >>> TestClient(app).get("/").text, told
        ('hello', ['closed'])
        """
        if self._afterwards is None:
            self._afterwards = Afterwards()
        return self._afterwards

    def background(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `function(*args, **kwargs)` once the answer has been sent: an `async def` on the loop, a `def`
        in a worker thread, one after the other. It is called whatever the answer is, and also when the
        client has gone. The client does not wait for it, a graceful stop does. What it raises is logged.

        >>> app, sent = App(), []
        >>> @app.post("/register")
        ... async def register(request: Request) -> str:
        ...     request.background(sent.append, "a letter of welcome")
        ...     return "registered"
        >>> TestClient(app).post("/register").text, sent
        ('registered', ['a letter of welcome'])
        """
        if not callable(function):
            raise ConfigurationError(
                f"request.background takes a function and then its arguments, and not {function!r}"
            )
        self.afterwards.work.append((function, args, kwargs))

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"
