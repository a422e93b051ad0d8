"""Router: where routes, hooks, middleware and error handlers are registered. App is a Router that runs.

A router owns what is registered on it. `include` hangs it below another one under a prefix; what is
registered later still arrives there. A route remembers its routers from the outermost to its own, and
pipeline.py composes their hooks and middleware around its handler.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from .binding import Handler, bind_hook
from .errors import ConfigurationError, PatternError, SignatureError
from .exchange import Intake
from .functions import describe, is_async, is_generator
from .routing import Pattern, compile_pattern
from .settings import parse_duration, parse_size

__all__ = ["Route", "Router"]

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Z]+")  # a token (RFC 9110 section 9.1)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True, eq=False)
class Route:
    """One handler at one pattern. `answer` is composed from `routers` when it is first needed."""

    pattern: Pattern
    methods: tuple[str, ...]
    handler: Handler
    name: str
    intake: Intake
    routers: tuple[Router, ...]
    timeout: float | None = None
    answer: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return describe(self.handler)


class Router:
    """A group of routes with their own hooks, middleware and error handlers.

    `prefix` goes before every path of the group: "" or "/api", without a slash at its end.
    """

    def __init__(self, prefix: str = "") -> None:
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ConfigurationError(f"the prefix {prefix!r} must begin with a slash and not end with one")
        self.prefix = prefix
        self.routes: list[Route] = []
        self.before_hooks: list[Handler] = []
        self.after_hooks: list[Handler] = []
        self.middlewares: list[Handler] = []
        self.error_handlers: dict[int | type[BaseException], Handler] = {}
        self._parents: list[tuple[Router, str]] = []

    # -- routes

    def route(
        self,
        path: str,
        methods: Iterable[str] = ("GET",),
        *,
        name: str | None = None,
        stream: bool = False,
        max_body: int | str | None = None,
        timeout: float | str | None = None,
        cancel_on_disconnect: bool = False,
    ) -> Callable[[F], F]:
        """Answer `methods` at `path` with the decorated handler, which is returned as it is.

        `path` begins with a slash and may hold parameters ("/user/{id:int}"). `name` is for `url_for`, by
        default the handler's. `stream`: the handler starts before the content has come and reads
        `request.stream()`. `max_body`: the longest content, in bytes or as "1MiB", instead of the server's
        limit. `timeout`: seconds, or "5s", that the handler may take, beyond it 503; an `async def` is
        cancelled then, while the thread of a `def` cannot be stopped and goes on. `cancel_on_disconnect`:
        the handler is cancelled when its client goes away.

        Raises PatternError, SignatureError or DuplicateRoute, which name the handler and the path.
        """
        if not isinstance(path, str):
            raise ConfigurationError(
                f"the path is {_shown(path)}, no text; write the decorator like @app.get('/path')"
            )
        if isinstance(methods, str):
            raise ConfigurationError(f"methods of {path!r} is a text; write methods=[{methods!r}]")

        def register(handler: F) -> F:
            size = _parsed(max_body, parse_size, "max_body", path, handler)
            intake = Intake(stream=stream, max_body=size, cancel_on_disconnect=cancel_on_disconnect)
            seconds = _parsed(timeout, parse_duration, "timeout", path, handler)
            self.add_route(path, handler, methods, name=name, intake=intake, timeout=seconds)
            return handler

        return register

    def add_route(
        self,
        path: str,
        handler: Handler,
        methods: Iterable[str] = ("GET",),
        *,
        name: str | None = None,
        intake: Intake | None = None,
        timeout: float | None = None,
    ) -> None:
        """What `route` does, without the decorator."""
        if not callable(handler):
            raise SignatureError(f"the handler of {path!r} is {handler!r}, which cannot be called")
        if not path.startswith("/") and (path or not self.prefix):
            raise ConfigurationError(f"the path {path!r} of {describe(handler)} must begin with a slash")
        if "<" in path:
            raise PatternError(
                f"a parameter of {path!r}, the path of {describe(handler)}, is written {{name}}"
            )
        upper = tuple(method.upper() for method in methods)
        if not upper or not all(_METHOD.fullmatch(method) for method in upper):
            raise ConfigurationError(f"the methods of {path!r}, {describe(handler)}, are {list(upper)!r}")
        _check_timeout(timeout, path, handler)
        own_name = name or str(getattr(handler, "__name__", type(handler).__name__))
        self._adopt(self.prefix + path, upper, handler, own_name, intake or Intake(), timeout, ())

    def _adopt(
        self,
        path: str,
        methods: tuple[str, ...],
        handler: Handler,
        name: str,
        intake: Intake,
        timeout: float | None,
        inner: tuple[Router, ...],
    ) -> None:
        """Take a route of our own, or of a router included in us, and hand it on to our parents."""
        try:
            pattern = compile_pattern(path)
        except PatternError as error:
            raise PatternError(f"{error}; it is the path of {describe(handler)}") from None
        route = Route(pattern, methods, handler, name, intake, (self, *inner), timeout)
        self._register(route)
        self.routes.append(route)
        for parent, prefix in self._parents:
            parent._adopt(prefix + path, methods, handler, name, intake, timeout, route.routers)

    def _register(self, route: Route) -> None:
        """Check a route before it is kept; App puts it into its table here."""

    def get(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for GET (and HEAD)."""
        return self.route(path, ("GET",), **options)

    def post(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for POST."""
        return self.route(path, ("POST",), **options)

    def put(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for PUT."""
        return self.route(path, ("PUT",), **options)

    def patch(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for PATCH."""
        return self.route(path, ("PATCH",), **options)

    def delete(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for DELETE."""
        return self.route(path, ("DELETE",), **options)

    def head(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for HEAD, where the one that comes with GET will not do."""
        return self.route(path, ("HEAD",), **options)

    def options(self, path: str, **options: Any) -> Callable[[F], F]:
        """`route` for OPTIONS, where the one that comes by itself will not do."""
        return self.route(path, ("OPTIONS",), **options)

    def include(self, router: Router, prefix: str = "") -> None:
        """Take in the routes of `router`, now and later, below `prefix` and its own prefix."""
        if not isinstance(router, Router):
            raise ConfigurationError(
                f"include takes a Router, not {router!r}; mount takes other applications"
            )
        if router is self or any(parent is router for parent in self._ancestors()):
            raise ConfigurationError("a router cannot include itself")
        whole = self.prefix + prefix
        router._parents.append((self, whole))
        for r in router.routes:
            self._adopt(whole + r.pattern.text, r.methods, r.handler, r.name, r.intake, r.timeout, r.routers)

    def _ancestors(self) -> list[Router]:
        return [a for parent, _ in self._parents for a in (parent, *parent._ancestors())]

    # -- what happens around a handler

    def before_request(self, hook: F) -> F:
        """Call `hook` before each handler of this router. It may take `request`; a value that it returns is
        the answer, and the handler is not called."""
        bind_hook(hook, "", "as a before_request hook")
        self.before_hooks.append(hook)
        self._changed()
        return hook

    def after_request(self, hook: F) -> F:
        """Call `hook` with each answer of this router, errors too. It takes `response`, and `request` if it
        likes; it changes the response or returns another."""
        bind_hook(hook, "response", "as an after_request hook")
        self.after_hooks.append(hook)
        self._changed()
        return hook

    def middleware(self, middleware: F) -> F:
        """Wrap all answers of this router in `async (request, call_next) -> Response`. The first that is
        registered is the outermost."""
        if not is_async(middleware):
            raise SignatureError(
                f"the middleware {describe(middleware)} must be `async def (request, call_next)`"
            )
        if not isinstance(middleware, type) and len(inspect.signature(middleware).parameters) != 2:
            raise SignatureError(f"the middleware {describe(middleware)} must take (request, call_next)")
        self.middlewares.append(middleware)
        self._changed()
        return middleware

    def errorhandler(self, case: int | type[BaseException]) -> Callable[[F], F]:
        """Answer a status, or an exception of a class or its subclasses, with the decorated function.

        It takes the exception, and `request` if it likes; what it returns is made a Response, with the
        status of the error unless it names another. Raises ConfigurationError for anything else.
        """
        is_status = isinstance(case, int) and 400 <= case <= 599
        if not is_status and not (isinstance(case, type) and issubclass(case, Exception)):
            raise ConfigurationError(
                f"errorhandler takes a status from 400 to 599 or an Exception, not {_shown(case)}"
            )

        def register(handler: F) -> F:
            bind_hook(handler, "error", "as an error handler")
            self.error_handlers[case] = handler
            self._changed()
            return handler

        return register

    def _changed(self) -> None:
        """Have the answers composed again: a hook or a middleware has come."""
        for route in self.routes:
            route.answer = None
        for parent, _ in self._parents:
            parent._changed()


def _parsed(value: Any, parse: Callable[[str], T], option: str, path: str, handler: Handler) -> T | None:
    """An option of a route that may be written as in the settings: "1MiB", "5s"."""
    try:
        return parse(value) if isinstance(value, str) else cast("T | None", value)
    except ValueError as error:
        raise ConfigurationError(f"the {option} of {path!r}, {describe(handler)}: {error}") from None


def _check_timeout(timeout: float | None, path: str, handler: Handler) -> None:
    if timeout is None:
        return
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise ConfigurationError(
            f"the timeout of {path!r}, {describe(handler)}, is {timeout!r}; it is a number of seconds above 0"
        )
    if is_generator(handler):
        raise ConfigurationError(
            f"{describe(handler)} at {path!r} is a generator, which has no timeout: its stream may last; "
            "limit what it waits for"
        )


def _shown(value: object) -> str:
    return describe(value) if callable(value) else repr(value)
