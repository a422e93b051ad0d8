"""What is kept of a session, and where.

    Session            names and values that JSON can hold; knows whether it was touched and what changed
    SessionStore       the three calls that a place for sessions answers
      MemoryStore      of one process, gone with it
      SQLiteStore      a file, for all processes of one machine

A store never sees the id that the client has, but a hash of it: who reads the store cannot use a session.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from .errors import ConfigurationError
from .threads import run_file_io

if TYPE_CHECKING:
    import sqlite3

__all__ = ["EMPTY", "Kept", "MemoryStore", "SQLiteStore", "Session", "SessionStore"]

EMPTY = b"{}"
MAX_DEPTH = 64
SWEEP_EVERY = 600.0  # seconds

_PREPARE = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "CREATE TABLE IF NOT EXISTS sessions "
    "(key TEXT PRIMARY KEY, data BLOB NOT NULL, ends REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS sessions_ends ON sessions (ends)",
)


class Kept(NamedTuple):
    """A session as it was found: JSON, and whether it should be written anew even if nothing changes."""

    data: bytes
    is_old: bool


class Session(MutableMapping[str, Any]):
    """What a program remembers of one client, as `request.session`.

    A mapping from str to what JSON can hold: None, bool, int, float, str, lists and dicts of these; tuples
    come back as lists. What changes is seen, inside its values too. Setting anything else raises
    ConfigurationError at once. A session that is left empty is forgotten, here and by the client.

    >>> from weebill.sessions import SessionMiddleware, MemoryStore
    >>> app = App()
    >>> app.middleware(SessionMiddleware(MemoryStore()))
    <SessionMiddleware in MemoryStore>
    >>> @app.get("/")
    ... async def index(request):
    ...     request.session["visits"] = request.session.get("visits", 0) + 1
    ...     return str(request.session["visits"])
    >>> client = TestClient(app)
    >>> client.get("/").text, client.get("/").text
    ('1', '2')
    """

    __slots__ = ("_before", "_data", "_find", "_is_sealed", "flashed", "is_found", "is_old", "is_renewed")

    def __init__(self, find: Callable[[], Kept | None]) -> None:
        self._find = find
        self._data: dict[str, Any] | None = None  # None until somebody looks
        self._before = EMPTY
        self._is_sealed = False
        self.is_found = False
        self.is_old = False
        self.is_renewed = False
        self.flashed: list[tuple[str, str]] | None = None  # the messages that this request has taken out

    # -- as a mapping

    def __getitem__(self, name: str) -> Any:
        return self._opened()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise ConfigurationError(f"session[{name!r}]: names are text, and this is {type(name).__name__}")
        _plain(value, f"session[{name!r}]")
        self._to_change()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._to_change()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def __len__(self) -> int:
        return len(self._opened())

    # -- what else a handler may want

    @property
    def is_new(self) -> bool:
        """Whether the client brought no session, or none that is valid.

        >>> from weebill.sessions import SessionMiddleware
        >>> app = App(secret_key="0123456789abcdef" * 4)
        >>> _ = app.middleware(SessionMiddleware())
        >>> app.add_route("/", lambda request: f"new: {request.session.is_new}")
        >>> TestClient(app).get("/").text
        'new: True'
        """
        self._opened()
        return not self.is_found

    def renew(self) -> None:
        """Give the session another id and let the old one be worth nothing; to be called at login, so that
        nobody who knew the id before is logged in with it. What the session holds stays, but for the token
        against forged requests.

        >>> app = App()
        >>> @app.post("/login")
        ... def login(request):
        ...     request.session.renew()
        ...     request.session["user"] = request.form["name"]
        ...     return redirect("/", 303)
        """
        self._to_change().pop("_csrf", None)
        self.is_renewed = True

    def clear(self) -> None:
        """Forget everything, the id too; to be called at logout.

        >>> app = App()
        >>> @app.post("/logout")
        ... def logout(request):
        ...     request.session.clear()
        ...     return redirect("/", 303)
        """
        self._to_change().clear()
        self.is_renewed = True

    def __repr__(self) -> str:  # without its values: it may come into a log
        return f"<Session of {len(self._data)} values>" if self._data is not None else "<Session>"

    # -- for the middleware

    @property
    def is_touched(self) -> bool:
        """Whether anybody has read or changed it."""
        return self._data is not None

    def sealed(self) -> bytes | None:
        """The session as JSON if it has changed, else None; from now on it cannot be changed.

        Raises ConfigurationError for a value that JSON cannot hold.
        """
        self._is_sealed = True
        if self._data is None:
            return None
        data = _encoded(self._data)
        return data if data != self._before or self.is_renewed else None

    @property
    def before(self) -> bytes:
        """The session as it was found, as JSON."""
        return self._before

    def _opened(self) -> dict[str, Any]:
        if self._data is None:
            self._data = {}
            if (kept := self._find()) is not None:
                with suppress(msgspec.DecodeError):  # signed, but by another program: no session of ours
                    self._data = msgspec.json.decode(kept.data, type=dict[str, Any])
                    self._before, self.is_old, self.is_found = kept.data, kept.is_old, True
        return self._data

    def _to_change(self) -> dict[str, Any]:
        if self._is_sealed:
            raise ConfigurationError(
                "the session was changed after it had been saved; it is saved before the head of the answer "
                "is sent, so change it in the handler, or before the first piece of a stream"
            )
        return self._opened()


def _encoded(data: dict[str, Any]) -> bytes:
    return msgspec.json.encode({name: _plain(value, f"session[{name!r}]") for name, value in data.items()})


def _plain(value: Any, place: str, depth: int = 0) -> Any:
    """`value` of JSON's own types alone. What would come back as something else is refused, so that nobody
    learns it from the next request."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise ConfigurationError(f"{place} holds half a surrogate pair, which is no text")
        return str.__str__(value)  # of an Enum, its value
    if depth < MAX_DEPTH:
        if isinstance(value, list | tuple):
            return [_plain(item, f"{place}[{n}]", depth + 1) for n, item in enumerate(value)]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _plain(item, f"{place}[{key!r}]", depth + 1) for key, item in value.items()}
    raise ConfigurationError(
        f"{place} is {type(value).__name__}; a session holds what JSON can: None, bool, int, finite float, "
        f"str, and lists and dicts with str for keys, {MAX_DEPTH} deep at most"
    )


