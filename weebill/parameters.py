"""The markers of a typed handler, which say where an argument comes from, and the places that they mean.

    async def find(tag: Annotated[str, Query("t")], user_agent: Annotated[str, Header()] = ""):

What is done with them is in sources.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from .errors import SignatureError
from .requests import Request

__all__ = [
    "COOKIE",
    "FILE",
    "FORM",
    "HEADER",
    "QUERY",
    "Cookie",
    "File",
    "Form",
    "Header",
    "Marker",
    "Place",
    "Query",
]


class Marker(Struct, frozen=True):
    """What `Query` and its kin return: where a parameter comes from, and under which name."""

    place: Place
    name: str | None = None
    default: Any = ...  # as of what must be there


def Query(name: str | None = None, *, default: Any = ...) -> Any:  # noqa: N802
    """Fill a parameter from the query: `Annotated[int, Query("page-size")] = 10`.

    Needed only where the name is another than the parameter's, or to fill the fields of a whole class
    (`Annotated[Filter, Query()]`): a plain `limit: int` is the query already. `default` is for use as a
    parameter's default: `limit: int = Query(default=10)`.

    >>> from typing import Annotated
    >>> app = App()
    >>> @app.get("/")
    ... async def index(size: Annotated[int, Query("page-size")] = 10) -> list[int]:
    ...     return [size]
    >>> TestClient(app).get("/?page-size=5").json()
    [5]
    """
    return Marker(_check(QUERY, name), name, default)


def Header(name: str | None = None, *, default: Any = ...) -> Any:  # noqa: N802
    """Fill a parameter from a field of the request; its underscores stand for hyphens.

    Several lines of a field are joined by ", "; `list[str]` gives them one by one.

    >>> from typing import Annotated
    >>> app = App()
    >>> @app.get("/")
    ... async def index(user_agent: Annotated[str, Header()]) -> str:
    ...     return user_agent
    >>> TestClient(app).get("/", headers={"user-agent": "bird"}).text
    'bird'
    """
    return Marker(_check(HEADER, name), name, default)


def Cookie(name: str | None = None, *, default: Any = ...) -> Any:  # noqa: N802
    """Fill a parameter from a cookie.

    >>> from typing import Annotated
    >>> app = App()
    >>> @app.get("/")
    ... async def index(theme: Annotated[str, Cookie()] = "light") -> str:
    ...     return theme
    >>> TestClient(app).get("/", cookies={"theme": "dark"}).text
    'dark'
    """
    return Marker(_check(COOKIE, name), name, default)


def Form(name: str | None = None, *, default: Any = ...) -> Any:  # noqa: N802
    """Fill a parameter from a value of a form, or with `Annotated[Login, Form()]` a whole class.

    The form is read as it arrives, before the handler is called and outside of its `timeout=`.

    >>> from typing import Annotated
    >>> app = App()
    >>> @app.post("/login")
    ... async def login(name: Annotated[str, Form()], remember: Annotated[bool, Form()] = False) -> str:
    ...     return f"Hello, {name}!"
    >>> TestClient(app).post("/login", data={"name": "Ada"}).text
    'Hello, Ada!'
    """
    return Marker(_check(FORM, name), name, default)


def File(name: str | None = None, *, default: Any = ...) -> Any:  # noqa: N802
    """Fill a parameter with an uploaded file, or with all of that name: `list[UploadFile]`.

    Needed only where the name is another than the parameter's: `photo: UploadFile` is a file already.

    >>> app = App()
    >>> @app.post("/birds")
    ... async def add(photo=File("picture")) -> str:
    ...     return photo.filename
    >>> TestClient(app).post("/birds", files={"picture": ("wren.png", b"...")}).text
    'wren.png'
    """
    return Marker(_check(FILE, name), name, default)


def _check(place: Place, name: object) -> Place:
    if name is not None and not isinstance(name, str):
        marker = place.label.capitalize()
        raise SignatureError(f"{marker}({name!r}): its first argument is a name; write {marker}(default=...)")
    return place


# -- places


class Values(Protocol):
    """What a place holds: names, each with its values in order."""

    def getlist(self, name: str) -> list[Any]: ...

    def __iter__(self) -> Any: ...


class Place(NamedTuple):
    """One part of a request that holds values by name. `secret` are the names whose values nobody shows."""

    label: str
    values: Callable[[Request], Values]
    secret: frozenset[str] | None = frozenset()

    def is_secret(self, name: str) -> bool:
        return self.secret is None or name.lower() in self.secret


class _Cookies(dict[str, str]):
    def getlist(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


_SECRET = ("authorization", "proxy-authorization", "cookie", "x-api-key", "x-csrf-token")


def _form_values(request: Any) -> Values:
    values: Values = request.form
    return values


def _file_values(request: Any) -> Values:
    values: Values = request.files
    return values


QUERY = Place("query", lambda request: request.query)
HEADER = Place("header", lambda request: request.headers, frozenset(_SECRET))
COOKIE = Place("cookie", lambda request: _Cookies(request.cookies), None)
FORM = Place("form", _form_values)
FILE = Place("file", _file_values)
