"""Programs written for MyFlask, on Weebill.

    app = MyFlask(__name__)

    @app.route("/user/<name>")                  # or {name}, as everywhere in Weebill
    def user(name):                             # the parameters of the path, and nothing else
        return render_template("user.html", context={"NAME": name})

    app.run(port=3000)

MyFlask(SomeHandler) answers with a handler class of the standard library's http.server instead, and
MyFlask() without any route shows the files of the current folder. It is an App, so `weebill run` takes it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from html import escape
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ..app import App
from ..bridges import adapt
from ..errors import ConfigurationError, HTTPException
from ..exchange import UNWANTED, Exchange, Intake
from ..files import FileResponse
from ..redirects import RedirectResponse
from ..requests import Request
from ..responses import HTMLResponse, Response, abort, to_response
from ..settings import load
from ..static import StaticFiles
from .common import check_call, names_in, stand_in, with_text_as

__all__ = ["MyFlask", "abort", "render_template"]

logger = logging.getLogger("weebill")

F = TypeVar("F", bound=Callable[..., Any])
HandlerClass = Callable[..., BaseHTTPRequestHandler]

_PAGE = '<!doctype html>\n<meta charset="utf-8">\n<title>{title}</title>\n<h1>{title}</h1>\n{content}\n'
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")  # Flask's
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

_current: ContextVar[MyFlask] = ContextVar("current")


class MyFlask(App):
    """An application of routes, of a handler class, or of files.

    `http_handler` is a subclass of BaseHTTPRequestHandler, or the module's `__name__`: then templates and
    files are looked for beside that module, else in the current folder.
    """

    def __init__(self, http_handler: HandlerClass | str | None = None) -> None:
        named = http_handler if isinstance(http_handler, str) and http_handler in sys.modules else None
        super().__init__(named or sys._getframe(1).f_globals.get("__name__"))
        self._beside_module = isinstance(http_handler, str)
        self._announced = ""
        self._bridge = None
        if http_handler is not None and not isinstance(http_handler, str):
            self._bridge = adapt(http_handler, "http.server")
            self._methods = _methods_of(http_handler)
        self.errorhandler(HTTPException)(_error_page)

    @property
    def folder(self) -> Path:
        """Where files and templates are looked for first."""
        return self.root if self._beside_module else Path.cwd()

    def route(self, path: str, methods: Iterable[str] = ("GET",), **options: Any) -> Callable[[F], F]:
        """Answer `methods` at `path` with the decorated function of its parameters. Text is a page."""
        pattern = _PARAMETER.sub(_in_braces, path)
        register = super().route(pattern, methods, **options)

        def decorate(function: F) -> F:
            check_call(function, path, (), names_in(pattern, function))

            def answer(request: Request) -> Response:
                value = function(**request.params)
                return to_response(with_text_as(HTMLResponse, value), function)

            register(stand_in(function, answer))
            return function

        return decorate

    def run(self, host: str | None = "localhost", port: int | str | None = 3000, **options: Any) -> None:
        """Serve until stopped; says where on standard output. Ends the process with exit code 3 and one
        sentence when it cannot listen."""
        from ..server.worker import main

        settings = load({"host": host, "port": port, **options})
        self._announced = f"Running server at {settings.host}:{settings.port}"
        try:
            main(self, settings)
        finally:
            self._announced = ""

    # -- the contract with the wire

    async def __startup__(self) -> None:
        if self._bridge is None and not self.routes:
            self.add_route("/{file:path}", _Folder(self.folder))
        await super().__startup__()
        if self._announced:
            print(self._announced, flush=True)

    def __intake__(self, exchange: Exchange) -> Intake:
        sound = exchange.refusal is None
        intake = super().__intake__(exchange)
        refusal = exchange.refusal
        if self._bridge is None or not sound or refusal is None or refusal.status_code != 404:
            return intake
        if not self._methods or exchange.method in self._methods:
            exchange.refusal, exchange.route = None, self._bridge
            return self._bridge.__intake__(exchange)
        allow = {"allow": ", ".join(sorted({*self._methods, "OPTIONS"}))}
        if exchange.method == "OPTIONS":
            exchange.refusal, exchange.route, exchange.params = None, self._options, allow
        else:
            exchange.refusal = HTTPException(405, headers=allow)
        return UNWANTED

    async def __exchange__(self, exchange: Exchange) -> None:
        _current.set(self)
        if self._bridge is not None and exchange.route is self._bridge:
            await self._bridge.__exchange__(exchange)
        else:
            await super().__exchange__(exchange)


def render_template(name: str, context: Mapping[str, object] | None = None, strict: bool = False) -> str:
    """The text of a template, with each {NAME} replaced by the escaped value of that name in `context`.

    It is looked for in templates/, then beside the program. All other braces stay. A name that has no value
    stays too, and is logged; with `strict` it raises ConfigurationError, as a missing template does.
    """
    app = _current.get(None)
    file = sys._getframe(1).f_globals.get("__file__")
    program = app.root if app is not None else Path(file).parent if file else Path.cwd()
    folder = app.folder if app is not None else Path.cwd()
    template = _find(name, (folder / "templates", program / "templates", program))
    text = template.read_text(encoding="utf-8")
    values = {name: escape(str(value)) for name, value in (context or {}).items()}
    if missing := [name for name in dict.fromkeys(_FIELD.findall(text)) if name not in values]:
        sentence = f"the template {template} has no value for {', '.join(missing)}"
        if strict:
            raise ConfigurationError(sentence)
        logger.warning("%s", sentence)
    return _FIELD.sub(lambda found: values.get(found[1], found[0]), text)


def _find(name: str, folders: Iterable[Path]) -> Path:
    places = dict.fromkeys(folder.resolve() for folder in folders)
    for folder in places:
        path = (folder / name).resolve()
        if path.is_relative_to(folder) and path.is_file():
            return path
    raise ConfigurationError(f"there is no template {name!r} in {', '.join(map(str, places))}")


# -- routes and handler classes


def _in_braces(found: re.Match[str]) -> str:
    kind, name = found.groups()
    return f"{{{name}:{'str' if kind in (None, 'string') else kind}}}"


def _error_page(error: Exception) -> Response:
    """The standard explanation of a status, and what was said of this case."""
    refusal = error if isinstance(error, HTTPException) else HTTPException(500)
    status, detail = refusal.status_code, refusal.detail
    phrase, explanation = BaseHTTPRequestHandler.responses.get(status, ("", ""))
    sentences = dict.fromkeys((explanation, "" if detail == phrase else detail))
    content = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences if sentence)
    page = _PAGE.format(title=f"{status} {phrase}".strip(), content=content)
    return HTMLResponse(page, status, refusal.headers)


def _methods_of(handler_class: Any) -> set[str]:
    """The methods that a handler class answers; none where it decides by itself, in ways of its own."""
    while isinstance(handler_class, partial):
        handler_class = handler_class.func
    ways = ("handle", "handle_one_request", "parse_request")
    own = any(getattr(handler_class, way) is not getattr(BaseHTTPRequestHandler, way) for way in ways)
    if own or hasattr(handler_class, "__getattr__"):
        return set()
    methods = {name.removeprefix("do_") for name in dir(handler_class) if name.startswith("do_")}
    return methods | {"HEAD"} if "GET" in methods else methods


# -- files


class _Folder(StaticFiles):
    """The files below a folder, and lists of them. Not Python's: they are programs, not pages."""

    def __call__(self, request: Request) -> Response:  # type: ignore[override]
        relative = request.params["file"]
        segments = [segment for segment in relative.split("/") if segment]
        if not all(map(_is_shown, segments)):
            raise HTTPException(404)
        folder = self.folder.joinpath(*segments)
        if self._is_served(folder) and folder.is_dir():
            if segments and not relative.endswith("/"):  # or the links of a page would lead astray
                return RedirectResponse("/" + "/".join(map(quote, segments)) + "/", 308)
            if not (folder / "index.html").is_file():
                return self._listing(folder)
        path = self.find(relative)
        if not self._is_served(path):
            raise HTTPException(404)
        return FileResponse(path)

    def _is_served(self, path: Path) -> bool:
        """Whether what `path` leads to lies in the folder, and nothing on its way there is hidden."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # missing, a name too long, a loop of links
            return False
        return real.is_relative_to(self.folder) and all(map(_is_shown, real.relative_to(self.folder).parts))

    def _listing(self, folder: Path) -> Response:
        try:
            entries = [
                entry for entry in folder.iterdir() if _is_shown(entry.name) and self._is_served(entry)
            ]
        except OSError:
            raise HTTPException(404) from None
        folders = sorted(f"{entry.name}/" for entry in entries if entry.is_dir())
        names = ["../"] * (folder != self.folder) + folders
        names += sorted(entry.name for entry in entries if entry.is_file())
        items = "\n".join(f'<li><a href="{quote(name)}">{escape(name)}</a></li>' for name in names)
        title = escape(f"/{folder.relative_to(self.folder)}/".replace("/./", "/"))
        return HTMLResponse(_PAGE.format(title=title, content=f"<ul>\n{items}\n</ul>"))


def _is_shown(name: str) -> bool:
    private = name.startswith(".") or name.lower().endswith((".py", ".pyc", ".pyw")) or name == "__pycache__"
    # What `find` refuses, and names that are no text.
    return not private and not any(c in "\\:\0" or "\ud800" <= c <= "\udfff" for c in name)
