"""Fields and the other lists of names and values that HTTP carries: query, cookies, dates, q-values.

Pairs travel as bytes (`Fields`) and are decoded when somebody asks. Everything here is linear in the
length of its input and none of it raises for what a peer sent, but for `parse_query` beyond its limit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, overload
from urllib.parse import parse_qsl

from .errors import MissingField

__all__ = [
    "Fields",
    "Headers",
    "MultiDict",
    "MutableHeaders",
    "best_match",
    "check_field",
    "http_date",
    "is_token",
    "parse_cookies",
    "parse_http_date",
    "parse_parameters",
    "parse_qualities",
    "parse_query",
    "split_host",
]

Fields: TypeAlias = list[tuple[bytes, bytes]]

MAX_QUERY_PARAMETERS = 1000
MAX_COOKIES = 100

V = TypeVar("V")

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 section 5.5


def is_token(text: str) -> bool:
    """Whether `text` is a token, as names of fields and cookies are (RFC 9110 section 5.6.2)."""
    return text.isascii() and bool(_TOKEN.fullmatch(text.encode("ascii")))


def check_field(name: bytes, value: bytes) -> None:
    """Raise ValueError unless `name` is a token and `value` is free of control bytes (RFC 9110 section 5)."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no field name: it takes letters, digits and !#$%&'*+-.^_`|~ only")
    if bad := _BAD_IN_VALUE.search(value):
        raise ValueError(f"the field {name.decode('ascii')} holds the control byte {bad[0]!r}")


_new = object.__new__  # PERF: looked up once
_ASKED: dict[bytes, Any] = {}  # the index of fields that have been asked once


class Headers(Mapping[str, str]):
    """The fields of a message, by case-insensitive name, over the pairs as they were sent.

    `headers[name]` joins several lines of a list field with ", " as RFC 9110 section 5.3 lets a recipient
    do (cookies with "; "); `getlist(name)` gives them one by one. Iteration gives each name once, spelt as
    it was first sent. `raw` are the pairs.

    >>> from weebill.headers import Headers
    >>> headers = Headers([("Accept", "text/html"), ("accept", "text/plain")])
    >>> headers["ACCEPT"]
    'text/html, text/plain'
    >>> headers.getlist("accept")
    ['text/html', 'text/plain']
    >>> headers.get("range", "none"), "range" in headers, list(headers)
    ('none', False, ['Accept'])
    """

    __slots__ = ("_index", "raw")

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.raw: Fields = [_encode(name, value) for name, value in pairs]
        self._index: dict[bytes, Any] | None = None

    @classmethod
    def from_raw(cls, raw: Fields) -> Headers:
        """A view of `raw`, not a copy.

        >>> from weebill.headers import Headers
        >>> Headers.from_raw([(b"host", b"example.com")])["host"]
        'example.com'
        """
        headers = _new(cls)
        headers.raw = raw
        headers._index = None
        return headers

    def _by_name(self) -> dict[bytes, Any]:
        """By lower-case name the value as it was sent, or, where a name comes again, a list for each."""
        if not self._index:
            index: dict[bytes, Any] = {name.lower(): value for name, value in self.raw}
            if len(index) < len(self.raw):
                index = {}
                for name, value in self.raw:
                    index.setdefault(name.lower(), []).append(value)
            self._index = index
        return self._index

    def _find(self, name: str) -> Any:
        """The value of that name as it was sent, a list where the name comes again, None where it is not.

        PERF: many programs ask a request for one field. To look through the lines costs a half of an index,
        which is made when they are asked again; and to ask for the length first is half of lower()."""
        key = _keys.get(name) or _learn_key(name)
        if self._index is not None:
            return self._by_name().get(key)
        self._index = _ASKED
        length = len(key)
        found = None
        for known, value in self.raw:
            if len(known) == length and known.lower() == key:
                if found is not None:  # it comes again
                    return self._by_name()[key]
                found = value
        return found

    def getlist(self, name: str) -> list[str]:
        """The values of every line of that name, in order."""
        found = self._find(name)
        values = [found] if type(found) is bytes else found or ()
        return [value.decode("latin-1") for value in values]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name.lower())
        return value

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    @overload
    def get(self, name: str, default: str | V) -> str | V: ...
    def get(self, name: str, default: Any = None) -> Any:
        """The value, `default` where there is no such field."""
        found = self._find(name)
        if found is None:
            return default
        if type(found) is list:
            found = (b"; " if name.lower() == "cookie" else b", ").join(found)
        return found.decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        spelt: dict[bytes, str] = {}
        for name, _ in self.raw:
            spelt.setdefault(name.lower(), name.decode("latin-1"))
        return iter(spelt.values())

    def __len__(self) -> int:
        return len(self._by_name())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._by_name() == other._by_name()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({[(n.decode('latin-1'), v.decode('latin-1')) for n, v in self.raw]!r})"