class SessionStore(Protocol):
    """Where sessions are kept. Write a class with these three to keep them elsewhere.

    `key` is the hash of the client's id, 64 hexadecimal digits. A store may also have `startup()` and
    `close()`, coroutines that run with those of the application.

    >>> from weebill.sessions import SessionMiddleware
    >>> class DictStore:  # which forgets no session when its time is over
    ...     def __init__(self):
    ...         self.kept = {}
    ...
    ...     async def load(self, key):
    ...         return self.kept.get(key)
    ...
    ...     async def save(self, key, data, max_age, *, create):
    ...         if not create and key not in self.kept:
    ...             return False
    ...         self.kept[key] = data
    ...         return True
    ...
    ...     async def delete(self, key):
    ...         self.kept.pop(key, None)
    >>> SessionMiddleware(DictStore())
    <SessionMiddleware in DictStore>
    """

    async def load(self, key: str) -> bytes | None:
        """What was saved under `key`, None for nothing or when its time is over."""

    async def save(self, key: str, data: bytes, max_age: float, *, create: bool) -> bool:
        """Keep `data` for `max_age` seconds. With `create` False only if there is something under `key`
        still, in one step: who has logged out must not come back by a slower request. Whether it was kept."""

    async def delete(self, key: str) -> None:
        """Forget it."""


