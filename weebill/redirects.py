"""Redirects, which lead nowhere that the author has not meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from .requests import current_request
from .responses import Response

__all__ = ["RedirectResponse", "redirect", "safe_path"]


class RedirectResponse(Response):
    """Send the client elsewhere: `location` is a path of this site, or an http(s) URL of this host or of one
    of `allowed_hosts` ("example.org", "example.org:8080"; "*" is any).

    Raises ValueError for other hosts, so that no visitor's text sends somebody astray, and for what browsers
    would take for another host than it seems: blanks, control bytes, backslashes, "//host", other schemes.

    >>> RedirectResponse("/birds?page=2").headers["location"]
    '/birds?page=2'
    >>> RedirectResponse("https://evil.example/")
    Traceback (most recent call last):
    ValueError: the location 'https://evil.example/' leads to another host; name it in allowed_hosts
    """

    def __init__(
        self,
        location: str,
        status_code: int = 307,
        headers: Mapping[str, str] | None = None,
        *,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        if status_code not in (301, 302, 303, 307, 308):
            raise ValueError(f"{status_code} is no redirect; there are 301, 302, 303, 307 and 308")
        _check_location(location, (allowed_hosts,) if isinstance(allowed_hosts, str) else allowed_hosts)
        super().__init__(b"", status_code, headers)
        self.headers["location"] = quote(location, safe=":/%#?=@[]!$&'()*+,;~")


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")  # RFC 3986 section 3.1


def _check_location(location: str, allowed_hosts: Iterable[str]) -> None:
    # Browsers cut blanks and controls off its ends, drop tabs and line ends within it, and take "\\" for "/".
    if any(c <= " " or c == "\x7f" or c == "\\" for c in location):
        raise ValueError(f"the location {location!r} holds a blank, a control or a backslash")
    if location.startswith("//"):
        raise ValueError(f"the location {location!r} would lead to another host")
    scheme = _SCHEME.match(location)
    if scheme is None:
        return
    parts = urlsplit(location)  # ValueError for a bad address in brackets
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"the location {location!r} is neither a path nor an http(s) URL")
    allowed = [host.lower() for host in allowed_hosts]
    if not {"*", parts.hostname, parts.netloc.lower()}.isdisjoint(allowed):
        return
    request = current_request.get(None)
    if request is None or parts.netloc.lower() != request.host.lower():
        raise ValueError(f"the location {location!r} leads to another host; name it in allowed_hosts")


def safe_path(location: str | None, default: str = "/") -> str:
    """`location` if it is a path of this site, else `default`: for a `next` that a visitor has sent.

    >>> safe_path("/birds?page=2")
    '/birds?page=2'
    >>> [safe_path(text) for text in ("//evil.example", "https://evil.example", "/\\\\evil.example", None)]
    ['/', '/', '/', '/']
    """
    if location is None or not location.startswith("/"):
        return default
    try:
        _check_location(location, ())
    except ValueError:
        return default
    return location


def redirect(location: str, status_code: int = 302, *, allowed_hosts: Iterable[str] = ()) -> RedirectResponse:
    """An answer that sends the client to `location`, as Flask's. Raises as RedirectResponse.

    >>> redirect("/login").status_code
    302
    >>> redirect("https://example.org/", allowed_hosts=["example.org"]).headers["location"]
    'https://example.org/'
    """
    return RedirectResponse(location, status_code, allowed_hosts=allowed_hosts)
