"""Jinja2 as Weebill sets it up. Imported with the first template, for a hello does not need it.

Autoescape makes text of every value, but a URL is more than text: `href="{{ link }}"` runs a script if the
link is "javascript:...". So a value that begins a URL attribute passes `safe_url`, without being asked to.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import Context
from jinja2.utils import missing
from markupsafe import Markup

from .requests import current_request
from .responses import JSONResponse

__all__ = ["joined", "make_environment", "place_of", "safe_url", "set_debug"]

# Attributes that a browser follows, at the end of what comes before a value.
_URL_BEGINS = re.compile(
    r"""(?:^|[\s"'/])(?:[\w-]+:)?"""
    r"""(?:action|background|cite|data|formaction|href|ping|poster|src)\s*=\s*["']?\s*$""",
    re.IGNORECASE,
)
_LOOK_BACK = 100  # characters, for an expression that is not linear

# What runs as a script, or as a page of its own, where a link was meant. Pictures are harmless.
_SCRIPT = re.compile(r"(?:javascript|vbscript|data(?!:image/(?:avif|gif|jpeg|png|webp)[;,])):", re.IGNORECASE)
_SKIPPED_BY_BROWSERS = re.compile(r"[\x00-\x20]+")  # WHATWG URL, section 4.4
BLOCKED = "about:invalid"


class _Declared(Markup):
    """What the author has declared safe, by `|safe`."""

    __slots__ = ()


def safe_url(value: Any) -> Any:
    """The filter `safe_url`: the value, or "about:invalid" in place of a script (javascript:, vbscript:, and
    data: unless it is a picture). Only what comes right out of `|safe` passes; other Markup, that of `|e` or
    of a macro, may be a text that was escaped, and is looked at like any other."""
    if isinstance(value, _Declared):
        return value
    text = Markup(value).unescape() if hasattr(value, "__html__") else str(value)  # noqa: S704
    return BLOCKED if _SCRIPT.match(_SKIPPED_BY_BROWSERS.sub("", text)) else value


class _URLGuard(Extension):
    """Passes through `safe_url` whatever is printed at the beginning of a URL attribute."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        at_url = guards = False
        for token in stream:
            if token.type == "data":
                blank = not token.value.strip()  # the place is the same behind {% if %} and an empty value
                at_url = bool(_URL_BEGINS.search(token.value[-_LOOK_BACK:])) or (at_url and blank)
            if token.type == "variable_end" and guards:
                for kind, value in (("rparen", ")"), ("pipe", "|"), ("name", "safe_url")):
                    yield Token(token.lineno, kind, value)
                guards = False
            yield token
            if token.type == "variable_begin" and at_url:
                yield Token(token.lineno, "lparen", "(")
                guards = True


class _Session:
    """The session of a request, looked up when a template looks into it and not when it names it: Jinja2
    reads all names first, those in branches that are not taken too.

    What is not in it is no mistake, not even in debug: `{% if session.user %}` asks whether there is one."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request.session, name)

    def __getitem__(self, key: str) -> Any:
        session = self._request.session
        return session[key] if key in session else jinja2.Undefined(name=key)

    def __contains__(self, key: object) -> bool:
        return key in self._request.session

    def __iter__(self) -> Iterator[str]:
        return iter(self._request.session)

    def __len__(self) -> int:
        return len(self._request.session)

    def __str__(self) -> str:
        return str(self._request.session)


class _RequestContext(Context):
    """Looks up `request` and `session` when a template uses them, an imported one too."""

    def resolve_or_missing(self, key: str) -> Any:
        value = super().resolve_or_missing(key)
        if value is missing and key in ("request", "session"):
            request: Any = current_request.get(None)
            if request is not None:
                return request if key == "request" else _Session(request)
        return value


def _dumps(value: Any, indent: int | None = None) -> str:
    """JSON as JSONResponse makes it; Jinja2 escapes what means something to HTML."""
    data = JSONResponse.encode(value)
    if indent is not None:
        data = msgspec.json.format(data, indent=indent)
    text: str = data.decode()
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")  # ends of lines to old browsers


def _later(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that only some programs need."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module, __package__), name)(*args, **kwargs)

    return call


def make_environment(folders: Sequence[Path], globals_: dict[str, Any]) -> jinja2.Environment:
    """An environment over the templates of these folders, for which `set_debug` has yet to be called."""
    loader = jinja2.FileSystemLoader(folders)
    environment = jinja2.Environment(loader=loader, autoescape=True, extensions=[_URLGuard])
    environment.context_class = _RequestContext
    environment.filters.update(safe=_Declared, safe_url=safe_url)
    environment.policies["json.dumps_function"] = _dumps
    environment.policies["json.dumps_kwargs"] = {}
    environment.globals.update(
        get_flashed_messages=_later(".sessions", "get_flashed_messages"),
        csrf_token=_later(".csrf", "csrf_token"),
        csrf_field=_later(".csrf", "csrf_field"),
        **globals_,
    )
    return environment


def set_debug(environment: jinja2.Environment, debug: bool) -> None:
    """In debug a missing name is an error, and a template that has changed is read again."""
    environment.undefined = jinja2.StrictUndefined if debug else jinja2.Undefined
    environment.auto_reload = debug


def place_of(error: BaseException) -> str:
    """Where in a template an exception was raised: ", in page.html, line 3"."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if "__jinja_exception__" in frame.f_globals:  # Jinja2 has put the template in the place of its code
            place = f", in {frame.f_code.co_filename}, line {line}"
    return place


def joined(pieces: Iterable[str], size: int) -> Iterator[str]:
    """The same text in pieces of at least `size` characters."""
    waiting: list[str] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield "".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield "".join(waiting)
