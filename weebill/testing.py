"""TestClient: ask an application and look at its answer, without a socket.

    test's thread                          the client's own thread and event loop
    client.get("/") ── MemoryExchange ──>  __intake__, content gathered, __exchange__
          Result <──── status, fields, pieces ────┘

The client works the same in a plain function and inside a running event loop. MemoryExchange keeps the
rules of the HTTP/1 wire, so that an answer which passes here passes there. LiveServer is the other half:
the same application on a real port.
"""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit
from urllib.request import Request as CookieRequest

import msgspec

from .bridges import adapt
from .errors import reason_phrase
from .headers import Fields, Headers, parse_cookies
from .server.memory import MemoryExchange
from .settings import Settings
from .threads import WorkerThreads, set_worker_threads

if TYPE_CHECKING:
    from .server.background import BackgroundServer

__all__ = ["Cookies", "LiveServer", "MemoryExchange", "Result", "TestClient"]

T = TypeVar("T")

PIECE = 1 << 16  # bytes of content that a socket would give at a time
MAX_REDIRECTS = 20
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(slots=True)
class Result:
    """The answer to one request. `history` are the redirects that were followed to it."""

    status_code: int
    headers: Headers
    content: bytes
    url: str
    http_version: str = "HTTP/1.1"
    history: list[Result] = field(default_factory=list, repr=False)

    @property
    def reason_phrase(self) -> str:
        """The standard phrase of the status."""
        return reason_phrase(self.status_code)

    @property
    def text(self) -> str:
        """The content as text, by the charset of Content-Type, else UTF-8."""
        message = Message()
        message["content-type"] = self.headers.get("content-type", "")
        return self.content.decode(message.get_content_charset("utf-8"), "replace")

    def json(self) -> Any:
        """The content read as JSON. Raises ValueError."""
        return json.loads(self.content)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this answer sets."""
        lines = self.headers.getlist("set-cookie")
        return {k: v for line in lines for k, v in parse_cookies(line.partition(";")[0]).items()}


class Cookies(CookieJar):
    """The cookies that a client keeps: sent where their path, Secure and age allow it."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def set(self, name: str, value: str) -> None:
        """Keep a cookie for the whole site."""
        self.store(self._base_url, [f"{name}={value}; Path=/"])

    def get(self, name: str) -> str | None:
        """The value of a cookie that is kept."""
        return next((cookie.value for cookie in self if cookie.name == name), None)

    def store(self, url: str, lines: Iterable[str]) -> None:
        """Take over the Set-Cookie lines of an answer from `url`."""
        self.extract_cookies(_CookieSource(lines), CookieRequest(url))  # type: ignore[arg-type]  # noqa: S310

    def field(self, url: str) -> str:
        """The Cookie field for a request to `url`, "" for none."""
        request = CookieRequest(url)  # noqa: S310
        self.add_cookie_header(request)
        return request.get_header("Cookie") or ""


