"""Requests that another site has its visitors send are refused.

a safe method: GET, HEAD, OPTIONS, TRACE ──────────────────────────────> on
Origin (or Referer) is one that the program trusts ────────────────────> on
Sec-Fetch-Site: same-origin or none ──┐
else Origin, else Referer, is ours  ──┤ could a form have sent it, and
                                      │ is there a session?  no ───────> on
none of the three, and no cookie ─────│────────────────────────────────> on   (no browser)
none of the three, but cookies ───────┤
                                      └ the token of the session? yes ─> on
all else ── 403
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import ConfigurationError, HTTPException
from .requests import Request, current_request
from .responses import Response
from .sessions import SessionMiddleware

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["CSRFMiddleware", "csrf_field", "csrf_token"]

Answer = Callable[[Request], Awaitable[Response]]

FIELD = "csrf_token"  # of a form
HEADER = "x-csrf-token"

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))  # RFC 9110 section 9.2.1
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
SECRET_BYTES = 32

_MEDIA_TYPE = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+/[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)", re.IGNORECASE)
_ORIGIN_OF_URL = re.compile(r"[^:/?#]+://[^/?#]*")  # with the user's name, if there is one: that is no origin


class CSRFMiddleware:
    """Refuse with 403 what another site has a browser send with its user's cookies.

    A request with an unsafe method must come from the site's own pages, by `Sec-Fetch-Site`, else `Origin`,
    else `Referer`. A POST that a plain form could have sent must bring the token of its session besides, if
    there is one: in the form's field `csrf_token`, which `csrf_field()` makes, or as `X-CSRF-Token`. What has
    none of the three fields comes from no browser: it passes without cookies, and needs the token with them.

    `trusted_origins` are other sites that may send everything, like "https://app.example.org". `exempt` are
    paths that are not checked; one that ends with a slash stands for all below it. Register it after
    SessionMiddleware. Raises ConfigurationError for bad origins and paths, and at start for a bad order.

    >>> from weebill.csrf import CSRFMiddleware
    >>> app = App()
    >>> app.middleware(CSRFMiddleware(trusted_origins=["https://partner.example"]))
    <CSRFMiddleware>
    >>> @app.post("/order")
    ... async def order():
    ...     return "ordered"
    >>> client = TestClient(app)
    >>> client.post("/order", headers={"sec-fetch-site": "cross-site"}).status_code
    403
    >>> client.post("/order", headers={"sec-fetch-site": "same-origin"}).text
    'ordered'
    """

    def __init__(self, trusted_origins: Iterable[str] = (), exempt: Iterable[str] = ()) -> None:
        if isinstance(trusted_origins, str) or isinstance(exempt, str):
            raise ConfigurationError("CSRFMiddleware: trusted_origins and exempt are lists, not a text")
        self.trusted_origins = frozenset(map(_checked_origin, trusted_origins))
        paths = tuple(exempt)
        for path in paths:
            if not path.startswith("/") or path == "/":
                raise ConfigurationError(
                    f"CSRFMiddleware: the exempt path is {path!r}; it begins with a slash, and is more "
                    "than one"
                )
        self._exempt = frozenset(paths)
        self._exempt_below = tuple(path for path in paths if path.endswith("/"))
        self._checked_app: Any = None

    def startup(self, app: Any) -> None:
        """Make sure that the session is there when it is wanted."""
        for route in app.routes:
            order = route.whole_chain
            behind = order[order.index(self) :] if self in order else []
            if any(isinstance(middleware, SessionMiddleware) for middleware in behind):
                raise ConfigurationError(
                    "CSRFMiddleware is registered before SessionMiddleware, so it would see no session and "
                    "check no token; write app.middleware(SessionMiddleware()) first"
                )
        self._checked_app = app

    def __repr__(self) -> str:
        return "<CSRFMiddleware>"

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        if request.app is not self._checked_app:  # nobody has started it
            self.startup(request.app)
        if request.method not in SAFE and not self._is_exempt(request.path):
            await self._check(request)
        return await call_next(request)

    def _is_exempt(self, path: str) -> bool:
        if path in self._exempt:
            return True
        # Where ".." leads is for a handler, or what is mounted, to say: perhaps out of what is exempt.
        return path.startswith(self._exempt_below) and ".." not in path

    async def _check(self, request: Request) -> None:
        headers = request.headers
        origin = headers.get("origin") or _origin_of(headers.get("referer", ""))
        if origin and origin.lower() in self.trusted_origins:
            return
        site = headers.get("sec-fetch-site")
        if site is not None:
            if site not in ("same-origin", "none"):
                raise HTTPException(403, f"This request comes from another site (Sec-Fetch-Site: {site}).")
        elif origin:
            if not _is_ours(origin, request):
                raise HTTPException(403, f"This request comes from another origin: {origin}.")
        elif "cookie" not in headers:
            return
        if (site is None and not origin) or (_may_be_of_a_form(request) and _has_session(request)):
            await _check_token(request)


def _checked_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if not _ORIGIN.fullmatch(origin) or not parts.hostname:
        raise ConfigurationError(
            f"CSRFMiddleware: the trusted origin {origin!r} is none; write scheme, host and, if it "
            "is not the usual one, port: 'https://app.example.org'"
        )
    return origin.lower()


def _origin_of(url: str) -> str:
    found = _ORIGIN_OF_URL.match(url)
    return found[0] if found else url


def _is_ours(origin: str, request: Request) -> bool:
    """Whether scheme, host and port are the request's own. Where we are reached by http, https is ours too:
    it is a proxy's, which has ended TLS."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:  # "null", or nonsense
        return False
    scheme, host = found[1].lower(), found[2].lower()
    if request.scheme == "https" and scheme != "https":
        return False
    port = ":443" if scheme == "https" else ":80"
    return host.removesuffix(port) == request.host.lower().removesuffix(port)


