"""Names of hosts that are answered to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import ConfigurationError, HTTPException

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["TrustedHostMiddleware", "split_host"]

# RFC 3986 section 3.2.2, without what no name of a host has, and RFC 9110 section 7.2.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{0,5}))?")


def split_host(value: str) -> tuple[str, str] | None:
    """Name and port of a Host field, the name in lower case and without a dot at its end; None for a field
    that is malformed.

    >>> from weebill.trusted_hosts import split_host
    >>> split_host("Example.org.:8080"), split_host("[::1]"), split_host("example.org@evil.example")
    (('example.org', '8080'), ('[::1]', ''), None)
    """
    found = _HOST.fullmatch(value)
    if found is None or int(found[2] or 0) > 65535:
        return None
    return found[1].lower().removesuffix("."), found[2] or ""


class TrustedHostMiddleware:
    """Answer to these names only, and to any other Host with 400 (RFC 9110 section 7.2).

    Links and redirects that are built of a Host which somebody made up lead to that somebody. `hosts` are
    names without a port ("example.org", "127.0.0.1", "[::1]"); "*.example.org" stands for all names below
    it, but not for example.org. Case and port do not count. Raises ConfigurationError for what is no name.

    >>> from weebill.trusted_hosts import TrustedHostMiddleware
    >>> app = App()
    >>> app.middleware(TrustedHostMiddleware(["example.org", "*.example.org"]))  # doctest: +ELLIPSIS
    <weebill.trusted_hosts.TrustedHostMiddleware object at ...>
    >>> client = TestClient(app)
    >>> client.get("/", headers={"host": "evil.example"}).status_code
    400
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        if isinstance(hosts, str):
            raise ConfigurationError(f"hosts is a text; write TrustedHostMiddleware([{hosts!r}])")
        names = [_name(host) for host in hosts]
        if not names:
            raise ConfigurationError("there are no trusted hosts; name those that this program is reached by")
        self._exact = frozenset(name for name in names if not name.startswith("*"))
        self._endings = tuple(name[1:] for name in names if name.startswith("*"))

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        found = split_host(request.host)
        if found is None or not (found[0] in self._exact or found[0].endswith(self._endings)):
            raise HTTPException(400, "This host is not served here.")
        return await call_next(request)


def _name(host: str) -> str:
    found = split_host(host.removeprefix("*."))
    if host != "*" and (found is None or found[1]):
        raise ConfigurationError(
            f'{host!r} is no name of a host; write "example.org", or "*.example.org" for all below it, '
            "without scheme and port"
        )
    return ("*." if host.startswith("*.") else "") + found[0] if found else "*"