class MutableHeaders(Headers):
    """The fields of an answer. Names and values are checked as they are set: ValueError names the fault.

    >>> headers = Response("hello").headers
    >>> headers["x-bird"] = "weebill"
    >>> del headers["content-type"]
    >>> headers
    MutableHeaders([('x-bird', 'weebill')])
    >>> headers["location"] = "/\\nset-cookie: x=1"
    Traceback (most recent call last):
    ValueError: the field location holds the control byte b'\\n'
    """

    __slots__ = ()

    def __setitem__(self, name: str, value: str) -> None:
        pair = _encode(name, value)
        raw = self.raw
        length = len(name)
        for known, _ in raw:
            # PERF: to ask for the length first is half of lower(), and most fields are set once
            if len(known) == length and known.lower() == pair[0].lower():
                self._remove(name)
                break
        raw.append(pair)
        self._index = None

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._remove(name)

    def add(self, name: str, value: str) -> None:
        """Add a line, besides those of the same name (Set-Cookie, Vary, Link).

        >>> response = Response("hello")
        >>> response.headers.add("link", "</style.css>; rel=preload")
        >>> response.headers.add("link", "</page/2>; rel=next")
        >>> len(response.headers.getlist("link"))
        2
        """
        self.raw.append(_encode(name, value))
        self._index = None

    def vary(self, name: str) -> None:
        """Say, once, that the answer depends on that field of the request (RFC 9110 section 12.5.5).

        >>> response = Response("hello")
        >>> response.headers.vary("Accept-Language")
        >>> response.headers.vary("accept-language")
        >>> response.headers["vary"]
        'Accept-Language'
        """
        if name.lower() not in parse_qualities(self.get("vary", "")):
            self.add("vary", name)

    def setdefault(self, name: str, value: str) -> str:
        """Set the field unless there is one; return what it is.

        >>> JSONResponse([]).headers.setdefault("content-type", "text/plain")
        'application/json'
        """
        if name not in self:
            self[name] = value
        return self[name]

    def update(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Set each of these fields; where a name comes several times, each line of it (Set-Cookie).

        >>> response = Response("hello")
        >>> response.headers.update({"cache-control": "no-store", "x-bird": "weebill"})
        >>> response.headers["cache-control"]
        'no-store'
        """
        if isinstance(headers, Headers):
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]
        elif isinstance(headers, Mapping):
            headers = headers.items()
        names: set[str] = set()
        for name, value in headers:
            if name.lower() in names:
                self.add(name, value)
            else:
                self[name] = value
                names.add(name.lower())

    def _remove(self, name: str) -> None:
        key = name.lower().encode("latin-1")
        self.raw[:] = [pair for pair in self.raw if pair[0].lower() != key]
        self._index = None


# PERF: the names of a program are few, and checked once.
_names: dict[str, bytes] = {}
_MAX_NAMES = 1000


def _encode(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        encoded = _names.get(name) or _learn(name)
        if value.isascii() and value.isprintable():  # PERF: what can be printed holds no control
            return encoded, value.encode()
        pair = encoded, value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"the field {name!r} holds {error.object[error.start]!r}, not latin-1") from None
    check_field(*pair)
    return pair


_keys: dict[str, bytes] = {}  # the names that were asked for, in lower case


def _learn_key(name: str) -> bytes:
    key = name.encode("latin-1", "backslashreplace").lower()
    if len(_keys) >= _MAX_NAMES:
        _keys.clear()
    _keys[name] = key
    return key


def _learn(name: str) -> bytes:
    encoded = name.encode("ascii")
    check_field(encoded, b"")
    if len(_names) >= _MAX_NAMES:  # somebody makes names up: begin again with those that are in use
        _names.clear()
    _names[name] = encoded
    return encoded


class MultiDict(Mapping[str, V]):
    """Names with one or more values in order, as in a query. `d[name]` is the first, `getlist` all.

    >>> from weebill.headers import MultiDict
    >>> query = MultiDict([("tag", "bird"), ("page", "2"), ("tag", "small")])
    >>> query["tag"], query.getlist("tag"), query.get("sort", "name")
    ('bird', ['bird', 'small'], 'name')
    >>> query.multi_items()
    [('tag', 'bird'), ('tag', 'small'), ('page', '2')]
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, V]] = ()) -> None:
        self._values: dict[str, list[V]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> V:
        return self._values[name][0]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def getlist(self, name: str) -> list[V]:
        """Every value of that name, in order."""
        return list(self._values.get(name, ()))

    def multi_items(self) -> list[tuple[str, V]]:
        """Every pair, the values of one name together."""
        return [(name, value) for name, values in self._values.items() for value in values]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"MultiDict({self.multi_items()!r})"


class Sent(MultiDict[V]):
    """What a client has sent in one `place`: to ask for what is not there is its fault and not the program's.
    `kind` is what the place holds."""

    __slots__ = ("_kind", "_place")

    def __init__(self, place: str, kind: str, pairs: Iterable[tuple[str, V]] = ()) -> None:
        super().__init__(pairs)
        self._place = place
        self._kind = kind

    def __getitem__(self, name: str) -> V:
        if name not in self._values:
            raise MissingField(self._place, self._kind, name)
        return self._values[name][0]


def parse_query(query: str) -> MultiDict[str]:
    """The pairs of a query or urlencoded form. Only "&" separates; bytes that are not UTF-8 become U+FFFD.

    Raises ValueError beyond 1,000 pairs.
    """
    if not query:
        return Sent("query", "parameter")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS)
    except ValueError:
        raise ValueError(f"The query has more than {MAX_QUERY_PARAMETERS} parameters.") from None
    return Sent("query", "parameter", pairs)


