"""What scripts of other sites may read (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import ConfigurationError
from .headers import is_token
from .responses import Response

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request

__all__ = ["CORSMiddleware"]

DAY = 86400
LONGEST = 300  # characters of an origin: a scheme, the longest name there is, and a port
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")  # RFC 6454
_ANYBODY = ("https://weebill-4f1c.invalid", "http://weebill-4f1c.invalid")


class CORSMiddleware:
    """Let scripts of other sites read the answers, errors too.

    `allow_origins` are origins as browsers write them ("https://example.org", no slash at the end), or "*"
    alone for everybody; `allow_origin_regex` allows an origin that it matches as a whole. `allow_methods`
    and `allow_headers` are what a script may send (Content-Type always), `expose_headers` what it may read
    beside the usual, `allow_credentials` whether its requests carry cookies, `max_age` for how many seconds a
    browser remembers all this. "*" in any of them cannot be together with credentials.

    Their preflight is answered here, whether its path has a route or not. Other origins, and "null", which
    every sandboxed frame has, get their answer without a field, and the browser keeps it from the script,
    unless a CORSMiddleware inside of this one, of a router, a route or a mounted application, allows them.
    Raises ConfigurationError.

    >>> from weebill.cors import CORSMiddleware
    >>> app = App()
    >>> cors = app.middleware(CORSMiddleware(allow_origins=["https://example.org"]))
    >>> answer = TestClient(app).get("/", headers={"origin": "https://example.org"})
    >>> answer.status_code, answer.headers["access-control-allow-origin"], answer.headers["vary"]
    (404, 'https://example.org', 'Accept, Origin')
    """

    def __init__(
        self,
        allow_origins: Iterable[str] = (),
        *,
        allow_origin_regex: str | None = None,
        allow_methods: Iterable[str] = ("GET", "HEAD", "POST"),
        allow_headers: Iterable[str] = (),
        expose_headers: Iterable[str] = (),
        allow_credentials: bool = False,
        max_age: int = 600,
    ) -> None:
        lists = {
            "allow_origins": allow_origins,
            "allow_methods": allow_methods,
            "allow_headers": allow_headers,
            "expose_headers": expose_headers,
        }
        origins, methods, headers, exposed = (
            _words(name, given, allow_credentials) for name, given in lists.items()
        )
        self._everybody = "*" in origins
        self._origins = frozenset(map(_origin, origins)) - {"*"}
        if self._everybody and (self._origins or allow_origin_regex):
            raise ConfigurationError("allow_origins has '*', which makes the others useless; leave one out")
        if not origins and allow_origin_regex is None:
            raise ConfigurationError('CORSMiddleware allows nobody; write allow_origins=["https://..."]')
        if not 0 <= max_age <= DAY:
            raise ConfigurationError(f"max_age is {max_age!r}; it is 0 to {DAY} seconds")
        self._regex = None if allow_origin_regex is None else _compiled(allow_origin_regex)
        if allow_credentials and self._regex and any(map(self._regex.fullmatch, _ANYBODY)):
            raise ConfigurationError(
                f"allow_origin_regex {allow_origin_regex!r} lets everybody in beside allow_credentials; "
                "name the hosts in it"
            )
        self._fields = {"access-control-allow-credentials": "true"} if allow_credentials else {}
        self._exposed = {"access-control-expose-headers": ", ".join(exposed)} if exposed else {}
        self._preflight = {
            "access-control-allow-methods": ", ".join(method.upper() for method in methods),
            "access-control-allow-headers": ", ".join(dict.fromkeys(("Content-Type", *headers))),
            "access-control-max-age": str(max_age),
        }

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        origin = request.headers.get("origin", "")
        asks = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        is_allowed = self._everybody or self._is_allowed(origin)
        if origin and asks and is_allowed:
            response, more = Response(b"", 204), self._preflight
        else:
            response, more = await call_next(request), self._exposed
        headers = response.headers
        if self._everybody:
            headers.update({"access-control-allow-origin": "*", **self._fields, **more})
            return response
        headers.vary("Origin")  # whoever asked: a cache must not give one's answer to another
        if is_allowed:
            headers.update({"access-control-allow-origin": origin, **self._fields, **more})
        return response

    def _is_allowed(self, origin: str) -> bool:
        if origin in self._origins:
            return True
        if self._regex is None or origin in ("", "null") or len(origin) > LONGEST:
            return False
        return self._regex.fullmatch(origin) is not None


def _words(name: str, given: Iterable[str], with_credentials: bool) -> list[str]:
    if isinstance(given, str):
        raise ConfigurationError(f"{name} is a text; write {name}=[{given!r}]")
    words = list(given)
    if "*" in words and with_credentials:
        raise ConfigurationError(
            f"{name} has '*' beside allow_credentials, which browsers refuse; list what is allowed"
        )
    for word in words:
        if name != "allow_origins" and not is_token(word):
            raise ConfigurationError(f"{word!r} in {name} is no name")
    return words


def _origin(origin: str) -> str:
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ConfigurationError(
            f'{origin!r} is no origin; write it as browsers do, like "https://example.org" or '
            '"http://localhost:8000": in lower case, without a path or a slash at its end'
        )
    return origin


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(f"allow_origin_regex {pattern!r}: {error}") from None