def _may_be_of_a_form(request: Request) -> bool:
    """Whether a page of another site could have a browser send this without asking us before: a POST of one
    of the three types of forms, or of none that can be read (Fetch standard, CORS-safelisted)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.method == "POST" and (kind in FORMS or not _MEDIA_TYPE.fullmatch(kind))


def _has_session(request: Request) -> bool:
    return hasattr(request, "_session") and not request.session.is_new


async def _check_token(request: Request) -> None:
    """Raise HTTPException 403 unless the request brings the token of its session."""
    if not _has_session(request):
        raise HTTPException(
            403,
            "This request has cookies and does not say where it comes from: send Sec-Fetch-Site, Origin or "
            "Referer.",
        )
    given = request.headers.get(HEADER) or await _token_of_form(request)
    if not given:
        raise HTTPException(
            403,
            f"The token against forged requests is missing: the field {FIELD} of the form, or X-CSRF-Token "
            "among the fields of the request.",
        )
    secret = request.session.get("_csrf", "")
    if not secret or not hmac.compare_digest(_unmasked(given), secret.encode()):
        raise HTTPException(
            403, "The token against forged requests is not of this session: load the page again."
        )


async def _token_of_form(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMS[:2]:
        return ""
    await request.load_form()  # which the handler finds loaded, on a route with stream=True too
    return request.form.get(FIELD, "")


def csrf_token(request: Request | None = None) -> str:
    """The token of the session of `request`, by default the current one, masked anew at each call: text in
    compressed pages that never repeats gives nothing away (BREACH).

    Raises ConfigurationError outside a request and without a SessionMiddleware.

    >>> from weebill.csrf import csrf_token
    >>> from weebill.sessions import SessionMiddleware
    >>> app = App(secret_key="0123456789abcdef" * 4)
    >>> app.middleware(SessionMiddleware())
    <SessionMiddleware in a signed cookie>
    >>> @app.get("/token")
    ... async def token():
    ...     return csrf_token()
    >>> len(TestClient(app).get("/token").text)
    116
    """
    request = request or current_request.get(None)
    if request is None:
        raise ConfigurationError("csrf_token() was called outside a request")
    session = request.session
    if "_csrf" not in session:
        session["_csrf"] = secrets.token_urlsafe(SECRET_BYTES)
    secret = session["_csrf"].encode()
    mask = secrets.token_bytes(len(secret))
    return urlsafe_b64encode(mask + _xor(mask, secret)).decode()


def csrf_field() -> Markup:
    """A hidden input with `csrf_token()`, to be put into every form: `{{ csrf_field() }}`. Raises as
    `csrf_token`.

    >>> from weebill.csrf import csrf_field
    >>> from weebill.sessions import SessionMiddleware
    >>> app = App(secret_key="0123456789abcdef" * 4)
    >>> app.middleware(SessionMiddleware())
    <SessionMiddleware in a signed cookie>
    >>> @app.get("/")
    ... async def form():
    ...     return csrf_field()
    >>> TestClient(app).get("/").text
    '<input type="hidden" name="csrf_token" value="...">'
    """
    from markupsafe import Markup  # comes with templates

    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, csrf_token())


def _unmasked(token: str) -> bytes:
    """The secret in a token, b"" for what is none."""
    try:
        data = urlsafe_b64decode(token.encode("ascii"))
    except ValueError:
        return b""
    half = len(data) // 2
    return _xor(data[:half], data[half:])


def _xor(mask: bytes, secret: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(mask, secret, strict=False))
