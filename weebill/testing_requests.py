"""What a test client sends: URLs, cookies and content."""

from __future__ import annotations

import mimetypes
import os
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit
from urllib.request import Request as CookieRequest

import msgspec

from .headers import Fields, Headers

__all__ = ["Cookies", "Outgoing", "Pairs", "outgoing_request"]

PIECE = 1 << 16  # bytes of content that a socket would give at a time
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]]
Content = tuple[Iterable[bytes], dict[str, str]]  # the pieces, and the fields that speak of them

# What a redirect leaves behind (RFC 9110 section 15.4): with another method, and with another host.
OF_CONTENT = frozenset(("content-encoding", "content-length", "content-type", "expect", "transfer-encoding"))
OF_ONE_HOST = frozenset(("authorization", "cookie", "host"))


class Cookies(CookieJar):
    """The cookies that a client keeps: sent where their path, Secure and age allow it.

    >>> client = TestClient(App())
    >>> client.cookies.set("theme", "dark")
    >>> client.cookies.get("theme")
    'dark'
    """

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def set(self, name: str, value: str) -> None:
        """Keep a cookie for the whole site."""
        self.store(self._base_url, [f"{name}={value}; Path=/"])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a cookie that is kept."""
        return next((cookie.value for cookie in self if cookie.name == name), default)

    def __getitem__(self, name: str) -> str:
        if (value := self.get(name)) is None:
            raise KeyError(name)
        return value

    def store(self, url: str, lines: Iterable[str]) -> None:
        """Take over the Set-Cookie lines of an answer from `url`."""
        self.extract_cookies(_CookieSource(lines), CookieRequest(url))  # type: ignore[arg-type]  # noqa: S310

    def field(self, url: str) -> str:
        """The Cookie field for a request to `url`, "" for none."""
        request = CookieRequest(url)  # noqa: S310
        self.add_cookie_header(request)
        return request.get_header("Cookie") or ""


class _CookieSource:
    """As much of an HTTPResponse as CookieJar wants."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._message = Message()
        for line in lines:
            self._message["set-cookie"] = line

    def info(self) -> Message:
        return self._message


@dataclass(slots=True)
class Outgoing:
    """One request as it is going to be sent. `given` are the fields that the test has given itself."""

    method: str
    url: str
    target: str
    given: Headers
    of_content: dict[str, str]
    pieces: Iterable[bytes]
    cookies: Mapping[str, str]

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.method} {self.url}"

    def fields(self, ours: dict[str, str], jar: Cookies) -> Fields:
        """The fields: ours, unless the test gives its own."""
        kept = jar.field(self.url) if len(jar) else ""
        pairs = [*([kept] if kept else []), *(f"{name}={value}" for name, value in self.cookies.items())]
        ours = {**ours, **self.of_content, "cookie": "; ".join(pairs)}
        given = self.given
        if "content-length" in given or "transfer-encoding" in given:  # how it is framed, it says itself
            ours.pop("content-length", None)
            ours.pop("transfer-encoding", None)
        own = Headers({name: value for name, value in ours.items() if value and name not in given})
        return own.raw + given.raw

    def keep_content(self) -> None:
        """The content may be needed again."""
        self.pieces = list(self.pieces)

    def redirect(self, status: int, location: str) -> None:
        """Ask there, with the method that HTTP says (RFC 9110 sections 15.4.2 to 15.4.4)."""
        url = urljoin(self.url, location)
        if urlsplit(url).netloc != urlsplit(self.url).netloc:
            self._leave(OF_ONE_HOST)
            self.cookies = {}
        self.url, self.target = url, _target(url)
        if (status == 303 and self.method != "HEAD") or (status in (301, 302) and self.method == "POST"):
            self._leave(OF_CONTENT)
            self.method, self.pieces, self.of_content = "GET", [], {}

    def _leave(self, names: frozenset[str]) -> None:
        pairs = [field for field in self.given.raw if field[0].decode("latin-1").lower() not in names]
        self.given = Headers.from_raw(pairs)


