"""Router: where routes, hooks, middleware and error handlers are registered. App is a Router that runs.

A router owns what is registered on it. `include` hangs it below another one, at a Place: a prefix, and a
name and a host if it has them. What is registered later still arrives there. A route remembers its routers
from the outermost to its own, and pipeline.py composes their hooks and middleware around its handler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Never, TypeVar, Unpack

from msgspec import Struct
from msgspec.structs import replace

from .binding import Handler, bind_hook
from .bridges import adapt
from .errors import ConfigurationError, PatternError, SignatureError
from .exchange import UNWANTED, Application, Intake
from .functions import describe
from .habits import missing_attribute, unknown_options
from .mount import answer_mounted
from .route_options import (
    RouteOptions,
    check_middleware,
    check_options,
    intake_of,
    middlewares_of,
    timeout_of,
    with_options,
)
from .routing import Converter, Pattern, compile_host, compile_pattern

__all__ = ["Area", "Place", "Route", "Router"]

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Z]+")  # a token (RFC 9110 section 9.1)

F = TypeVar("F", bound=Callable[..., Any])


class Route(Struct, eq=False):
    """One handler at one pattern, or one other application below it. `answer` is composed from `routers` when
    it is first needed."""

    pattern: Pattern
    methods: tuple[str, ...]
    handler: Handler
    name: str
    intake: Intake
    routers: tuple[Router, ...]
    timeout: float | None = None
    middlewares: tuple[Handler, ...] = ()
    host: Pattern | None = None
    places: tuple[Place, ...] = ()  # where its router was included, the outermost first
    application: Application | None = None  # of a mount
    answer: Any = None

    def __str__(self) -> str:
        return describe(self.handler)

    @property
    def whole_chain(self) -> list[Handler]:
        """The middleware of its routers and its own, the outermost first."""
        return [*(m for router in self.routers for m in router.middlewares), *self.middlewares]

    @property
    def converters(self) -> dict[str, Converter]:
        """The parameters that a request brings: those of the host's name, then those of the path."""
        return {**(self.host.converters if self.host else {}), **self.pattern.converters}


class Area(Struct, frozen=True, eq=False):
    """The paths below a prefix belong to the innermost of `routers`, even those that have no route."""

    prefix: str
    host: Pattern | None
    routers: tuple[Router, ...]


class Place(Struct, frozen=True, eq=False):
    """Where a router was included: below `prefix` of `parent`."""

    parent: Router
    prefix: str
    name: str
    host: Pattern | None

    def route(self, route: Route) -> Route:
        """The same route, seen from the parent."""
        try:
            pattern = compile_pattern(self.prefix + route.pattern.text)
        except PatternError as error:
            raise PatternError(f"{error}; it is the path of {describe(route.handler)}") from None
        name = f"{self.name}.{route.name}" if self.name and route.name else route.name
        host, routers = _one_host(route.host, self.host), (self.parent, *route.routers)
        places = (self, *route.places)
        return replace(
            route, pattern=pattern, name=name, host=host, routers=routers, places=places, answer=None
        )

    def area(self, area: Area) -> Area:
        """The same area, seen from the parent."""
        return Area(self.prefix + area.prefix, _one_host(area.host, self.host), (self.parent, *area.routers))