def parse_cookies(value: str) -> dict[str, str]:
    """The pairs of a Cookie field (RFC 6265 section 4.2.1). The first of a name wins, for browsers send the
    more specific path first; pairs without a name are passed over; at most 100 pairs are read. Only blanks
    and tabs are taken off a name: with any other space before it, a name is not the one that browsers guard
    (`__Host-`)."""
    cookies: dict[str, str] = {}
    for pair in value.split(";", MAX_COOKIES)[:MAX_COOKIES]:
        name, equals, content = pair.partition("=")
        name = name.strip(" \t")
        if name and equals:
            content = content.strip(" \t")
            if len(content) > 1 and content[0] == content[-1] == '"':
                content = content[1:-1]
            cookies.setdefault(name, content)
    return cookies


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(timestamp: float) -> str:
    """Seconds since the epoch as an IMF-fixdate, in GMT and in English (RFC 9110 section 5.6.7)."""
    t = time.gmtime(timestamp)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year:04} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"


def parse_http_date(value: str) -> float | None:
    """Seconds since the epoch of a date in any of its three forms, None if it is none of them."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        date = parsedate_to_datetime(value)
        # The form of asctime names no zone; all three are in GMT, wherever we are.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


# Values without quotes are read to the next ";", for there are peers that do not quote what is no token.
_PARAMETER = re.compile(
    r'(?:[ \t]*;)+[ \t]*(?:([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s;"]+)|$)'
)


def parse_parameters(text: str) -> dict[str, str]:
    """The parameters behind a media type or a disposition (RFC 9110 section 5.6.6), from its first ";" on:
    by lower-case name, their quotes still around them. Raises ValueError for any other text, and for a name
    that comes twice.

    >>> from weebill.headers import parse_parameters
    >>> parse_parameters('; charset=utf-8; Boundary="a b"')
    {'charset': 'utf-8', 'boundary': '"a b"'}
    """
    found: dict[str, str] = {}
    text = text.rstrip(" \t")
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise ValueError(f"{text[position : position + 40]!r} is no parameter")
        position = match.end()
        name = (match[1] or "").lower()
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        if name:  # it may be empty, but for its semicolon
            found[name] = match[2]
    return found


def parse_qualities(value: str) -> dict[str, float]:
    """The choices of an Accept or Accept-Encoding field with their weights (RFC 9110 section 12.4.2).

    Names are lower case, without parameters. A weight that is no number from 0 to 1 counts as 0.
    """
    choices: dict[str, float] = {}
    for item in value.split(","):
        name, *parameters = item.split(";")
        name = name.strip().lower()
        if not name:
            continue
        weight = 1.0
        for parameter in parameters:
            key, _, number = parameter.partition("=")
            if key.strip().lower() == "q":
                number = number.strip()
                weight = float(number) if _QVALUE.fullmatch(number) else 0.0
        choices[name] = max(weight, choices.get(name, 0.0))
    return choices


_QVALUE = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def best_match(value: str, offers: Iterable[str]) -> str | None:
    """Which of `offers` (media types or codings, best first) the field `value` likes best, None if none.

    An empty field accepts the first offer. "text/*" and "*/*" match as RFC 9110 section 12.5.1 says.
    """
    if not value.strip():
        return next(iter(offers), None)
    choices = parse_qualities(value)

    def weight(offer: str) -> float:
        kind = offer.partition("/")[0] + "/*"
        return next((choices[key] for key in (offer, kind, "*/*", "*") if key in choices), 0.0)

    best = max(offers, key=weight, default=None)
    return best if best is not None and weight(best) > 0 else None


# RFC 3986 section 3.2.2 without user information; a comma is a list's, and never a host's.
_HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|((?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2}){1,255}))(?::0*([0-9]{0,5}))?"
)


def split_host(value: bytes) -> tuple[str, int | None] | None:
    """Name, in lower case, and port of a Host field; None where it is malformed (RFC 9110 section 7.2).

    >>> from weebill.headers import split_host
    >>> split_host(b"API.example.com:8000")
    ('api.example.com', 8000)
    >>> split_host(b"[::1]")
    ('[::1]', None)
    >>> split_host(b"example.com/../admin") is None
    True
    """
    found = _HOST.fullmatch(value)
    if found is None or int(found[3] or 0) > 65535 or not (found[1] is None or _is_ipv6(found[1])):
        return None
    name = found[2] if found[1] is None else b"[%b]" % found[1]
    return name.decode("ascii").lower(), int(found[3]) if found[3] else None


def _is_ipv6(address: bytes) -> bool:
    import socket  # few name a host by its address

    try:
        socket.inet_pton(socket.AF_INET6, address.decode("ascii"))
    except OSError:
        return False
    return True
