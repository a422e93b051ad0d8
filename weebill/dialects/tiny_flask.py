"""Programs written for TinyFlask, on Weebill.

    app = HTTPServer(4221)             # listens from here on, in threads of its own

    @app.route("/echo/{string}")
    def echo(request, string):         # the request, and each {segment} of the path by its name
        return string                  # or a Response

Slashes at both ends of a path mean nothing here. HTTPServer is an App, so everything else that an App can
do is there too, and `weebill run` takes it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from .. import requests, responses
from ..app import App
from ..binding import describe
from ..compression import CompressionMiddleware
from ..errors import HTTPException, StartError
from ..exchange import Exchange, Intake
from ..headers import MutableHeaders
from ..routing import compile_pattern
from ..settings import load
from ..threads import WorkerThreads
from .common import check_call, plain_text, stand_in, text_of

if TYPE_CHECKING:
    from ..server.background import BackgroundServer

__all__ = ["HTTPServer", "Request", "Response"]

logger = logging.getLogger("weebill")

F = TypeVar("F", bound=Callable[..., Any])


class Request:
    """What a handler sees. `headers` has names in lower case; `target` is path and query as they were sent."""

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

    def __init__(
        self, version: str = "HTTP/1.1", status_code: int | str = "200", reason: str = "OK"
    ) -> None:
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
    `stop_server()`; so long the process stays alive. Port 0 takes a free one. Ends the process with exit
    code 3 and one sentence when it cannot listen. Options that are not said here come from the environment.
    """

    def __init__(self, port: int) -> None:
        super().__init__(sys._getframe(1).f_globals.get("__name__"))
        self.middleware(CompressionMiddleware())
        self._client_time_out = 120.0
        self._server = _listen(self, port)
        self._stopping = False
        if self._server is not None:
            self.client_time_out = self._server.worker.settings.idle_timeout
            self.on_shutdown(self._ended)
            _keep(self)

    @property
    def port(self) -> int | None:
        """Where it listens; None while somebody else serves it (`weebill run`)."""
        return self._server.port if self._server is not None else None

    @property
    def client_time_out(self) -> float:
        """Seconds after which an idle connection is closed; a change holds at once. 120 by default."""
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
            names = compile_pattern(path).converters
            call = f"f({', '.join(('request', *(f'{name}=...' for name in names)))})"
            check_call(function, path, call, 1, names)

            def answer(request: requests.Request) -> responses.Response:
                return _answer(function(Request(request), **request.params), function)

            register(stand_in(function, answer))
            return function

        return decorate

    def stop_server(self) -> None:
        """Stop gracefully and return when all has ended; from a handler at once, for what it is going to
        return is among the answers that are awaited."""
        if self._server is None:
            return
        if not self._stopping:
            self._begin_stop()
        request = requests.current_request.get(None)
        if request is None or request.app is not self:
            self._server.wait()
```
