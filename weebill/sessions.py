"""Sessions: what a program remembers of a client between its requests.

    cookie ──> find ──> request.session ──> handler ──> sealed() ──> save ──> Set-Cookie
                 │                                        │
          a signed cookie, or                     only if it changed, or has become old;
          an id and a store                       untouched, nothing at all is added

An answer for which the session was read or changed is one client's own: it says so to caches (`Vary: Cookie`
and `Cache-Control`, RFC 9111), errors too.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Container
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from .cookies import MAX_COOKIE_SIZE, SameSite, format_cookie, must_be_secure
from .errors import ConfigurationError
from .exchange import ExchangeAround
from .headers import Fields, MutableHeaders
from .mount import MountResponse
from .requests import Request, current_request
from .responses import Response, StreamingResponse
from .session_stores import EMPTY, Kept, MemoryStore, Session, SessionStore, SQLiteStore

if TYPE_CHECKING:
    from datetime import timedelta

    from itsdangerous import TimestampSigner

    from .exchange import Exchange

__all__ = [
    "MemoryStore",
    "SQLiteStore",
    "Session",
    "SessionMiddleware",
    "SessionStore",
    "flash",
    "get_flashed_messages",
]

Answer = Callable[[Request], Awaitable[Response]]

ID_BYTES = 32  # 128 bits would do (OWASP ASVS 7.2.3)
MAX_STORED = 1 << 20  # bytes of one session in a store
OLD = 0.1  # of max_age: after that a session that is in use is written anew
CLOCK_SKEW = 60.0  # seconds that the clocks of two machines may differ

_ID = re.compile(r"[A-Za-z0-9_-]{43}")


class SessionMiddleware:
    """Give each request `request.session`, kept in a signed cookie or, with a `store`, on the server.

    Without a store the client holds the data: it can read them and cannot change them, they must fit into
    a cookie, and logging out only asks the client to forget. They are signed by HMAC-SHA-256 with the keys
    of the App; ConfigurationError at start where there are none.

    `cookie` is its name. A session ends `max_age` seconds (or a timedelta) after it was last written; one in
    use is written anew after a tenth of that. `https_only` None: Secure when the request came by https.
    `samesite`, `path` and `domain` are the cookie's. ConfigurationError for what makes no valid cookie.

    >>> from weebill.sessions import SessionMiddleware
    >>> app = App(secret_key="0123456789abcdef" * 4)
    >>> app.middleware(SessionMiddleware(max_age=3600))
    <SessionMiddleware in a signed cookie>
    >>> @app.get("/")
    ... async def index(request):
    ...     request.session["name"] = "ada"
    >>> TestClient(app).get("/").headers["set-cookie"].partition(";")[2]
    ' Max-Age=3600; Path=/; HttpOnly; SameSite=Lax'
    """

    def __init__(
        self,
        store: SessionStore | None = None,
        *,
        cookie: str = "session",
        max_age: float | timedelta = 14 * 24 * 3600,
        https_only: bool | None = None,
        samesite: SameSite | None = "lax",
        path: str = "/",
        domain: str | None = None,
    ) -> None:
        self.store = store
        self.cookie = cookie
        self.max_age = float(max_age if isinstance(max_age, int | float) else max_age.total_seconds())
        self.https_only = https_only
        self.samesite = samesite
        self.path = path
        self.domain = domain
        if not self.max_age >= 1:
            raise ConfigurationError(f"max_age of a session is {max_age!r}; it is at least one second")
        secure = must_be_secure(cookie, samesite, False) if https_only is None else https_only
        try:
            format_cookie(cookie, path=path, domain=domain, secure=secure, samesite=samesite)
        except ValueError as error:
            raise ConfigurationError(f"SessionMiddleware: {error}") from None
        self._keeper: _InCookie | _InStore = (
            _InCookie(cookie, self.max_age) if store is None else _InStore(store, self.max_age)
        )

    async def startup(self, app: Any) -> None:
        """Make sure of the key, or open the store."""
        await self._keeper.startup(app)

    async def shutdown(self) -> None:
        """Close the store."""
        if (close := getattr(self.store, "close", None)) is not None:
            await close()

    def __repr__(self) -> str:
        where = "a signed cookie" if self.store is None else type(self.store).__name__
        return f"<SessionMiddleware in {where}>"

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        value = request.cookies.get(self.cookie, "")
        request._session = session = Session(await self._keeper.find(request.app, value))
        response = await call_next(request)
        if isinstance(response, StreamingResponse):
            self._save_at_head(request, session, value, response)
            return response
        if session.is_touched:
            await self._save(request, session, value, response)
            if isinstance(response, MountResponse):  # what it says of caches comes later, and would win
                _at_head(response, _kept_private)
        else:
            session.sealed()  # a change after this would be lost
        return response

    def _save_at_head(self, request: Request, session: Session, old: str, stream: StreamingResponse) -> None:
        """Have the session saved between the first piece of a stream and its head. Its later pieces may still
        read the session, so it is one client's own whether they do or not."""

        async def save(fields: Fields) -> Fields:
            answer = Response()
            answer.raw_headers = list(fields)
            await self._save(request, session, old, answer)
            return answer.raw_headers

        _at_head(stream, save)

    async def _save(self, request: Request, session: Session, old: str, response: Response) -> None:
        """Keep what has changed, and tell the client and the caches. `old` is the cookie that came."""
        keep_private(response.headers)
        data = session.sealed()
        if data is None and session.is_old:
            data = session.before
        if data is None or (data == EMPTY and not session.is_found):
            return
        if data == EMPTY:
            await self._keeper.forget(old)
            response.delete_cookie(
                self.cookie, self.path, self.domain, self.https_only, samesite=self.samesite
            )
            return
        value = await self._keeper.save(request.app, session, old, data)
        if value is None:
            return
        try:
            response.set_cookie(
                self.cookie,
                value,
                self.max_age,
                path=self.path,
                domain=self.domain,
                secure=self.https_only,
                samesite=self.samesite,
            )
        except ValueError:
            raise ConfigurationError(
                f"the session takes {len(value)} bytes as a cookie, and browsers keep {MAX_COOKIE_SIZE} with "
                "name and attributes; put less into it, or keep it on the server: "
                "SessionMiddleware(SQLiteStore('sessions.db')) or MemoryStore(), both of weebill.sessions"
            ) from None


