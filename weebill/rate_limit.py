"""How many requests a client may send.

Each client has a bucket of tokens. A request takes one, and they come back at an even rate up to the bucket's
size. All that has to be known of a bucket is when it will be full again:

    full_at - now = what has been taken, in seconds of filling        <= size of the bucket, in seconds

(the generic cell rate algorithm, ITU-T I.371). A bucket that is full need not be kept.
"""

from __future__ import annotations

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import TYPE_CHECKING

from .errors import ConfigurationError, HTTPException
from .functions import describe, is_async

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["RateLimitMiddleware", "client_network"]

_UNITS = {
    "s": 1,
    "second": 1,
    "min": 60,
    "m": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}
_LIMIT = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{1,6})?\s*(s|m|min|h|d|second|minute|hour|day)s?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
ROUNDING = 1e-6  # of floating point, relative to one token


class RateLimitMiddleware:
    """Refuse with 429 what one client sends beyond `limit` (RFC 6585 section 4).

    `limit` is a number for a time: "100/minute", "5/second", "10/30s". A client that was silent may send
    `burst` requests at once, by default the whole number; then they come back evenly. `key` tells clients
    apart: a function of the request, by default `client_network`; requests for which it gives None are not
    counted. At most `max_clients` are remembered, and beyond that the one that was silent for longest is
    forgotten. `name` is the policy's in the fields `RateLimit` and `RateLimit-Policy` of each answer
    (draft-ietf-httpapi-ratelimit-headers); a refusal says in Retry-After how many seconds to wait.

    The counts are this process's: of several workers each has its own. Raises ConfigurationError.

    >>> from weebill.rate_limit import RateLimitMiddleware
    >>> app = App()
    >>> @app.get("/", middleware=[RateLimitMiddleware("1/minute")])
    ... async def index() -> str:
    ...     return "hello"
    >>> client = TestClient(app)
    >>> client.get("/").status_code, client.get("/").status_code
    (200, 429)
    >>> client.get("/").headers["ratelimit-policy"]
    '"default";q=1;w=60'
    """

    def __init__(
        self,
        limit: str,
        *,
        key: Callable[[Request], Hashable | None] | None = None,
        burst: int | None = None,
        name: str = "default",
        max_clients: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        count, seconds = _parse(limit)
        self._size = count if burst is None else burst
        if self._size < 1 or max_clients < 1:
            raise ConfigurationError(
                f"burst is {burst!r} and max_clients {max_clients!r}; they are 1 or more"
            )
        if key is not None and is_async(key):
            raise ConfigurationError(
                f"the key {describe(key)} is async; write a plain function of the request"
            )
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"the name {name!r} takes 1 to 32 letters, digits, - and _")
        self._key = key or client_network
        self._token = seconds / count  # seconds until one comes back
        self._name = name
        self._policy = f'"{name}";q={self._size};w={-(-self._size * seconds // count)}'
        self._max_clients = max_clients
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()  # the longest silent first

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        key = self._key(request)
        if key is None:
            return await call_next(request)
        wait, member = self._take(key)
        told = request.state.rate_limits = [
            *getattr(request.state, "rate_limits", ()),
            (self._policy, member),
        ]
        if wait:
            fields = {"retry-after": str(wait), **_fields(told)}
            raise HTTPException(429, f"Too many requests; try again in {wait} s.", fields)
        response = await call_next(request)
        response.headers.update(_fields(request.state.rate_limits))  # with those of the limits inside of this
        return response

    def _take(self, key: Hashable) -> tuple[int, str]:
        """Take a token. How many seconds to wait for one, 0 if it is there, and what the field says of it."""
        now = self._clock()
        taken = max(self._full_at.get(key, now) - now, 0.0) / self._token
        left = self._size - taken - 1 + ROUNDING
        wait = 0 if left >= 0 else math.ceil(-left * self._token)
        if not wait:
            taken += 1
            self._full_at[key] = now + taken * self._token
            self._full_at.move_to_end(key)
            self._forget(now)
        return wait, f'"{self._name}";r={max(int(left), 0)};t={math.ceil((taken - ROUNDING) * self._token)}'

    def _forget(self, now: float) -> None:
        """Drop two of the oldest that are full again, so that they go faster than new ones come."""
        for oldest in tuple(islice(self._full_at, 2)):
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_clients:
                return
            del self._full_at[oldest]


def _fields(told: list[tuple[str, str]]) -> dict[str, str]:
    policies, members = zip(*told, strict=True)
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(members)}


def client_network(request: Request) -> str:
    """The address of the client; of an IPv6 address the first 64 bits, for one household has them all
    (RFC 6177). "" for clients without an address, who count as one: behind a proxy on a unix socket
    ProxyHeadersMiddleware finds theirs.

    >>> from weebill.rate_limit import client_network
    >>> app = App()
    >>> @app.get("/")
    ... async def index(request: Request) -> str:
    ...     return client_network(request)
    >>> TestClient(app).get("/").text
    '127.0.0.1'
    """
    client = request.client
    if client is None:
        return ""
    try:
        address = ip_address(client.host)
    except ValueError:
        return client.host
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))


def _parse(limit: str) -> tuple[int, int]:
    """Number and seconds of "100/minute"."""
    found = _LIMIT.fullmatch(limit.strip().lower()) if isinstance(limit, str) else None
    unit = next((_UNITS[name] for name in _UNITS if found and name.startswith(found[3])), 0)
    if not found or not unit or int(found[1]) < 1 or found[2] == "0":
        raise ConfigurationError(
            f'{limit!r} is no limit; write a number for a time, like "100/minute", "5/second" or "10/30s"'
        )
    return int(found[1]), unit * int(found[2] or 1)
