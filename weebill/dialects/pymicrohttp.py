"""Programs written for PyMicroHTTP, on Weebill.

    s = Server()

    @s.register("GET /users/:id")             # or "* /ping" for any verb
    def show(request):                        # a dict: verb path body headers params query
        return {"id": request["params"]["id"]}

    s.start_server(port=9090)

A handler returns a dict or list (JSON), str, bytes, None (204), (body, status) or (body, status, headers).
Middleware is a function from the next handler to a handler. Server is an App, so `weebill run` takes it.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar

from ..app import App
from ..error_pages import error_response
from ..errors import HTTPException, PatternError, SignatureError
from ..exchange import Exchange, Intake
from ..functions import describe
from ..requests import Request
from ..responses import Response, to_response
from ..settings import load
from .common import check_call, plain_text, stand_in, text_of, with_text_as

__all__ = ["Server"]

F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[[dict[str, Any]], Any]
Middleware = Callable[[Handler], Handler]

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
ANY = "*"

# What the outermost wrappers, which are composed once for all handlers, come to in the end.
_innermost: ContextVar[Handler] = ContextVar("innermost")


class Server(App):
    """Handlers by verb and path: `register` them, then `start_server`."""

    def __init__(self) -> None:
        super().__init__(sys._getframe(1).f_globals.get("__name__"))
        # By pattern and verb: the names of the parameters, and the handler in its middleware.
        self._by_pattern: dict[str, dict[str, tuple[list[str], Handler]]] = {}
        self._routed: set[tuple[str, str]] = set()  # patterns and methods that the App knows
        self._wrappers: list[Middleware] = []
        self._outermost: Handler | None = None  # composed when it is first needed
        self._composing = threading.Lock()
        self.errorhandler(HTTPException)(self._answer_refused)

    # -- registration

    def register(
        self, key: str, middleware: Middleware | Iterable[Middleware] | None = None
    ) -> Callable[[F], F]:
        """Answer `key`, like "GET /users/:id", with the decorated function, in its middleware, of which the
        first is the outermost. The same key again replaces. Raises ValueError that shows a bad key."""

        def decorate(handler: F) -> F:
            self.register_handler(key, handler, middleware)
            return handler

        return decorate

    def register_handler(
        self, key: str, handler: Handler, middleware: Middleware | Iterable[Middleware] | None = None
    ) -> None:
        """What `register` does, without the decorator."""
        verb, pattern, names = _parse(key)
        check_call(handler, key, ("request",), ())
        by_verb = self._by_pattern.setdefault(pattern, {})
        by_verb[verb] = names, _wrapped(handler, middleware, key)
        methods = {*VERBS, ANY} if verb == ANY else {verb, "OPTIONS"}
        if new := {method for method in methods if (pattern, method) not in self._routed}:
            self._routed.update((pattern, method) for method in new)
            self.add_route(pattern, stand_in(handler, lambda request: self._dispatch(by_verb, request)), new)

    def before_all(self) -> Callable[[F], F]:
        """Wrap all handlers in the decorated middleware, the first outermost. It sees 404s too."""

        def decorate(middleware: F) -> F:
            check_call(middleware, "before_all", ("next",), ())
            self._wrappers.append(middleware)
            self._outermost = None
            return middleware

        return decorate

    beforeAll = before_all  # noqa: N815

    def start_server(self, host: str = "localhost", port: int = 9090, listen_msg: bool = False) -> None:
        """Serve until stopped. `listen_msg` tells in the log where it listens. Other options come from the
        environment. Ends the process with exit code 3 and one sentence when it cannot listen."""
        from ..server.worker import main

        level = "info" if listen_msg else "warning"
        main(self, load({"host": host, "port": port}, defaults={"log_level": level}))

    # -- answering

    def __intake__(self, exchange: Exchange) -> Intake:
        method = exchange.method
        if method == "TRACE" and exchange.refusal is None:  # it would show credentials to scripts
            exchange.refusal = HTTPException(501)
        if method in VERBS or exchange.refusal is not None:
            return super().__intake__(exchange)
        exchange.method = ANY  # only such a handler takes a verb that we have not heard of
        try:
            return super().__intake__(exchange)
        finally:
            exchange.method = method

    def _dispatch(self, by_verb: dict[str, tuple[list[str], Handler]], request: Request) -> Response:
        method = request.method
        for verb in (method, "GET" if method == "HEAD" else ANY, ANY):
            if verb in by_verb:
                names, handler = by_verb[verb]
                return self._answer(request, handler, dict(zip(names, request.params.values(), strict=True)))
        # The OPTIONS that comes by itself; the wrappers may want to add to it.
        allow = ", ".join(sorted({*by_verb, "OPTIONS", *(("HEAD",) if "GET" in by_verb else ())}))
        return self._answer(request, lambda _: (b"", 204, {"Allow": allow}), {})

    def _answer_refused(self, request: Request, error: Exception) -> Response:
        """The answer to a status that was raised. One that was found before any handler was called, as 404
        is, goes through the wrappers."""
        page = error_response(request, error if isinstance(error, HTTPException) else HTTPException(500))
        if error is not request.exchange.refusal:
            return page
        return self._answer(request, lambda _: (page.content, page.status_code, page.headers), {})

    def _answer(self, request: Request, handler: Handler, params: dict[str, Any]) -> Response:
        seen = {
            "verb": request.method,
            "path": request.path,
            "body": text_of(request.body),
            "headers": request.headers,
            "params": params,
            "query": _last_values(request),
        }
        _innermost.set(handler)
        value = self._through_wrappers()(seen)
        return to_response(with_text_as(plain_text, value), handler)

    def _through_wrappers(self) -> Handler:
        with self._composing:
            if self._outermost is None:
                self._outermost = _wrapped(
                    lambda request: _innermost.get()(request), self._wrappers, "before_all"
                )
            return self._outermost


def _parse(key: str) -> tuple[str, str, list[str]]:
    """The verb, the pattern for the App, in which parameters have numbers, and their names."""
    verb, _, path = key.partition(" ") if isinstance(key, str) else ("", "", "")
    segments = path.split("/")
    names = [segment[1:] for segment in segments if segment.startswith(":")]
    bad_path = not path.startswith("/") or re.search(r"[\s?]", path) or "" in names
    if verb not in (*VERBS, ANY) or bad_path:
        raise PatternError(f"{key!r} is no verb and path; write it like 'GET /users/:id' or '* /ping'")
    if len(set(names)) != len(names):
        raise PatternError(f"{key!r} has two parameters of the same name")
    numbers = iter(range(len(names)))
    pattern = "/".join(f"{{p{next(numbers)}}}" if s.startswith(":") else s for s in segments)
    return verb, pattern, names


def _wrapped(handler: Handler, middleware: Middleware | Iterable[Middleware] | None, where: str) -> Handler:
    """`handler` in its middleware, the first outermost."""
    rows = [middleware] if callable(middleware) else list(middleware or ())
    for wrap in reversed(rows):
        handler = wrap(handler)
        if not callable(handler):
            raise SignatureError(
                f"the middleware {describe(wrap)} of {where} returned {handler!r}, which is no handler"
            )
    return handler


def _last_values(request: Request) -> dict[str, str]:
    try:
        return {name: request.query.getlist(name)[-1] for name in request.query}
    except HTTPException:  # too many
        if request.exchange.refusal is None:
            raise
        return {}  # it is refused already