def _at_head(response: Response, save: Callable[[Fields], Awaitable[Fields]]) -> None:
    """Have `save` called with the fields of the answer before its head goes out; it gives those to send."""
    send = response.send

    def send_saving(exchange: Exchange) -> Awaitable[None]:
        return send(cast("Exchange", _Saving(exchange, save)))

    response.send = send_saving  # type: ignore[method-assign]


async def _kept_private(fields: Fields) -> Fields:
    answer = Response()
    answer.raw_headers = list(fields)
    keep_private(answer.headers)
    return answer.raw_headers


class _Saving(ExchangeAround):
    """The exchange of `_at_head`."""

    save: Callable[[Fields], Awaitable[Fields]]

    def __init__(self, exchange: Exchange, save: Callable[[Fields], Awaitable[Fields]]) -> None:
        super().__init__(exchange)
        vars(self)["save"] = save

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        await self.exchange.respond(status, await self.save(fields), content)

    async def start(self, status: int, fields: Fields) -> None:
        await self.exchange.start(status, await self.save(fields))


class _InCookie:
    """The session itself, signed, is the cookie's value: base64 of JSON, time and HMAC."""

    def __init__(self, cookie: str, max_age: float) -> None:
        self.max_age = max_age
        self._purpose = f"weebill.sessions.{cookie}"  # what is signed for one purpose is no good for another
        self._keys: tuple[str, ...] = ()
        self._signers: list[TimestampSigner] = []

    async def startup(self, app: Any) -> None:
        self._signers_of(app)

    async def find(self, app: Any, value: str) -> Callable[[], Kept | None]:
        signers = self._signers_of(app)
        return lambda: self._verified(signers, value) if value else None

    async def save(self, app: Any, session: Session, old: str, data: bytes) -> str | None:
        from itsdangerous.encoding import base64_encode

        return self._signers_of(app)[0].sign(base64_encode(data)).decode("ascii")

    async def forget(self, value: str) -> None:
        """It is the client who forgets."""

    def _signers_of(self, app: Any) -> list[TimestampSigner]:
        """One for each key of the App. ConfigurationError where there is none."""
        if self._keys != app.secret_keys:
            from itsdangerous import TimestampSigner  # only who has such sessions needs it

            self._signers = [
                TimestampSigner(key, salt=self._purpose, key_derivation="hmac", digest_method=sha256)
                for key in app.secret_keys
            ]
            self._keys = app.secret_keys
        return self._signers

    def _verified(self, signers: list[TimestampSigner], value: str) -> Kept | None:
        from itsdangerous import BadData
        from itsdangerous.encoding import base64_decode

        for n, signer in enumerate(signers):
            try:
                payload, signed_at = signer.unsign(value, return_timestamp=True)
                return _in_time(base64_decode(payload), signed_at.timestamp(), self.max_age, is_old=n > 0)
            except BadData:
                continue
        return None