class MemoryStore(SessionStore):
    """Sessions in the memory of one process: for tests and small programs with one worker.

    Beyond `max_sessions` the one that was saved the longest ago is dropped.

    >>> from weebill.sessions import MemoryStore, SessionMiddleware
    >>> SessionMiddleware(MemoryStore(max_sessions=100))
    <SessionMiddleware in MemoryStore>
    """

    def __init__(self, max_sessions: int = 10_000) -> None:
        self.max_sessions = max_sessions
        self._sessions: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    async def load(self, key: str) -> bytes | None:
        """As SessionStore."""
        data, end = self._sessions.get(key, (None, 0.0))
        return data if end > time.monotonic() else None

    async def save(self, key: str, data: bytes, max_age: float, *, create: bool) -> bool:
        """As SessionStore."""
        if not create and await self.load(key) is None:
            return False
        now = time.monotonic()
        self._sessions[key] = data, now + max_age
        self._sessions.move_to_end(key)
        while len(self._sessions) > self.max_sessions or next(iter(self._sessions.values()))[1] <= now:
            self._sessions.popitem(last=False)
            if not self._sessions:
                break
        return True

    async def delete(self, key: str) -> None:
        """As SessionStore."""
        self._sessions.pop(key, None)

    def __len__(self) -> int:
        return len(self._sessions)


class SQLiteStore(SessionStore):
    """Sessions in a file of SQLite's, which all processes of a machine may share. They outlive a restart.

    The file is made when the application starts, readable by its owner alone; what has expired is deleted
    every ten minutes. ConfigurationError at start for a file that cannot be opened.

    >>> from weebill.sessions import SQLiteStore, SessionMiddleware
    >>> SessionMiddleware(SQLiteStore("sessions.db"))
    <SessionMiddleware in SQLiteStore>
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._next_sweep = 0.0

    async def startup(self) -> None:
        """Open the file."""
        await run_file_io(self._execute, "SELECT 1")

    async def close(self) -> None:
        """Close the file."""
        await run_file_io(self._close)

    async def load(self, key: str) -> bytes | None:
        """As SessionStore."""
        rows, _ = await run_file_io(
            self._execute, "SELECT data FROM sessions WHERE key = ? AND ends > ?", key, time.time()
        )
        return rows[0][0] if rows else None

    async def save(self, key: str, data: bytes, max_age: float, *, create: bool) -> bool:
        """As SessionStore."""
        now = time.time()
        if create:
            sql = "INSERT OR REPLACE INTO sessions (data, ends, key) VALUES (?, ?, ?)"
            await run_file_io(self._execute, sql, data, now + max_age, key)
            return True
        sql = "UPDATE sessions SET data = ?, ends = ? WHERE key = ? AND ends > ?"
        _, count = await run_file_io(self._execute, sql, data, now + max_age, key, now)
        return count == 1

    async def delete(self, key: str) -> None:
        """As SessionStore."""
        await run_file_io(self._execute, "DELETE FROM sessions WHERE key = ?", key)

    def _execute(self, sql: str, *values: object) -> tuple[list[Any], int]:
        """The rows that a statement gives, and how many it has changed."""
        with self._lock:
            connection = self._connection or self._open()
            if time.monotonic() > self._next_sweep:
                self._next_sweep = time.monotonic() + SWEEP_EVERY
                connection.execute("DELETE FROM sessions WHERE ends <= ?", (time.time(),))
            cursor = connection.execute(sql, values)
            return cursor.fetchall(), cursor.rowcount

    def _open(self) -> sqlite3.Connection:
        import sqlite3  # most programs do not need it

        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            # Each statement is a transaction of its own; the lock lets one thread in at a time.
            connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        try:
            for statement in _PREPARE:
                connection.execute(statement)
        except sqlite3.Error as error:
            connection.close()
            raise self._unusable(error) from None
        self._connection = connection
        return connection

    def _unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"the file of sessions {self.path} cannot be used: {error}")

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