class Router:
    """A group of routes with their own hooks, middleware and error handlers.

    `prefix` goes before every path of the group: "" or "/api", without a slash at its end; it may hold
    parameters. `name` goes before the names of its routes, for `url_for`: the route "index" of the router
    "admin" is "admin.index". `host` has the group answer to requests for that host only, whatever the port;
    parameters in it go to the handlers like those of the path.

    A path below the prefix belongs to the router even where it has no route: its hooks, middleware and error
    handlers see the 404 too.

    >>> admin = Router("/admin", name="admin")
    >>> @admin.get("/")
    ... def index():
    ...     return "secret"
    >>> app = App()
    >>> app.include(admin)
    >>> app.url_for("admin.index")
    '/admin/'
    >>> TestClient(app).get("/admin/").text
    'secret'
    """

    def __init__(self, prefix: str = "", *, name: str = "", host: str = "", **unknown: Never) -> None:
        if unknown:
            raise unknown_options(type(self).__name__, unknown, ("prefix", "name", "host"))
        self.prefix = _checked_prefix(prefix)
        self.name = name
        self.host = compile_host(host) if host else None
        self.routes: list[Route] = []
        self.areas: list[Area] = [Area(self.prefix, self.host, (self,))]
        self.before_hooks: list[Handler] = []
        self.after_hooks: list[Handler] = []
        self.middlewares: list[Handler] = []
        self.error_handlers: dict[int | type[BaseException], Handler] = {}
        self._places: list[Place] = []

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute(self, name)

    # -- routes

    @with_options
    def route(
        self, path: str, methods: Iterable[str] = ("GET",), **options: Unpack[RouteOptions]
    ) -> Callable[[F], F]:
        """Answer `methods` at `path` with the decorated handler, which is returned as it is.

        `path` begins with a slash and may hold parameters ("/user/{id:int}"). `name` is for `url_for`, by
        default the handler's. `stream`: the handler starts before the content has come and reads
        `request.stream()`. `max_body`: the longest content, in bytes or as "1MiB", instead of the server's
        limit. `timeout`: seconds, or "5s", that the handler may take, beyond it 503; an `async def` is
        cancelled then, while the thread of a `def` cannot be stopped and goes on. `cancel_on_disconnect`:
        the handler is cancelled when its client goes away. `middleware`: a list of what wraps the answers of
        this route alone, inside of its routers' middleware, the first outermost.

        Raises PatternError, SignatureError or DuplicateRoute, which name the handler and the path, and
        ConfigurationError for an option that there is not.

        >>> app = App()
        >>> @app.route("/note/{id:int}", methods=["GET", "DELETE"], name="note", timeout="5s")
        ... async def show_note(request, id):
        ...     return f"{request.method} {id}"
        >>> TestClient(app).delete("/note/7").text
        'DELETE 7'
        """
        if not isinstance(path, str):
            raise ConfigurationError(
                f"the path is {_shown(path)}, no text; write the decorator like @app.get('/path')"
            )
        if isinstance(methods, str):
            raise ConfigurationError(f"methods of {path!r} is a text; write methods=[{methods!r}]")
        check_options(path, options)

        def register(handler: F) -> F:
            self.add_route(path, handler, methods, **options)
            return handler

        return register

    @with_options
    def add_route(
        self,
        path: str,
        handler: Handler,
        methods: Iterable[str] = ("GET",),
        **options: Unpack[RouteOptions],
    ) -> None:
        """What `route` does, without the decorator.

        >>> app = App()
        >>> app.add_route("/", lambda: "hello")
        >>> TestClient(app).get("/").text
        'hello'
        """
        check_options(path, options)
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
        if never := {"CONNECT", "TRACE"} & set(upper):
            raise ConfigurationError(
                f"{never.pop()} at {path!r}, {describe(handler)}, is served nowhere here"
            )
        intake, timeout = intake_of(options, path, handler), timeout_of(options, path, handler)
        middlewares = middlewares_of(options, path)
        name = options.get("name") or str(getattr(handler, "__name__", type(handler).__name__))
        try:
            pattern = compile_pattern(self.prefix + path)
        except PatternError as error:
            raise PatternError(f"{error}; it is the path of {describe(handler)}") from None
        route = Route(pattern, upper, handler, name, intake, (self,), timeout, middlewares, self.host)
        self._adopt(route)

    def mount(self, prefix: str, app: Any) -> None:
        """Give everything below `prefix` to another application: an App, or any ASGI or WSGI program.

        "" is everything. A route that begins with the prefix itself goes before the mount, and the longest
        prefix before the others; the hooks and middleware of this router are around it. The application's
        startup and shutdown run with those of the App, once, even if it is mounted twice.

        Raises ConfigurationError for a bad prefix and for something that is no application.

        >>> def legacy(environ, start_response):
        ...     start_response("200 OK", [("Content-Type", "text/plain")])
        ...     return [environ["SCRIPT_NAME"].encode() + b" " + environ["PATH_INFO"].encode()]
        >>> app = App()
        >>> app.mount("/old", legacy)
        >>> TestClient(app).get("/old/page").text
        '/old /page'
        """
        if prefix == "/":
            prefix = ""
        pattern = compile_pattern(_checked_prefix(self.prefix + prefix, "mount"))
        if not pattern.is_static:
            raise ConfigurationError(f"the mount {pattern.text!r} must not have parameters")
        application = adapt(app)
        self._adopt(
            Route(pattern, (), answer_mounted, "", UNWANTED, (self,), host=self.host, application=application)
        )

    def _adopt(self, route: Route) -> None:
        """Take a route of our own, or of a router included in us, and hand it on to our parents."""
        if both := set(route.pattern.converters) & set(route.host.converters if route.host else ()):
            raise PatternError(
                f"path and host of {route.pattern.text!r}, {route}, have both a parameter {both.pop()!r}"
            )
        self._register(route)
        self.routes.append(route)
        for place in self._places:
            place.parent._adopt(place.route(route))

    def _adopt_area(self, area: Area) -> None:
        self.areas.append(area)
        for place in self._places:
            place.parent._adopt_area(place.area(area))

    def _register(self, route: Route) -> None:
        """Check a route before it is kept; App puts it into its table here."""

    @with_options
    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for GET (and HEAD).

        >>> app = App()
        >>> @app.get("/hello/{name}")
        ... def hello(name):
        ...     return f"Hello {name}"
        >>> TestClient(app).get("/hello/Ada").text
        'Hello Ada'
        """
        return self._route_for("GET", path, options)

    @with_options
    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for POST.

        >>> app = App()
        >>> @app.post("/")
        ... def handle():
        ...     return "by POST"
        >>> TestClient(app).post("/").text
        'by POST'
        """
        return self._route_for("POST", path, options)

    @with_options
    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for PUT.

        >>> app = App()
        >>> @app.put("/")
        ... def handle():
        ...     return "by PUT"
        >>> TestClient(app).put("/").text
        'by PUT'
        """
        return self._route_for("PUT", path, options)

    @with_options
    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for PATCH.

        >>> app = App()
        >>> @app.patch("/")
        ... def handle():
        ...     return "by PATCH"
        >>> TestClient(app).patch("/").text
        'by PATCH'
        """
        return self._route_for("PATCH", path, options)

    @with_options
    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for DELETE.

        >>> app = App()
        >>> @app.delete("/")
        ... def handle():
        ...     return "by DELETE"
        >>> TestClient(app).delete("/").text
        'by DELETE'
        """
        return self._route_for("DELETE", path, options)

    @with_options
    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for HEAD, where the one that comes with GET will not do.

        >>> app = App()
        >>> @app.head("/")
        ... def size():
        ...     return "", 200, {"x-size": "5"}
        >>> TestClient(app).head("/").headers["x-size"]
        '5'
        """
        return self._route_for("HEAD", path, options)

    @with_options
    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """`route` for OPTIONS, where the one that comes by itself will not do.

        >>> app = App()
        >>> @app.options("/")
        ... def handle():
        ...     return "by OPTIONS"
        >>> TestClient(app).options("/").text
        'by OPTIONS'
        """
        return self._route_for("OPTIONS", path, options)

    def _route_for(self, method: str, path: str, options: RouteOptions) -> Callable[[F], F]:
        check_options(path, options)  # methods= would be one of them
        return self.route(path, (method,), **options)

    def include(
        self, router: Router, prefix: str = "", *, name: str = "", host: str = "", **unknown: Never
    ) -> None:
        """Take in the routes of `router`, now and later, below `prefix` and its own prefix.

        `name` stands in the place of the router's own, `host` is for a router that has none. One router may
        be included several times, under other prefixes; `name` tells its routes apart then. Raises
        ConfigurationError for what is no Router, and for a router that would be inside itself.

        >>> notes = Router()
        >>> @notes.get("/notes")
        ... def index():
        ...     return "notes"
        >>> app = App()
        >>> app.include(notes, "/v1", name="v1")
        >>> app.include(notes, "/v2", name="v2")
        >>> app.url_for("v2.index")
        '/v2/notes'
        """
        if unknown:
            raise unknown_options("include", unknown, ("prefix", "name", "host"))
        if not isinstance(router, Router):
            raise ConfigurationError(
                f"include takes a Router, not {router!r}; mount takes other applications"
            )
        if router is self or any(parent is router for parent in self._ancestors()):
            raise ConfigurationError("a router cannot include itself")
        if hasattr(router, "__exchange__"):
            raise ConfigurationError(
                f"include takes a Router, not an App; write mount({prefix or '/prefix'!r}, app)"
            )
        for_host = _one_host(compile_host(host) if host else None, self.host)
        place = Place(self, self.prefix + _checked_prefix(prefix), name or router.name, for_host)
        router._places.append(place)
        for route in router.routes:
            self._adopt(place.route(route))
        for area in router.areas:
            self._adopt_area(place.area(area))

    def _ancestors(self) -> list[Router]:
        return [a for place in self._places for a in (place.parent, *place.parent._ancestors())]

    # -- what happens around a handler

    def before_request(self, hook: F) -> F:
        """Call `hook` before each handler of this router. It may take `request`; a value that it returns is
        the answer, and the handler is not called.

        >>> app = App()
        >>> @app.before_request
        ... def guard(request):
        ...     return None if "key" in request.query else ("no key", 403)
        >>> TestClient(app).get("/").text
        'no key'
        """
        bind_hook(hook, "", "as a before_request hook")
        self.before_hooks.append(hook)
        self._changed()
        return hook

    def after_request(self, hook: F) -> F:
        """Call `hook` with each answer of this router, errors too. It takes `response`, and `request` if it
        likes; it changes the response or returns another.

        >>> app = App()
        >>> @app.after_request
        ... def sign(response):
        ...     response.headers["x-bird"] = "weebill"
        >>> TestClient(app).get("/").headers["x-bird"]
        'weebill'
        """
        bind_hook(hook, "response", "as an after_request hook")
        self.after_hooks.append(hook)
        self._changed()
        return hook

    def middleware(self, middleware: F) -> F:
        """Wrap all answers of this router in `async (request, call_next) -> Response`. The first that is
        registered is the outermost.

        >>> app = App()
        >>> @app.middleware
        ... async def sign(request, call_next):
        ...     response = await call_next(request)
        ...     response.headers["x-bird"] = "weebill"
        ...     return response
        >>> TestClient(app).get("/").headers["x-bird"]
        'weebill'
        """
        check_middleware(middleware)
        self.middlewares.append(middleware)
        self._changed()
        return middleware

    def errorhandler(self, case: int | type[BaseException]) -> Callable[[F], F]:
        """Answer a status, or an exception of a class or its subclasses, with the decorated function.

        It takes the exception, and `request` if it likes; what it returns is made a Response, with the
        status of the error unless it names another. A status goes before a class, an inner router before an
        outer one. `Exception` and 500 get what nobody else takes, as it was raised, after it was logged;
        `Exception` does not get those that are answers already, HTTPException. Raises ConfigurationError for
        anything else.

        >>> app = App()
        >>> @app.errorhandler(404)
        ... def lost(error, request):
        ...     return f"Nothing at {request.path}"
        >>> TestClient(app).get("/moon").text
        'Nothing at /moon'
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
        for place in self._places:
            place.parent._changed()


def _checked_prefix(prefix: str, what: str = "prefix") -> str:
    if prefix and (not isinstance(prefix, str) or not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigurationError(f"the {what} {prefix!r} must begin with a slash and not end with one")
    return prefix


def _one_host(inner: Pattern | None, outer: Pattern | None) -> Pattern | None:
    if inner is not None and outer is not None and inner.text != outer.text:
        raise ConfigurationError(
            f"a router for the host {inner.text!r} is included in one for {outer.text!r}"
        )
    return inner or outer


def _shown(value: object) -> str:
    return describe(value) if callable(value) else repr(value)