class _InStore:
    """The cookie's value is a random id, and its hash the key in a store."""

    def __init__(self, store: SessionStore, max_age: float) -> None:
        self.store = store
        self.max_age = max_age

    async def startup(self, app: Any) -> None:
        if (startup := getattr(self.store, "startup", None)) is not None:
            await startup()

    async def find(self, app: Any, value: str) -> Callable[[], Kept | None]:
        if not _ID.fullmatch(value):
            return lambda: None
        saved_at, _, data = (await self.store.load(_key(value)) or b"").partition(b":")
        kept = _in_time(data, float(saved_at), self.max_age, is_old=False) if data else None
        return lambda: kept

    async def save(self, app: Any, session: Session, old: str, data: bytes) -> str | None:
        if len(data) > MAX_STORED:
            raise ConfigurationError(
                f"the session takes {len(data)} bytes, and a store keeps {MAX_STORED}; put less into it"
            )
        data = b"%d:%s" % (time.time(), data)
        if session.is_found and not session.is_renewed:
            is_kept = await self.store.save(_key(old), data, self.max_age, create=False)
            return old if is_kept else None  # another request has logged out meanwhile
        # An id that the client brought and nobody gave out is never taken over (session fixation).
        new = secrets.token_urlsafe(ID_BYTES)
        await self.store.save(_key(new), data, self.max_age, create=True)
        if session.is_found:
            await self.store.delete(_key(old))
        return new

    async def forget(self, value: str) -> None:
        await self.store.delete(_key(value))


def _key(value: str) -> str:
    return sha256(value.encode("ascii")).hexdigest()


def _in_time(data: bytes, written_at: float, max_age: float, is_old: bool) -> Kept | None:
    """The session, unless its time is over, whatever the client or the store think of it."""
    age = time.time() - written_at
    return Kept(data, is_old or age > OLD * max_age) if -CLOCK_SKEW <= age <= max_age else None


def keep_private(headers: MutableHeaders) -> None:
    """Keep an answer that depends on the session out of shared caches (RFC 9111 section 3 and 4.1).

    Without a Cache-Control it becomes `no-store`; one of the author's keeps its ages and becomes `private`.

    >>> from weebill.sessions import keep_private
    >>> response = Response("hello", headers={"cache-control": "public, max-age=60"})
    >>> keep_private(response.headers)
    >>> response.headers["cache-control"], response.headers["vary"]
    ('private, max-age=60', 'Cookie')
    """
    headers.vary("Cookie")
    directives = [directive.strip() for directive in headers.get("cache-control", "no-store").split(",")]
    if not {"no-store", "private"} & {directive.lower() for directive in directives}:
        shared = ("", "public", "s-maxage", "private")  # private="field" leaves the rest to everybody
        own = [d for d in directives if d.partition("=")[0].lower() not in shared]
        directives = ["private", *own]
    headers["cache-control"] = ", ".join(directives)


def flash(message: str, category: str = "message") -> None:
    """Keep a message for the next page that shows messages, as Flask's.

    Raises ConfigurationError outside a request and without a SessionMiddleware.

    >>> from weebill.sessions import SessionMiddleware, flash, get_flashed_messages
    >>> app = App(secret_key="0123456789abcdef" * 4)
    >>> app.middleware(SessionMiddleware())
    <SessionMiddleware in a signed cookie>
    >>> @app.post("/save")
    ... async def save():
    ...     flash("It is saved.")
    >>> @app.get("/")
    ... async def index():
    ...     return get_flashed_messages()
    >>> client = TestClient(app)
    >>> client.post("/save").status_code, client.get("/").json(), client.get("/").json()
    (204, ['It is saved.'], [])
    """
    session = _session_for("flash")
    session["_flashes"] = [*session.get("_flashes", []), [category, message]]


def get_flashed_messages(
    with_categories: bool = False, category_filter: Container[str] = ()
) -> list[str] | list[tuple[str, str]]:
    """Take out the messages that `flash` has kept; asked again in one request it gives the same.

    With `with_categories` as (category, message); with a `category_filter` those of its categories alone,
    while the others are gone too, as in Flask. Raises ConfigurationError as `flash`.

    >>> from weebill.sessions import SessionMiddleware, flash, get_flashed_messages
    >>> app = App(secret_key="0123456789abcdef" * 4)
    >>> app.middleware(SessionMiddleware())
    <SessionMiddleware in a signed cookie>
    >>> @app.get("/")
    ... async def index():
    ...     flash("There is no such bird.", "error")
    ...     return get_flashed_messages(with_categories=True)
    >>> TestClient(app).get("/").json()
    [['error', 'There is no such bird.']]
    """
    session = _session_for("get_flashed_messages")
    if session.flashed is None:
        kept = session.pop("_flashes") if "_flashes" in session else []
        session.flashed = [(category, message) for category, message in kept]
    messages = [pair for pair in session.flashed if not category_filter or pair[0] in category_filter]
    return messages if with_categories else [message for _, message in messages]


def _session_for(name: str) -> Session:
    request = current_request.get(None)
    if request is None:
        raise ConfigurationError(f"{name}() was called outside a request")
    return request.session
