"""Programs written for TinyFlask, on Weebill.

    app = HTTPServer(4221)             # listens from here on, in threads of its own

    @app.route("/echo/{string}")
    def echo(request, string):         # the request, and each {segment} of the path by its name
        return string                  # or a Response

Slashes at both ends of a path mean nothing here. HTTPServer is an App, so everything else that an App can
do is there too, and `weebill run` takes it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .. import requests, responses
from ..app import App
from ..compression import CompressionMiddleware
from ..errors import HTTPException, StartError
from ..exchange import Exchange, Intake
from ..functions import describe
from ..headers import MutableHeaders
from ..settings import Settings, load
from .common import check_call, names_in, plain_text, stand_in, text_of

if TYPE_CHECKING:
    from ..server.resident import ResidentServer

__all__ = ["HTTPServer", "Request", "Response"]

logger = logging.getLogger("weebill")

F = TypeVar("F", bound=Callable[..., Any])

DEFAULTS = {"host": "localhost", "idle_timeout": 120.0, "access_log": True, "log_level": "debug"}


class Request:
    """What a handler sees: `target` is path and query as sent, the names in `headers` are in lower case."""

    def __init__(self, request: requests.Request) -> None:
        self.method = request.method
        self.target = request.target
        self.http_version = f"HTTP/{request.http_version}"
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        self.raw_body = request.body

    @cached_property
    def body(self) -> str:
        """The content as UTF-8. Bytes that are none survive as surrogates, and are themselves again in the
        body of an answer."""
        return text_of(self.raw_body)


class Response:
    """What a handler returns: fill in `body`, text or bytes, and `add_header`.

    The server itself says the version, the standard reason of the status, and Content-Length.
    """

    def __init__(self, version: str = "HTTP/1.1", status_code: int | str = "200", reason: str = "OK") -> None:
        self.version = version
        self.status_code = status_code
        self.reason = reason
        self.body: str | bytes = ""
        self.headers = {}

    @property
    def headers(self) -> MutableHeaders:
        """The fields, by name in any case."""
        return self._headers

    @headers.setter
    def headers(self, headers: Mapping[str, str]) -> None:
        self._headers = MutableHeaders(headers)

    def add_header(self, name: str, value: object) -> None:
        """Set a field; Set-Cookie adds a line. Raises ValueError for what HTTP does not allow (CR, LF)."""
        if name.lower() == "set-cookie":
            self.headers.add(name, str(value))
        else:
            self.headers[name] = str(value)


class HTTPServer(App):
    """Listens on localhost, port `port`, from the constructor on, until `q` and Enter, SIGINT, SIGTERM or
    `stop_server()`; so long the process stays alive. Port 0 takes a free one. Other options come from the
    environment. Ends the process with exit code 3 and one sentence when it cannot listen.
    """

    def __init__(self, port: int) -> None:
        super().__init__(sys._getframe(1).f_globals.get("__name__"))
        self.middleware(CompressionMiddleware(codings=["gzip"]))
        settings = load({"port": port}, defaults=DEFAULTS)
        self._client_time_out = settings.idle_timeout
        self._server = _listen(self, settings)

    @property
    def port(self) -> int | None:
        """Where it listens; None while the program is only imported, by `weebill run`."""
        return self._server.port if self._server is not None else None

    @property
    def client_time_out(self) -> float:
        """Seconds after which an idle connection is closed, 120 by default. A change holds at once."""
        return self._client_time_out

    @client_time_out.setter
    def client_time_out(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"client_time_out is a number of seconds above 0, not {seconds!r}")
        self._client_time_out = seconds
        if self._server is not None:
            self._server.worker.state.change(idle_timeout=float(seconds))

    def route(self, path: str, methods: Iterable[str] = ("GET",), **options: Any) -> Callable[[F], F]:
        """Answer `methods` at `path` with the decorated `f(request, **params)`."""
        path = f"/{path.strip('/')}"
        register = super().route(path, methods, **options)

        def decorate(function: F) -> F:
            check_call(function, path, ("request",), names_in(path, function))

            def answer(request: requests.Request) -> responses.Response:
                return _to_response(function(Request(request), **request.params), function)

            register(stand_in(function, answer))
            return function

        return decorate

    def stop_server(self) -> None:
        """Stop gracefully and return when all has ended; from a handler at once, for what it is going to
        return is among the answers that are awaited."""
        if self._server is None:
            return
        if not self._server.stopping:
            self._server.begin_stop()
        request = requests.current_request.get(None)
        if request is None or request.app is not self:
            self._server.wait()

    def __intake__(self, exchange: Exchange) -> Intake:
        if exchange.path != "*":
            exchange.path = f"/{exchange.path.strip('/')}"
        return super().__intake__(exchange)


def _to_response(value: object, function: Callable[..., Any]) -> responses.Response:
    if isinstance(value, str):
        return plain_text(value)
    if not isinstance(value, Response):
        raise _useless(f"returned {type(value).__name__}, neither str nor Response", function)
    body = value.body
    if not isinstance(body, str | bytes):
        raise _useless(f"returned a Response whose body is {type(body).__name__}, not str or bytes", function)
    answer = plain_text(body) if isinstance(body, str) else responses.Response(body)
    answer.status_code = int(value.status_code)
    if "content-type" in value.headers:
        answer.raw_headers.clear()
    answer.raw_headers += [field for field in value.headers.raw if field[0].lower() != b"content-length"]
    return answer


def _useless(what: str, function: Callable[..., Any]) -> HTTPException:
    logger.error("%s %s", describe(function), what)
    return HTTPException(500, f"The handler {what}.")


def _listen(app: App, settings: Settings) -> ResidentServer | None:
    """Begin to serve, unless the command line imports the program to serve it itself."""
    from ..server import worker
    from ..server.resident import ResidentServer

    if worker.importing:
        return None
    server = ResidentServer(app, settings)
    try:
        server.start()
    except StartError as error:
        print(f"weebill: {error}", file=sys.stderr)
        raise SystemExit(3) from None
    return server
