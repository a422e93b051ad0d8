"""TestClient: ask an application and look at its answer, without a socket.

    test's thread                          the client's own thread and event loop
    client.get("/") ── MemoryExchange ──>  __intake__, content gathered, __exchange__
          Result <──── status, fields, pieces ────┘

The client works the same in a plain function and inside a running event loop. MemoryExchange keeps the
rules of the HTTP/1 wire, so that a request which passes here passes there. LiveServer is the other half:
the same application on a real port.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from .bridges import adapt
from .headers import Headers
from .server.memory import MemoryExchange
from .settings import Settings, load
from .testing_loop import LoopThread
from .testing_requests import Cookies, Outgoing, Pairs, outgoing_request
from .testing_results import ReceivedEvent, Result, StreamingResult, check

if TYPE_CHECKING:
    from .server.background import BackgroundServer

__all__ = [
    "Cookies",
    "LiveServer",
    "MemoryExchange",
    "ReceivedEvent",
    "Result",
    "StreamingResult",
    "TestClient",
]

MAX_REDIRECTS = 20
ROOM = 1 << 16  # bytes of a streamed answer that run ahead of the test


class TestClient:
    """Ask `app`, an App or any ASGI or WSGI application, in memory.

    As a context manager it runs the application's startup and shutdown around the block; without `with` it
    runs neither. `headers` go with each request, `settings` gives the limits, `client` is the address that
    requests come from. Cookies are kept between requests. Redirects are followed with `follow_redirects`.

    What a handler raises is raised into the test, unless it is an answer as an HTTPException is; without
    `raise_server_exceptions` it is answered as a server does. An answer that breaks off raises
    ConnectionError, as a broken connection would.

    >>> app = App()
    >>> @app.get("/hello/{name}")
    ... def hello(name: str):
    ...     return f"Hello, {name}!"
    >>> with TestClient(app) as client:
    ...     client.get("/hello/ada").text
    'Hello, ada!'
    """

    __test__ = False  # for pytest: this is no class of tests

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        *,
        headers: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        follow_redirects: bool = False,
        raise_server_exceptions: bool = True,
    ) -> None:
        self.application = adapt(app)
        self.base_url = base_url
        self.headers = {"accept": "*/*", "user-agent": "weebill-testclient", **(headers or {})}
        self.settings = settings or Settings()
        self.client = client
        self.follow_redirects = follow_redirects
        self.raise_server_exceptions = raise_server_exceptions
        self.cookies = Cookies(base_url)
        self._stopping, self._ending = asyncio.Event(), asyncio.Event()
        self._thread: LoopThread | None = None
        self._life: Future[None] | None = None
        self._streams: WeakSet[StreamingResult] = WeakSet()

    def __enter__(self) -> TestClient:
        started: Future[None] = Future()
        self._life = self._running().begin(self._live(started))
        try:
            started.result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        assert self._thread is not None
        assert self._life is not None
        loop = self._thread.loop
        loop.call_soon_threadsafe(self._stopping.set)
        try:
            for stream in list(self._streams):
                stream.__exit__(*exception)
        finally:
            loop.call_soon_threadsafe(self._ending.set)
            try:
                self._life.result()
            finally:
                self.close()

    def close(self) -> None:
        """End the client's thread.

        >>> client = TestClient(App())
        >>> client.get("/").status_code
        404
        >>> client.close()
        """
        if self._thread is not None:
            self._thread.close()
        self._thread, self._stopping, self._ending = None, asyncio.Event(), asyncio.Event()

    def visitor(self) -> TestClient:
        """Another client of the same running application, with cookies of its own: a second person, who sees
        what the first one does. It ends with this client, and needs no `with`.

        >>> app = App()
        >>> @app.get("/theme")
        ... def theme(request: Request):
        ...     return request.cookies.get("theme", "light")
        >>> with TestClient(app) as ada:
        ...     ada.cookies.set("theme", "dark")
        ...     grace = ada.visitor()
        ...     ada.get("/theme").text, grace.get("/theme").text
        ('dark', 'light')
        """
        self._running()
        other = copy(self)
        other.headers = dict(self.headers)
        other.cookies = Cookies(self.base_url)
        return other

    def _running(self) -> LoopThread:
        if self._thread is None:
            self._thread = LoopThread()
        return self._thread

    async def _live(self, started: Future[None]) -> None:
        """Startup and shutdown in one task, as on the server: what a lifespan opens, it may close."""
        try:
            await self.application.__startup__()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._ending.wait()
        await self.application.__shutdown__()

    def travel(self, seconds: float) -> None:
        """Move the clock of the application's event loop forward, without waiting: timeouts, `asyncio.sleep`
        and pings that fall due happen at once, one after the other, and are over when this returns.

        It moves what waits on the loop. `time.time()` and a blocking `time.sleep()` go their own way.

        >>> import asyncio
        >>> app = App()
        >>> @app.get("/", timeout="5s")
        ... async def slow():
        ...     await asyncio.sleep(60)
        >>> client = TestClient(app)
        >>> with client.stream("GET", "/") as answer:
        ...     client.travel(5)
        ...     answer.status_code
        503
        """
        self._running().travel(seconds)

    # -- requests

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Pairs | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: bytes | str | Iterable[bytes] | None = None,
        data: Mapping[str, Any] | None = None,
        files: Pairs | None = None,
        json: Any = None,
        cookies: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        follow_redirects: bool | None = None,
    ) -> Result:
        """Send one request and wait for the whole answer.

        `url` is a path, sent as it stands, or an absolute URL; `params` are added to its query. The content
        is `content` (pieces of it are sent chunked), `data` as a form, `json` as JSON, or `files` together
        with `data` as multipart/form-data. A file is bytes, text, an open file, or a tuple of its name, one
        of these, and its media type; a list is several of one name. `auth` is a user and a password.

        Raises what the handler raised (see the class), ConnectionError when the answer breaks off and after
        20 redirects, and ValueError for content that is longer than its Content-Length.

        >>> app = App()
        >>> @app.route("/birds", methods=["GET", "PUT"])
        ... def birds(request):
        ...     return [request.method, request.query.get("page"), request.form.get("name")]
        >>> TestClient(app).request("PUT", "/birds", params={"page": 2}, data={"name": "wren"}).json()
        ['PUT', '2', 'wren']
        """
        outgoing = outgoing_request(
            self.base_url, method, url, params, headers, content, data, files, json, cookies, auth
        )
        follow = self.follow_redirects if follow_redirects is None else follow_redirects
        if follow:
            outgoing.keep_content()
        history: list[Result] = []
        while True:
            result = self._send(outgoing)
            result.history = list(history)
            location = result.headers.get("location")
            if not (follow and location and result.status_code in (301, 302, 303, 307, 308)):
                return result
            history.append(result)
            if len(history) > MAX_REDIRECTS:
                raise ConnectionError(f"more than {MAX_REDIRECTS} redirects, the last to {location}")
            outgoing.redirect(result.status_code, location)

    def get(self, url: str, **options: Any) -> Result:
        """`request` with GET."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Result:
        """`request` with POST."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Result:
        """`request` with PUT."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Result:
        """`request` with PATCH."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Result:
        """`request` with DELETE."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Result:
        """`request` with HEAD."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> Result:
        """`request` with OPTIONS."""
        return self.request("OPTIONS", url, **options)

    def stream(
        self,
        method: str,
        url: str,
        *,
        params: Pairs | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: bytes | str | Iterable[bytes] | None = None,
        data: Mapping[str, Any] | None = None,
        files: Pairs | None = None,
        json: Any = None,
        cookies: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> StreamingResult:
        """Send one request and go on while the application works on it. The end of the block is a client
        that goes away. Arguments as for `request`; redirects are not followed.

        >>> app = App()
        >>> @app.get("/")
        ... async def two():
        ...     yield "one\\n"
        ...     yield "two\\n"
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     answer.status_code, list(answer.iter_lines())
        (200, ['one', 'two'])
        """
        outgoing = outgoing_request(
            self.base_url, method, url, params, headers, content, data, files, json, cookies, auth
        )
        exchange = self._exchange(outgoing, ROOM)
        thread = self._running()
        served = thread.begin(exchange.serve(self.application))
        store = partial(_store, self.cookies, outgoing.url)
        result = StreamingResult(
            outgoing.name, outgoing.url, exchange, thread, served, self.raise_server_exceptions, store
        )
        self._streams.add(result)
        return result

    def _send(self, outgoing: Outgoing) -> Result:
        exchange = self._exchange(outgoing)
        self._running().run(exchange.serve(self.application))
        content = b"".join(exchange.pieces)
        check(exchange, outgoing.name, len(content), self.raise_server_exceptions)
        headers = Headers.from_raw(exchange.answer_fields)
        _store(self.cookies, outgoing.url, headers)
        return Result(exchange.status, headers, content, outgoing.url)

    def _exchange(self, outgoing: Outgoing, room: int | None = None) -> MemoryExchange:
        parts = urlsplit(outgoing.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return MemoryExchange.sent(
            outgoing.method,
            outgoing.target,
            outgoing.fields({"host": parts.netloc, **self.headers}, self.cookies),
            outgoing.pieces,
            self.settings,
            room,
            scheme=parts.scheme,
            client=self.client,
            server=("127.0.0.1", port),
            stopping=self._stopping,
        )


def _store(cookies: Cookies, url: str, headers: Headers) -> None:
    if lines := headers.getlist("set-cookie"):
        cookies.store(url, lines)


class LiveServer:
    """The same application on a real port of 127.0.0.1, in a thread: `with LiveServer(app) as server`.

    `options` are those of the settings table, whatever environment and pyproject.toml say. `host` and `port`
    are where it listens, `url` is both. What keeps it from starting is raised where the block begins. It may
    be started again. Raises ConfigurationError for a wrong option.

    >>> from urllib.request import urlopen
    >>> from weebill.testing import LiveServer
    >>> app = App()
    >>> @app.get("/")
    ... def index():
    ...     return "through a socket"
    >>> with LiveServer(app) as server, urlopen(server.url) as answer:
    ...     answer.read(), server.url == f"http://{server.host}:{server.port}"
    (b'through a socket', True)
    """

    def __init__(self, app: Any, **options: Any) -> None:
        self._application = adapt(app)
        self._settings = load({"host": "127.0.0.1", "port": 0, **options}, {}, Path(os.devnull))
        self._server: BackgroundServer | None = None

    def _running(self) -> BackgroundServer:
        if self._server is None:
            raise RuntimeError("the server does not run: with LiveServer(app) as server: ...")
        return self._server

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._running().host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._running().port

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __enter__(self) -> LiveServer:
        from .server.background import BackgroundServer

        server = BackgroundServer(self._application, self._settings)
        server.start()
        self._server = server
        return self

    def __exit__(self, *exception: object) -> None:
        server, self._server = self._running(), None
        server.stop()
