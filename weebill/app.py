"""App: a Router that answers. It finds the route at the end of the head, and runs its composed answer."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from .binding import Handler, bind, bind_handler, parameters
from .bridges import adapt
from .bridges.asgi import serve_scope
from .error_pages import debug_response, error_response
from .errors import (
    BodyTooLarge,
    ClientDisconnected,
    ConfigurationError,
    HandlerTimeout,
    HTTPException,
    ProtocolError,
    ResponseError,
    SignatureError,
)
from .exchange import UNWANTED, Application, Exchange, Intake
from .functions import describe, is_async
from .mount import Mount, MountResponse
from .pipeline import AfterHookFailed, after_steps, compose, handle_error, run_steps
from .requests import Request, current_request
from .responses import RedirectResponse, Response
from .router import Route, Router
from .routing import RouteTable, compile_pattern
from .settings import load
from .static import StaticFiles
from .templates import Templates
from .threads import run_in_thread

__all__ = ["App"]

logger = logging.getLogger("weebill")

F = TypeVar("F", bound=Callable[..., Any])
Lifespan = Callable[..., AbstractAsyncContextManager[Any]]


class App(Router):
    """A web application: register handlers on it, then `run()` it, or serve it with `weebill run`.

    `name` is the module's `__name__` as with Flask; without it the folder of the file that makes the App
    counts. `templates` is the folder of its templates, seen from there, or a list of them. `debug` shows
    tracebacks to the client. `secret_key` signs sessions and tokens; of several the first signs, and the
    others are still accepted. `redirect_slashes` answers a path whose other spelling, with or without a slash
    at its end, has a route, with 308. `lifespan` is an async context manager around the App's life, called
    with the App.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        templates: str | Path | Sequence[str | Path] | None = None,
        debug: bool = False,
        secret_key: str | Sequence[str] | None = None,
        redirect_slashes: bool = False,
        lifespan: Lifespan | None = None,
    ) -> None:
        super().__init__()
        in_console = hasattr(sys, "ps1")
        if sys.excepthook is sys.__excepthook__ and not in_console:  # nobody else has a say in it
            sys.excepthook = _tell_mistakes_in_a_sentence
        module = vars(sys.modules[name]) if name in sys.modules else sys._getframe(1).f_globals
        file = module.get("__file__")  # a console has none
        self.root = Path(file).resolve().parent if file else Path.cwd()
        self.debug = debug
        self.secret_key = secret_key
        self.redirect_slashes = redirect_slashes
        folders = ["templates"] if templates is None else templates
        folders = [folders] if isinstance(folders, str | Path) else folders
        self.templates = Templates(
            [self.root / folder for folder in folders], {"url_for": self.url_for}, lambda: self.debug
        )
        for folder in self.templates.folders if templates is not None else ():
            if not folder.is_dir():
                raise ConfigurationError(f"the template folder {folder} does not exist")
        self._table: RouteTable[Route] = RouteTable()
        self._by_name: dict[str, list[Route]] = {}
        self._mounts: list[tuple[str, Application]] = []
        self._lifespan = lifespan and _as_context_manager(lifespan)
        self._on_startup: list[Handler] = []
        self._on_shutdown: list[Handler] = []
        self._stack = AsyncExitStack()
        self._missing = self._own_route(_raise_refusal)
        self._options = self._own_route(_answer_options)
        self._mounted = self._own_route(_answer_mounted)

    # -- registration

    def _own_route(self, handler: Handler) -> Route:
        return Route(compile_pattern("*"), (), handler, "", UNWANTED, (self,))

    def _register(self, route: Route) -> None:
        bind_handler(route.handler, route.pattern.converters, f"for {route.pattern.text}")
        self._table.add(route.pattern, route.methods, route)
        self._by_name.setdefault(route.name, []).append(route)

    def _changed(self) -> None:
        super()._changed()
        for route in (self._missing, self._options, self._mounted):
            route.answer = None

    def mount(self, prefix: str, app: Any) -> None:
        """Give everything below `prefix` to another application: an App, or any ASGI or WSGI program.

        Routes of our own go first, then the longest prefix. Raises ConfigurationError for a bad prefix and
        for something that is no application.
        """
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ConfigurationError(f"the mount {prefix!r} must begin with a slash and not end with one")
        if any(prefix == other for other, _ in self._mounts):
            raise ConfigurationError(f"something is mounted at {prefix!r} already")
        self._mounts.append((prefix, adapt(app)))
        self._mounts.sort(key=lambda mount: -len(mount[0]))

    def static(self, prefix: str, folder: str | Path) -> None:
        """Serve the files of `folder`, seen from the App's own, below `prefix`.

        Raises ConfigurationError for a folder that is not there.
        """
        handler = StaticFiles(self.root / folder)
        self.add_route(prefix.rstrip("/") + "/{file:path}", handler, name="static")

    def on_startup(self, function: F) -> F:
        """Call `function` before the first request."""
        bind(function, (), "as a startup function")
        self._on_startup.append(function)
        return function

    def on_shutdown(self, function: F) -> F:
        """Call `function` after the last answer, the last registered first."""
        bind(function, (), "as a shutdown function")
        self._on_shutdown.append(function)
        return function

    def lifespan(self, function: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        """Run the part of an async generator before its `yield` at start, and the rest at the end."""
        self._lifespan = _as_context_manager(function)
        return function

    def template_filter(self, name: str | None = None) -> Callable[[F], F]:
        """Make the function a filter of the templates, under its own name or `name`.

        >>> app = App()
        >>> @app.template_filter()
        ... def shout(text: str) -> str:
        ...     return text.upper()
        >>> str(app.templates.render_string("{{ 'hello'|shout }}"))
        'HELLO'
        """
        return _adds_to(self.templates, "filters", name)

    def template_global(self, name: str | None = None) -> Callable[[F], F]:
        """Give all templates the function, under its own name or `name`.

        >>> app = App()
        >>> @app.template_global()
        ... def version() -> str:
        ...     return "1.0"
        >>> str(app.templates.render_string("{{ version() }}"))
        '1.0'
        """
        return _adds_to(self.templates, "globals", name)

    def context_processor(self, function: F) -> F:
        """Give templates the names in the dict that `function()` returns, each time that one is rendered.

        >>> app = App()
        >>> @app.context_processor
        ... def names() -> dict[str, str]:
        ...     return {"site": "Birds"}
        >>> str(app.templates.render_string("{{ site }}"))
        'Birds'
        """
        self.templates.processors.append(function)
        return function

    def url_for(self, name: str, /, **params: object) -> str:
        """The path of the route called `name`, with `params` in their places and the rest as a query.

        Raises ConfigurationError that names the routes there are, or the parameter that is missing.
        """
        if not (routes := self._by_name.get(name)):
            raise ConfigurationError(f"no route is named {name!r}; there are {', '.join(self._by_name)}")
        problem = None
        for route in routes:
            in_path = {k: v for k, v in params.items() if k in route.pattern.converters}
            query = {k: v for k, v in params.items() if k not in in_path and v is not None}
            try:
                path = route.pattern.fill(in_path)
            except ValueError as error:
                problem = error
                continue
            request = current_request.get(None)
            root = request.root_path if request is not None and request.app is self else ""
            return root + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        raise ConfigurationError(f"url_for({name!r}): {problem}")

    def run(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve until stopped; `options` are those of the settings table. Ends the process with exit code 3
        and one sentence when the server cannot start, or an option is wrong."""
        from .server.worker import main  # the application knows the server only here

        try:
            settings = load({"host": host, "port": port, **options})
        except ConfigurationError as error:
            print(f"weebill: {error}", file=sys.stderr)
            raise SystemExit(3) from None
        self.debug = self.debug or settings.debug
        main(self, settings)

    # -- the contract with the wire (exchange.Application)

    async def __startup__(self) -> None:
        self._stack = AsyncExitStack()
        try:
            for _, application in self._mounts:
                await application.__startup__()
                self._stack.push_async_callback(application.__shutdown__)
            for middleware in self._all_middlewares():
                await self._start_middleware(middleware)
            if self._lifespan is not None:
                await self._stack.enter_async_context(self._lifespan(self))
            for function in self._on_shutdown:
                self._stack.push_async_callback(_call, function)
            for function in self._on_startup:
                await _call(function)
            for route in self.routes:
                self._composed(route)
        except BaseException:
            await self._stack.aclose()
            raise

    def _all_middlewares(self) -> list[Handler]:
        """Every middleware of every router, once, the outermost first."""
        routes = (self._missing, *self.routes)
        return list(dict.fromkeys(m for route in routes for r in route.routers for m in r.middlewares))

    async def _start_middleware(self, middleware: Handler) -> None:
        """A middleware may have `startup(app)` and `shutdown()`, plain or async."""
        if (startup := getattr(middleware, "startup", None)) is not None:
            await _call(startup, self)
        if (shutdown := getattr(middleware, "shutdown", None)) is not None:
            self._stack.push_async_callback(_call, shutdown)

    async def __shutdown__(self) -> None:
        await self._stack.aclose()

    def __intake__(self, exchange: Exchange) -> Intake:
        if exchange.refusal is None:
            found = self._table.match(exchange.method, exchange.path)
            if found is None:
                return self._miss(exchange)
            route, exchange.params = found
            exchange.route = route
            return route.intake
        exchange.route = self._missing
        return UNWANTED

    def _miss(self, exchange: Exchange) -> Intake:
        """No route: a mount, an OPTIONS that comes by itself, or a refusal."""
        path = exchange.path
        allowed = self._table.allowed(path)
        if not allowed:
            for prefix, application in self._mounts:
                if path == prefix or path.startswith(prefix + "/"):
                    mount = Mount(application, prefix, exchange)
                    intake = mount.intake()
                    exchange.route, exchange.params = self._mounted, {"mount": mount}
                    return intake
        if exchange.method == "OPTIONS" and (allowed or exchange.target == "*"):
            exchange.route, exchange.params = self._options, {"allow": _allow(allowed)}
            return UNWANTED
        exchange.route = self._missing
        if allowed:
            exchange.refusal = HTTPException(405, headers={"allow": _allow(allowed)})
        else:
            exchange.refusal = HTTPException(404)
            other = path[:-1] if path.endswith("/") else path + "/"
            if self.redirect_slashes and self._table.match(exchange.method, other) is not None:
                exchange.params = {"location": _other_spelling(exchange)}
        return UNWANTED

    async def __exchange__(self, exchange: Exchange) -> None:
        request = Request(exchange, self)
        current_request.set(request)
        route: Route = exchange.route
        if exchange.refusal is not None and route is not self._missing:
            route = self._refusing(route)
        try:
            try:
                response = await (route.answer or self._composed(route))(request)
            except Exception as error:  # a middleware's own
                response = await self._recover_outside(request, route, error)
            try:
                await response.send(exchange)
            except Exception as error:
                await self._send_failed(request, route, error)
        finally:
            if request._afterwards is not None:
                await request._afterwards.run()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The App as an ASGI application, for other servers."""
        await serve_scope(self, scope, receive, send)

    # -- composing and recovering

    def _composed(self, route: Route) -> Any:
        async def recover(request: Request, error: Exception) -> Response:
            return await self._recover(request, route, error)

        route.answer = compose(route, recover)
        return route.answer

    def _refusing(self, route: Route) -> Route:
        """The same route with what the wire holds against the request in the handler's place."""
        return Route(compile_pattern("*"), (), _raise_refusal, route.name, UNWANTED, route.routers)

    async def _recover(self, request: Request, route: Route, error: Exception) -> Response:
        """The answer to an exception: the nearest handler for it, else the standard page."""
        if request._afterwards is not None and request._afterwards.error is None:
            request._afterwards.error = error
        if isinstance(error, ProtocolError):  # in the middle of a streamed content
            error = HTTPException(error.status_code, error.detail)
        handler = _error_handler(route.routers, error)
        if isinstance(error, HandlerTimeout):
            self._log(request, route, error)
        elif handler is None and not isinstance(error, HTTPException):
            self._log(request, route, error)
            handler = _error_handler(route.routers, HTTPException(500))
        if handler is not None:
            try:
                return await handle_error(handler, request, error)
            except Exception as second:
                error = second
                self._log(request, route, error)
        if isinstance(error, HTTPException):
            return error_response(request, error)
        return debug_response(request, error) if self.debug else error_response(request, HTTPException(500))

    async def _recover_outside(self, request: Request, route: Route, error: Exception) -> Response:
        """The answer to an exception from a middleware; it passes the after hooks like any other."""
        response = await self._recover(request, route, error)
        try:
            passed: Response = await run_steps(after_steps(route.routers), request, response)
        except Exception as second:
            self._log(request, route, second.error if isinstance(second, AfterHookFailed) else second)
            return error_response(request, HTTPException(500))
        return passed

    async def _send_failed(self, request: Request, route: Route, error: Exception) -> None:
        """An answer broke while it was sent: another in its place, or, once it has begun, an end that the
        client sees."""
        exchange = request.exchange
        if isinstance(error, ClientDisconnected):
            return
        if exchange.started:
            self._log(request, route, error)
            exchange.abort()
            return
        response = await self._recover_outside(request, route, error)
        try:
            await response.send(exchange)
        except ClientDisconnected:
            return
        except ResponseError as second:
            self._log(request, route, second)
            exchange.abort()

    def _log(self, request: Request, route: Route, error: Exception) -> None:
        """One entry for each failure. A sentence is enough for a mistake in how Weebill is used."""
        if isinstance(error, ClientDisconnected | ProtocolError | BodyTooLarge):  # the wire tells of its peer
            return
        request.exchange.failure = request.exchange.failure or error
        is_sentence = isinstance(error, ConfigurationError | ResponseError | HandlerTimeout)
        handler = describe(route.handler)
        logger.error(
            "%s %s [%s] failed%s: %s",
            request.method,
            request.target,
            request.id,
            "" if handler in str(error) else f" in {handler}",
            error if is_sentence else f"{type(error).__name__}: {error}",
            exc_info=None if is_sentence else error,
        )


def _adds_to(templates: Templates, table: str, name: str | None) -> Callable[[F], F]:
    if callable(name):
        raise ConfigurationError(f"write parentheses: @app.template_{table[:-1]}(), above {describe(name)}")

    def add(function: F) -> F:
        getattr(templates.environment, table)[name or function.__name__] = function
        return function

    return add


def _error_handler(routers: Iterable[Router], error: Exception) -> Handler | None:
    """The handler of the innermost router for this status, else for the nearest class of the exception."""
    status = error.status_code if isinstance(error, HTTPException) else None
    for router in reversed(tuple(routers)):
        if status in router.error_handlers:
            return router.error_handlers[status]
        for kind in type(error).__mro__:
            if kind in router.error_handlers:
                return router.error_handlers[kind]
    return None


def _as_context_manager(lifespan: Callable[..., Any]) -> Lifespan:
    """`lifespan`, whether it is decorated with asynccontextmanager already or not."""
    if len(parameters(lifespan, "as a lifespan")) != 1:
        raise SignatureError(f"the lifespan {describe(lifespan)} must take one parameter, the app")
    return asynccontextmanager(lifespan) if inspect.isasyncgenfunction(lifespan) else lifespan


def _tell_mistakes_in_a_sentence(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """sys.excepthook: a mistake in how Weebill is used says itself where it is; all else has a traceback."""
    if isinstance(error, ConfigurationError):
        print(f"weebill: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


async def _raise_refusal(request: Request) -> Response:
    if "location" in request.params:
        return RedirectResponse(request.params["location"], 308)
    refusal = request.exchange.refusal
    assert refusal is not None
    raise refusal


async def _answer_options(request: Request) -> Response:
    status = 200 if request.target == "*" else 204
    return Response(b"", status, {"allow": request.params["allow"]})


def _allow(methods: set[str]) -> str:
    return ", ".join(sorted({"OPTIONS", *methods}))


async def _answer_mounted(request: Request) -> Response:
    return MountResponse(request.params["mount"])


def _other_spelling(exchange: Exchange) -> str:
    raw = exchange.raw_path
    # One slash in front, or the browser would take what follows for a host.
    path = "/" + (raw[:-1] if raw.endswith("/") else raw + "/").lstrip("/")
    location = exchange.root_path + path + (f"?{exchange.query_string}" if exchange.query_string else "")
    return location.replace("\\", "%5C")


async def _call(function: Handler, *args: Any) -> None:
    await (function(*args) if is_async(function) else run_in_thread(function, *args))