def outgoing_request(
    base_url: str,
    method: str,
    url: str,
    params: Pairs | None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
    content: bytes | str | Iterable[bytes] | None,
    data: Mapping[str, Any] | None,
    files: Pairs | None,
    json: Any,
    cookies: Mapping[str, str] | None,
    auth: tuple[str, str] | None,
) -> Outgoing:
    """The arguments of `TestClient.request` as the request that they mean. Raises TypeError for two contents
    at once, and ValueError for a field that HTTP does not allow."""
    pieces, of_content = _content(content, data, files, json)
    given = Headers(headers if headers is not None else ())
    if auth is not None:
        given = Headers.from_raw([*given.raw, (b"authorization", _basic(auth))])
    whole = _with_params(_absolute(base_url, url.removeprefix("*")), params)
    target = "*" if url == "*" else _target(whole)
    return Outgoing(method.upper(), whole, target, given, of_content, pieces, cookies or {})


# -- URLs


def _absolute(base_url: str, url: str) -> str:
    """Not urljoin: the path is a test's to choose, with every dot segment."""
    if "://" in url.partition("?")[0]:
        return url
    return base_url.rstrip("/") + ("" if url.startswith("/") else "/") + url


def _with_params(url: str, params: Pairs | None) -> str:
    """`url` with `params` added to its query."""
    query = urlencode(params if isinstance(params, Mapping) else list(params or ()), doseq=True)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _target(url: str) -> str:
    """The target in origin form. Blanks and what is no ASCII are percent-encoded, escapes stay."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return quote((parts.path or "/") + query, safe=PRINTABLE)


def _basic(auth: tuple[str, str]) -> bytes:
    """The Authorization field for a user and a password (RFC 7617)."""
    return b"Basic " + b64encode(":".join(auth).encode())


# -- content


def _content(
    content: bytes | str | Iterable[bytes] | None,
    data: Mapping[str, Any] | None,
    files: Pairs | None,
    json: Any,
) -> Content:
    """The pieces of the content, and the fields that speak of it. TypeError for two contents at once."""
    if sum(given is not None for given in (content, data if data is not None else files, json)) > 1:
        raise TypeError("content, json, and data with files exclude each other")
    kind = ""
    if json is not None:
        content, kind = msgspec.json.encode(json), "application/json"
    elif files is not None:
        content, kind = _multipart(data or {}, files)
    elif data is not None:
        content, kind = urlencode(data, doseq=True), "application/x-www-form-urlencoded"
    if content is None:
        return [], {}
    whole = content.encode() if isinstance(content, str) else content
    if not isinstance(whole, bytes):
        return whole, {"transfer-encoding": "chunked"}
    pieces = [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]
    return pieces, {"content-length": str(len(whole)), "content-type": kind}


def _multipart(data: Mapping[str, Any], files: Pairs) -> tuple[bytes, str]:
    """The content as multipart/form-data (RFC 7578), in the spelling of browsers, and its media type."""
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in _each(data):
        text = value if isinstance(value, bytes) else str(value).encode()
        parts.append(_part(boundary, f'name="{_quoted(name)}"', "", text))
    for name, file in _each(files):
        filename, content, kind = _file(name, file)
        where = f'name="{_quoted(name)}"; filename="{_quoted(filename)}"'
        parts.append(_part(boundary, where, f"Content-Type: {kind}\r\n", content))
    end = f"--{boundary}--\r\n".encode("ascii")
    return b"".join((*parts, end)), f"multipart/form-data; boundary={boundary}"


def _part(boundary: str, where: str, more: str, content: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Disposition: form-data; {where}\r\n{more}\r\n"
    return head.encode() + content + b"\r\n"


def _each(pairs: Pairs) -> Iterator[tuple[str, Any]]:
    """Names and single values: a list is several of the same name."""
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        for one in value if isinstance(value, list) else [value]:
            yield name, one


def _file(name: str, file: Any) -> tuple[str, bytes, str]:
    """File name, content and media type of one file; a tuple says them itself."""
    filename, content, kind = None, file, ""
    if isinstance(file, tuple):
        filename, content, kind = (*file, "")[:3]
    if filename is None:  # "" is what a browser says of an input that was left empty
        path = getattr(content, "name", None)  # of a file that was opened
        filename = os.path.basename(path) if isinstance(path, str) else name
    if hasattr(content, "read"):
        content = content.read()
    if isinstance(content, str):
        content = content.encode()
    return filename, content, kind or mimetypes.guess_type(filename)[0] or "application/octet-stream"


def _quoted(text: str) -> str:
    """As browsers write a name (WHATWG HTML, multipart/form-data encoding algorithm)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