class _CookieSource:
    """As much of an HTTPResponse as CookieJar wants."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._message = Message()
        for line in lines:
            self._message["set-cookie"] = line

    def info(self) -> Message:
        return self._message


class _LoopThread:
    """An event loop that runs in a thread of its own until `close`, or until nobody holds the object."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=_run_loop, args=(self.loop,), name="weebill-test-client", daemon=True
        )
        thread.start()
        self.close = weakref.finalize(self, _stop_loop, self.loop, thread)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` there and wait for what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    threads = WorkerThreads(loop)
    set_worker_threads(threads)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()
    threads.stop()


def _stop_loop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    with suppress(RuntimeError):  # a handler that exits has ended the loop itself
        loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():  # the garbage collector may run anywhere
        thread.join()


class TestClient:
    """Ask `app`, an App or any ASGI or WSGI application, in memory.

    As a context manager it runs the application's startup and shutdown around the block; without `with` it
    runs neither. `headers` go with each request, `settings` gives the limits. Cookies are kept between
    requests. An answer that breaks off raises ConnectionError, as a broken connection would.
    """

    __test__ = False  # for pytest: this is no class of tests

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        *,
        headers: Mapping[str, str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.application = adapt(app)
        self.base_url = base_url
        self.headers = {"accept": "*/*", "user-agent": "weebill-testclient", **(headers or {})}
        self.settings = settings
        self.cookies = Cookies(base_url)
        self._stopping = asyncio.Event()
        self._thread: _LoopThread | None = None
        self._life: Future[None] | None = None

    def __enter__(self) -> TestClient:
        started: Future[None] = Future()
        thread = self._running()
        self._life = asyncio.run_coroutine_threadsafe(self._live(started), thread.loop)
        try:
            started.result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._thread is not None
        assert self._life is not None
        self._thread.loop.call_soon_threadsafe(self._stopping.set)
        try:
            self._life.result()
        finally:
            self.close()

    def close(self) -> None:
        """End the client's thread."""
        if self._thread is not None:
            self._thread.close()
        self._thread, self._stopping = None, asyncio.Event()

    def _running(self) -> _LoopThread:
        if self._thread is None:
            self._thread = _LoopThread()
        return self._thread

    async def _live(self, started: Future[None]) -> None:
        """Startup and shutdown in one task, as on the server: what a lifespan opens, it may close."""
        try:
            await self.application.__startup__()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._stopping.wait()
        await self.application.__shutdown__()

    # -- requests

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: bytes | str | Iterable[bytes] | None = None,
        data: Mapping[str, Any] | None = None,
        json: Any = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
    ) -> Result:
        """Send one request and wait for the whole answer.

        `url` is a path, sent as it stands, or an absolute URL; `params` are added to its query. The content
        is `content` (pieces of it are sent chunked), `data` as a form, or `json` as JSON. Raises
        ConnectionError when the answer breaks off, and after 20 redirects.
        """
        given = Headers(headers if headers is not None else ())
        pieces, of_content = _content(content, data, json)
        if follow_redirects:
            pieces = list(pieces)  # they may be needed again
        target = "*" if url == "*" else ""
        url = _with_params(_absolute(self.base_url, url.removeprefix("*")), params)
        history: list[Result] = []
        while True:
            fields = self._fields(url, given, of_content, cookies or {})
            result = self._send(method.upper(), url, target or _target(url), fields, pieces)
            self.cookies.store(url, result.headers.getlist("set-cookie"))
            result.history = list(history)
            location = result.headers.get("location")
            if not (follow_redirects and location and result.status_code in (301, 302, 303, 307, 308)):
                return result
            history.append(result)
            if len(history) > MAX_REDIRECTS:
                raise ConnectionError(f"more than {MAX_REDIRECTS} redirects, the last to {location}")
            url, target = urljoin(url, location), ""
            if _becomes_get(method.upper(), result.status_code):
                method, pieces, of_content = "GET", [], {}

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

    def _fields(
        self, url: str, given: Headers, of_content: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Fields:
        """The fields of a request: ours, unless the test gives its own."""
        jar = self.cookies.field(url)
        pairs = [*([jar] if jar else []), *(f"{name}={value}" for name, value in cookies.items())]
        ours = {"host": urlsplit(url).netloc, **self.headers, **of_content, "cookie": "; ".join(pairs)}
        own = Headers({name: value for name, value in ours.items() if value and name not in given})
        return own.raw + given.raw

    def _send(self, method: str, url: str, target: str, fields: Fields, content: Iterable[bytes]) -> Result:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        exchange = MemoryExchange(
            method,
            target,
            fields,
            content,
            self.settings,
            scheme=parts.scheme,
            client=("testclient", 50000),
            server=(parts.hostname or "testserver", port),
            stopping=self._stopping,
        )
        self._running().run(exchange.serve(self.application))
        received = b"".join(exchange.pieces)
        if not exchange.complete:
            raise ConnectionError(f"the answer to {method} {url} broke off after {len(received)} bytes")
        return Result(exchange.status, Headers.from_raw(exchange.answer_fields), received, url)


def _absolute(base_url: str, url: str) -> str:
    """Not urljoin: the path is a test's to choose, with every dot segment."""
    if "://" in url.partition("?")[0]:
        return url
    return base_url.rstrip("/") + ("" if url.startswith("/") else "/") + url


def _with_params(url: str, params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> str:
    query = urlencode(params if isinstance(params, Mapping) else list(params or ()), doseq=True)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _target(url: str) -> str:
    """The target in origin form. Blanks and what is no ASCII are percent-encoded, escapes stay."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return quote((parts.path or "/") + query, safe=PRINTABLE)


def _content(
    content: bytes | str | Iterable[bytes] | None, data: Mapping[str, Any] | None, json: Any
) -> tuple[Iterable[bytes], dict[str, str]]:
    """The pieces of the content, and the fields that speak of it."""
    if sum(given is not None for given in (content, data, json)) > 1:
        raise TypeError("content, data and json exclude each other")
    kind = ""
    if json is not None:
        content, kind = msgspec.json.encode(json), "application/json"
    elif data is not None:
        content, kind = urlencode(data, doseq=True), "application/x-www-form-urlencoded"
    if content is None:
        return [], {}
    whole = content.encode() if isinstance(content, str) else content
    if not isinstance(whole, bytes):
        return whole, {"transfer-encoding": "chunked"}
    pieces = [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]
    return pieces, {"content-length": str(len(whole)), "content-type": kind}


def _becomes_get(method: str, status: int) -> bool:
    """RFC 9110 sections 15.4.2 to 15.4.4."""
    return (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST")


class LiveServer:
    """The same application on a real port of 127.0.0.1, in a thread: `with LiveServer(app) as server`.

    `options` are those of the settings table. `url` is where it listens.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        from .server.background import BackgroundServer

        settings = Settings(**{"host": "127.0.0.1", "port": 0, **options})
        self._server: BackgroundServer = BackgroundServer(adapt(app), settings)

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://{self._server.host}:{self._server.port}"

    def __enter__(self) -> LiveServer:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()
