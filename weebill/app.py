"""App: a Router that answers. It finds the route at the end of the head, and runs its composed answer."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Never, TypeVar

from msgspec.structs import replace

from .binding import Handler, bind
from .errors import (
    ConfigurationError,
    HTTPException,
)
from .exchange import UNWANTED, Application, Exchange, Intake
from .functions import describe
from .habits import unknown_options
from .injection import Overrides
from .life import Life, Lifespan, as_context_manager
from .mount import Mount
from .pipeline import bound, compose
from .recovery import cancelled_elsewhere, recover, recover_outside, send_failed, tell_cleanup
from .refusals import allow_field, answer_options, method_of_preflight, raise_refusal
from .requests import Request, current_request
from .router import Area, Route, Router
from .routing import compile_pattern
from .secret_keys import checked_keys, keys_of_environment
from .sites import Sites, common_routers
from .templates import Templates
from .urls import URLs, check_base_url

__all__ = ["App"]

_set_current_request = current_request.set  # PERF: looked up once

F = TypeVar("F", bound=Callable[..., Any])


class App(Router):
    """A web application: register handlers on it, then `run()` it, or serve it with `weebill run`.

    `name` is the module's `__name__` as with Flask; without it the folder of the file that makes the App
    counts. `templates` is the folder of its templates, seen from there, or a list of them. `debug` shows its
    author what went wrong; Apps that are mounted in it follow. `secret_key` signs sessions and tokens; of
    several the first signs, and the others are still accepted. `base_url` is what full URLs begin with,
    "https://example.com"; without it they have the Host that the client named. `redirect_slashes` answers a
    path whose other spelling, with or without a slash at its end, has a route, with 308. `lifespan` is an
    async context manager around the App's life, called with the App.

    >>> app = App()
    >>> @app.get("/")
    ... async def hello():
    ...     return {"hello": "world"}
    >>> TestClient(app).get("/").json()
    {'hello': 'world'}
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        templates: str | Path | Sequence[str | Path] | None = None,
        debug: bool = False,
        secret_key: str | Sequence[str] | None = None,
        base_url: str | None = None,
        redirect_slashes: bool = False,
        lifespan: Lifespan | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise unknown_options("App", unknown, inspect.signature(App).parameters)
        super().__init__()
        in_console = hasattr(sys, "ps1")
        if sys.excepthook is sys.__excepthook__ and not in_console:  # nobody else has a say in it
            sys.excepthook = _tell_mistakes_in_a_sentence
        module = vars(sys.modules[name]) if name in sys.modules else sys._getframe(1).f_globals
        file = module.get("__file__")  # a console has none
        self.root = Path(file).resolve().parent if file else Path.cwd()
        self._debug = debug
        self._outer: list[App] = []  # those that it is mounted in
        self._secret_keys = checked_keys(secret_key) if secret_key is not None else ()
        self.redirect_slashes = redirect_slashes
        folders = ["templates"] if templates is None else templates
        folders = [folders] if isinstance(folders, str | Path) else folders
        self.templates = Templates(
            [self.root / folder for folder in folders], {"url_for": self.url_for}, lambda: self.debug
        )
        for folder in self.templates.folders if templates is not None else ():
            if not folder.is_dir():
                raise ConfigurationError(f"the template folder {folder} does not exist")
        self._sites = Sites()
        self._sites.everywhere.add_area(self.areas[0])
        self._only_table = self._sites.only_table
        self._urls = URLs(check_base_url(base_url))
        self._life = Life(lifespan)
        self._overrides = Overrides({}, self._changed)
        self._own: dict[tuple[Handler, tuple[Router, ...] | Route], Route] = {}
        self._options = self._own_route(answer_options, (self,))

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys that sign, the first, and verify, all of them: those of the App or, where it was given
        none, of WEEBILL_SECRET_KEY, with commas between them. ConfigurationError where there are none.

        >>> App(secret_key=["0123456789abcdef" * 4, "fedcba9876543210" * 4]).secret_keys[0][:4]
        '0123'
        """
        if not self._secret_keys:
            self._secret_keys = keys_of_environment()
        return self._secret_keys

    @property
    def secret_key(self) -> str:
        """The key that signs. May be set to one or several; ConfigurationError for one that is no secret.

        >>> App().secret_key = "short"
        Traceback (most recent call last):
        weebill.errors.ConfigurationError: a secret key has 5 bytes and needs at least 32; make one with: ...
        """
        return self.secret_keys[0]

    @secret_key.setter
    def secret_key(self, keys: str | Sequence[str]) -> None:
        self._secret_keys = checked_keys(keys)

    @property
    def debug(self) -> bool:
        """Whether failures are shown in the browser of who works on the program.

        >>> App(debug=True).debug
        True
        """
        around = [self]
        for app in around:  # which grows meanwhile
            if app._debug:
                return True
            around += [outer for outer in app._outer if outer not in around]
        return False

    @debug.setter
    def debug(self, is_on: bool) -> None:
        self._debug = is_on

    # -- registration

    def _own_route(self, handler: Handler, routers: tuple[Router, ...]) -> Route:
        """A route that nobody has registered, within these routers."""
        route = self._own.get((handler, routers))
        if route is None:
            route = Route(compile_pattern("*"), (), handler, "", UNWANTED, routers)
            self._own[handler, routers] = route
        return route

    def _register(self, route: Route) -> None:
        site = self._sites.of_pattern(route.host)
        if route.application is not None:
            self._register_mount(route)
        else:
            if bound(route).wants_form and not route.intake.stream:
                route.intake = replace(route.intake, stream=True)  # it is read as it comes
            site.table.add(route.pattern, route.methods, route)
            self._urls.add(route)
        self._only_table = self._sites.only_table

    def _register_mount(self, mount: Route) -> None:
        prefix = mount.pattern.text
        if self._life.has_begun:
            raise ConfigurationError(
                f"the mount {prefix!r} comes after the start, and would never be started"
            )
        for other in (route.application for route in self.routes if route.application is not None):
            if _program(other) == _program(mount.application):
                mount.application = other  # one program has one life, however often it is mounted
        if isinstance(mount.application, App):
            mount.application._outer.append(self)
        self._sites.of_pattern(mount.host).add_mount(mount)

    def _adopt_area(self, area: Area) -> None:
        super()._adopt_area(area)
        self._sites.of_pattern(area.host).add_area(area)
        self._only_table = self._sites.only_table

    def _changed(self) -> None:
        super()._changed()
        self._own = {}
        self._options = self._own_route(answer_options, (self,))

    @property
    def dependency_overrides(self) -> MutableMapping[Handler, Handler]:
        """Dependencies that others stand for, in tests above all: `app.dependency_overrides[get_db] = fake`.

        >>> app = App()
        >>> def who() -> str:
        ...     return "nobody"
        >>> @app.get("/")
        ... async def index(name: str = Depends(who)) -> str:
        ...     return name
        >>> app.dependency_overrides[who] = lambda: "ann"
        >>> TestClient(app).get("/").text
        'ann'
        """
        return self._overrides

    @dependency_overrides.setter
    def dependency_overrides(self, functions: Mapping[Handler, Handler]) -> None:
        self._overrides = Overrides(functions, self._changed)
        self._changed()

    def static(self, prefix: str, folder: str | Path, *, name: str = "static", **options: Any) -> None:
        """Serve the files of `folder`, seen from the App's own, below `prefix`.

        `url_for("static", file="app.css")` is the path of a file; of several folders each needs a `name` of
        its own for that. `options` are those of StaticFiles: `index`,
        `listing`, `max_age`, `immutable` and `precompressed`. Register a folder at "/" behind all routes
        with parameters, which would be taken for files otherwise.

        Raises ConfigurationError for a folder that is not there and for an unknown option.

        >>> from pathlib import Path
        >>> Path("pictures").mkdir()
        >>> app = App(__name__)
        >>> app.static("/pictures", Path("pictures").resolve(), name="pictures", max_age="1h")
        >>> app.url_for("pictures", file="a bird.png")
        '/pictures/a%20bird.png'
        """
        from .static import StaticFiles  # a hello has no files

        try:
            handler = StaticFiles(self.root / folder, **options)
        except TypeError as error:
            raise ConfigurationError(f"app.static({prefix!r}): {error}") from None
        self.add_route(prefix.rstrip("/") + "/{file:path}", handler, name=name)

    def on_startup(self, function: F) -> F:
        """Call `function` before the first request.

        >>> app = App()
        >>> @app.on_startup
        ... async def prepare():
        ...     print("ready")
        >>> with TestClient(app) as client:
        ...     pass
        ready
        """
        bind(function, (), "as a startup function")
        self._life.on_startup.append(function)
        return function

    def on_shutdown(self, function: F) -> F:
        """Call `function` after the last answer, the last registered first.

        >>> app = App()
        >>> @app.on_shutdown
        ... def tidy():
        ...     print("tidy")
        >>> with TestClient(app) as client:
        ...     pass
        tidy
        """
        bind(function, (), "as a shutdown function")
        self._life.on_shutdown.append(function)
        return function

    def lifespan(self, function: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        """Run the part of an async generator before its `yield` at start, and the rest at the end.

        >>> app = App()
        >>> @app.lifespan
        ... async def life(app):
        ...     print("opened")
        ...     yield
        ...     print("closed")
        >>> with TestClient(app) as client:
        ...     pass
        opened
        closed
        """
        self._life.lifespan = as_context_manager(function)
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

    def url_for(
        self, name: str, /, *, _external: bool = False, _anchor: str | None = None, **params: object
    ) -> str:
        """The path of the route called `name`, with `params` in their places and the rest as a query.

        The path begins with the prefix that a mount or a proxy has taken off the current request's. For a
        route of another host it is "//host/path". `_external` makes it a full URL, which begins with
        App(base_url=...) or else with scheme and Host of the current request; `_anchor` is what comes behind
        "#". A name that begins with a dot, ".index", is one of the router that answers the current request.

        Raises ConfigurationError that names the routes there are, the parameter that is missing, or the
        routes that may be meant.

        >>> app = App(base_url="https://example.com")
        >>> @app.get("/user/{name}")
        ... def user(name):
        ...     return name
        >>> app.url_for("user", name="Ada L", tab="notes")
        '/user/Ada%20L?tab=notes'
        >>> app.url_for("user", name="ada", _external=True, _anchor="top")
        'https://example.com/user/ada#top'
        """
        request = current_request.get(None)
        if request is not None and request.app is not self:
            request = None
        if flasks := {"_method", "_scheme"} & params.keys():
            raise ConfigurationError(
                f"url_for takes no {flasks.pop()}; the scheme is that of App(base_url=...)"
            )
        return self._urls.build(request, name, params, _external, _anchor)

    def run(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve until stopped; `options` are those of the settings table. Ends the process with exit code 3
        and one sentence when the server cannot start, or an option is wrong.

        >>> if __name__ == "__main__":
        ...     App().run(port=8000, access_log=True)
        """
        from .server.worker import main  # the application knows the server only here
        from .settings import load

        try:
            settings = load({"host": host, "port": port, **options})
        except ConfigurationError as error:
            print(f"weebill: {error}", file=sys.stderr)
            raise SystemExit(3) from None
        self.debug = self.debug or settings.debug
        main(self, settings)

    # -- the contract with the wire (exchange.Application)

    async def __startup__(self) -> None:
        await self._life.begin(self)
        for route in self.routes:
            self._composed(route)

    async def __shutdown__(self) -> None:
        await self._life.end()

    def __intake__(self, exchange: Exchange) -> Intake:
        if exchange.refusal is None:
            table = self._only_table
            found = None if table is None else table.match(exchange.method, exchange.path)
            if found is None:
                return self._seek(exchange)
            route, exchange.params = found
            exchange.route = route
            return route.intake
        exchange.route = self._own_route(raise_refusal, (self,))
        return UNWANTED

    def _seek(self, exchange: Exchange) -> Intake:
        """What a look into one table does not find: hosts, mounts, an OPTIONS that comes by itself, or a
        refusal."""
        method, path = exchange.method, exchange.path
        try:
            sites = self._sites.of_request(exchange.fields)
        except HTTPException as error:
            exchange.refusal, exchange.route = error, self._own_route(raise_refusal, (self,))
            return UNWANTED
        for site, of_host in sites:
            if (found := site.find(method, path)) is None:
                continue
            route, params = found
            exchange.route, exchange.params = route, {**of_host, **params}
            if route.application is None:
                return route.intake
            mount = exchange.params["mount"] = Mount(route.application, route.pattern.text, exchange)
            return mount.intake()
        routes = [route for site, _ in sites for route in site.at(path)]
        if routes:
            routers = common_routers(route.routers for route in routes)
        else:
            routers = next((owners for site, _ in sites if (owners := site.owners(path))), (self,))
        allowed = allow_field({method for route in routes for method in route.methods})
        if method == "OPTIONS" and (routes or exchange.target == "*"):
            asked = method_of_preflight(exchange)
            found = next((found for site, _ in sites if asked and (found := site.find(asked, path))), None)
            if found is None:
                exchange.route = self._own_route(answer_options, routers)
            else:  # the CORS of the route that the browser asks for is what counts
                exchange.route = self._around(answer_options, found[0])
            exchange.params = {"allow": allowed}
            return UNWANTED
        exchange.route = self._own_route(raise_refusal, routers)
        if routes:
            exchange.refusal = HTTPException(405, headers={"allow": allowed})
        else:
            exchange.refusal = HTTPException(404)
            other = path[:-1] if path.endswith("/") else path + "/"
            if self.redirect_slashes and any(site.find(method, other) for site, _ in sites):
                exchange.params = {"is_misspelt": True}
        return UNWANTED

    async def __exchange__(self, exchange: Exchange) -> None:
        request = Request(exchange, self)
        _set_current_request(request)
        route: Route = exchange.route
        if exchange.refusal is not None and route.handler is not raise_refusal:
            route = self._refusing(route)
        try:
            try:
                if exchange.body.on_disk and route.application is None:
                    await request.prepare_form()  # here, for nobody may wait for the disk on the loop
                response = await (route.answer or self._composed(route))(request)
            except Exception as error:  # of what was registered late and does not fit
                response = await recover_outside(route, request, error)
            except BaseException as error:
                if (failure := cancelled_elsewhere(error)) is None:
                    raise
                response = await recover_outside(route, request, failure)
            try:
                await response.send(exchange)
            except Exception as error:
                await send_failed(route, request, error, response)
        except BaseException as error:
            tell_cleanup(request, error)
            raise
        finally:
            if request._afterwards is not None:
                await request._afterwards.run()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The App as an ASGI application, for other servers."""
        from .bridges.asgi import serve_scope  # not with our own server

        await serve_scope(self, scope, receive, send)

    # -- composing

    def _composed(self, route: Route) -> Any:
        route.answer = compose(
            route, partial(recover, route), partial(recover_outside, route), self._overrides
        )
        return route.answer

    def _refusing(self, route: Route) -> Route:
        """The same route with what the wire holds against the request in the handler's place."""
        return self._around(raise_refusal, route)

    def _around(self, handler: Handler, route: Route) -> Route:
        """A handler of ours in the place of a route's, with everything that is around it."""
        own = self._own.get((handler, route))
        if own is None:
            own = Route(compile_pattern("*"), (), handler, route.name, UNWANTED, route.routers)
            own.middlewares = route.middlewares
            self._own[handler, route] = own
        return own


def _adds_to(templates: Templates, table: str, name: str | None) -> Callable[[F], F]:
    if callable(name):
        raise ConfigurationError(f"write parentheses: @app.template_{table[:-1]}(), above {describe(name)}")

    def add(function: F) -> F:
        getattr(templates.environment, table)[name or function.__name__] = function
        return function

    return add


def _tell_mistakes_in_a_sentence(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """sys.excepthook: a mistake in how Weebill is used says itself where it is; all else has a traceback."""
    if isinstance(error, ConfigurationError):
        from traceback import extract_tb  # a hello does not need it

        ours = str(Path(__file__).parent)
        places = [f"{f.filename}:{f.lineno}: " for f in extract_tb(trace) if not f.filename.startswith(ours)]
        place = places[-1] if places and places[-1][:-2] not in str(error) else ""
        print(f"weebill: {place}{error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _program(application: Application | None) -> tuple[type, int]:
    """Which program it is: a bridge stands for its `app`."""
    return type(application), id(getattr(application, "app", application))
