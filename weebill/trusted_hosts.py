"""Names of hosts that are answered to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import ConfigurationError, HTTPException
from .headers import split_host

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["TrustedHostMiddleware"]


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
        found = split_host(request.host.encode("latin-1"))
        name = found[0].removesuffix(".") if found else ""  # which is the same name (RFC 1034 section 3.1)
        if not name or not (name in self._exact or name.endswith(self._endings)):
            raise HTTPException(400, "This host is not served here.")
        return await call_next(request)


def _name(host: str) -> str:
    if host == "*":
        return host
    found = split_host(host.removeprefix("*.").encode("ascii", "replace"))
    if found is None or found[1] is not None or "*" in found[0] or host.endswith(":"):
        raise ConfigurationError(
            f'{host!r} is no name of a host; write "example.org", or "*.example.org" for all below it, '
            "without scheme and port"
        )
    return ("*." if host.startswith("*.") else "") + found[0].removesuffix(".")
