"""What proxies tell of the client: X-Forwarded-For and its kin, or Forwarded (RFC 7239).

    client 203.0.113.7 ──> proxy 10.0.0.2 ──> proxy 10.0.0.1 ──> us, whose peer is 10.0.0.1

    X-Forwarded-For: (what the client made up), 203.0.113.7, 10.0.0.2

Each proxy adds the address of its own peer at the right. So the list is walked from there, from our peer on,
for as long as the address is one of our proxies; the first that is not is the client, and nothing to the left
of it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from .errors import ConfigurationError, HTTPException
from .headers import Headers, split_host

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["Networks", "ProxyHeadersMiddleware"]

Peer = tuple[str, int] | None

LOOPBACK = ("127.0.0.1", "::1")
OF_PROXIES = ("forwarded", *(f"x-forwarded-{what}" for what in ("for", "proto", "host", "port", "prefix")))
SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 7239 section 6, and IPv6 without brackets as X-Forwarded-For has it.
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}|_[A-Za-z0-9._-]+))?|([0-9A-Fa-f:.]+)")
_HIDDEN = re.compile(r"(?:unknown|_[A-Za-z0-9._-]+)(?::[A-Za-z0-9._-]+)?", re.IGNORECASE)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9\-_~!$&'()*+,;=:@%][A-Za-z0-9\-._~!$&'()*+,;=:@%]*)*/?")

# RFC 7239 section 4; beyond a token, the characters of an address without its quotes do no harm.
_PAIR = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)="
    r'(?:([!#$%&\'*+\-.^_`|~0-9A-Za-z:\[\]]+)|"((?:[^"\\]|\\.)*)")[ \t]*(?=[;,]|\Z)'
)


class Networks:
    """Addresses and networks, for the question whether a peer is one of them. "unix" stands for a peer on a
    unix socket, which has no address. Raises ConfigurationError.

    >>> from weebill.proxy_headers import Networks
    >>> ("10.1.2.3", 80) in Networks(["10.0.0.0/8"]), None in Networks(["unix"])
    (True, True)
    """

    def __init__(self, networks: Iterable[str]) -> None:
        if isinstance(networks, str):
            raise ConfigurationError(f"trusted is a text; write trusted=[{networks!r}]")
        self._networks: list[IPv4Network | IPv6Network] = []
        self._unix = False
        for network in networks:
            if network == "unix":
                self._unix = True
                continue
            try:
                self._networks.append(ip_network(network))
            except ValueError as error:
                raise ConfigurationError(
                    f'{network!r} is no trusted network: {error}; write "10.0.0.0/8", "::1" or "unix"'
                ) from None

    def __contains__(self, peer: Peer) -> bool:
        if peer is None:
            return self._unix
        try:
            address = ip_address(peer[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address  # as a socket for both families has it
        return any(address in network for network in self._networks)


class ProxyHeadersMiddleware:
    """Believe what our own proxies tell of the client, and nobody else.

    `trusted` are their addresses and networks, by default this machine's, and "unix" for a proxy on a unix
    socket. Where they are not known, `hops` says instead how many proxies each request passes; the program
    must not be reachable but through them. `headers` are the fields that these proxies set: Forwarded, or
    some of X-Forwarded-For, -Proto, -Host, -Port and -Prefix, by default the first two. Name none that they
    do not set, for those they hand through as the client wrote them. From then on `request.client`,
    `scheme`, `host`, `url` and `root_path` are those that the client sees.

    A malformed field is 400, for else its sender would pass for the proxy. An address that the proxy hides
    leaves the last one that is known. Raises ConfigurationError.

    >>> from weebill.proxy_headers import ProxyHeadersMiddleware
    >>> app = App()
    >>> proxies = app.middleware(ProxyHeadersMiddleware(hops=1))
    >>> @app.get("/")
    ... async def index(request: Request) -> str:
    ...     return f"{request.client.host} {request.scheme}"
    >>> fields = {"x-forwarded-for": "1.1.1.1, 203.0.113.7", "x-forwarded-proto": "https"}
    >>> TestClient(app).get("/", headers=fields).text
    '203.0.113.7 https'
    """

    def __init__(
        self,
        trusted: Iterable[str] | None = None,
        headers: Iterable[str] = ("X-Forwarded-For", "X-Forwarded-Proto"),
        hops: int | None = None,
    ) -> None:
        if isinstance(headers, str):
            raise ConfigurationError(f"headers is a text; write headers=[{headers!r}]")
        self._headers = frozenset(name.lower() for name in headers)
        if not self._headers or not self._headers <= frozenset(OF_PROXIES):
            raise ConfigurationError(f"the headers of proxies are {', '.join(OF_PROXIES)}, not {headers!r}")
        if "forwarded" in self._headers and len(self._headers) > 1:
            raise ConfigurationError("headers=['Forwarded'] or those with X-, never both: they may differ")
        if hops is not None and (trusted is not None or hops < 1):
            raise ConfigurationError(
                "hops is the number of proxies, 1 or more, where trusted= cannot name them; not both"
            )
        self._hops = hops
        self._trusted = Networks(LOOPBACK if trusted is None else trusted)

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        if self._hops or request.exchange.client in self._trusted:
            fields = Headers.from_raw(request.exchange.fields)
            try:
                if "forwarded" in self._headers:
                    self._read_forwarded(request, fields)
                else:
                    self._read_x_forwarded(request, fields)
            except ValueError as error:
                raise HTTPException(400, f"A proxy's field is malformed: {error}") from None
        return await call_next(request)

    def _read_forwarded(self, request: Request, fields: Headers) -> None:
        if elements := parse_forwarded(fields.get("forwarded", "")):
            passed = self._walk(request, [element.get("for", "unknown") for element in elements])
            told = elements[-passed]
            _apply(request, told.get("proto", ""), told.get("host", ""), "", "")

    def _read_x_forwarded(self, request: Request, fields: Headers) -> None:
        def told(what: str) -> list[str]:
            name = f"x-forwarded-{what}"
            value = fields.get(name, "") if name in self._headers else ""
            return [item.strip() for item in value.split(",")] if value else []

        passed = self._walk(request, told("for"))

        def of_the_first(what: str) -> str:
            """What the proxy next to the client said; those behind it may have added, or replaced it all."""
            values = told(what)
            if values and not values[-min(passed, len(values))]:
                raise ValueError(f"X-Forwarded-{what.title()} has an empty item")
            return values[-min(passed, len(values))] if values else ""

        _apply(request, *map(of_the_first, ("proto", "host", "port", "prefix")))

    def _walk(self, request: Request, chain: list[str]) -> int:
        """Find the client; return how many proxies its request has passed."""
        passed = 0
        for node in reversed(chain):
            passed += 1
            address = _address(node)
            if address is None:
                break
            request.exchange.client = address
            if passed >= self._hops if self._hops else address not in self._trusted:
                break
        return max(passed, 1)


def _apply(request: Request, proto: str, host: str, port: str, prefix: str) -> None:
    exchange = request.exchange
    if proto:
        if proto.lower() not in SCHEMES:
            raise ValueError(f"{proto!r} is neither http nor https")
        exchange.scheme = SCHEMES[proto.lower()]
    if host or port:
        found = split_host((host or request.host).encode("latin-1"))
        if found and port:
            found = split_host(f"{found[0]}:{port}".encode("latin-1"))
        if found is None:
            raise ValueError(f"{host!r} with the port {port!r} is no host")
        name, number = found
        request.host = name if number in (None, DEFAULT_PORTS[exchange.scheme]) else f"{name}:{number}"
    if prefix:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"{prefix!r} is no path")
        exchange.root_path = prefix.rstrip("/") + exchange.root_path


def _address(node: str) -> Peer:
    """Address and port (0 for none) of a node, None for one that is hidden. Raises ValueError."""
    if _HIDDEN.fullmatch(node):
        return None
    found = _NODE.fullmatch(node)
    if found is None:
        raise ValueError(f"{node!r} is no address")
    address = ip_address(found[1] or found[2] or found[4])
    port = found[3] or ""
    return str(getattr(address, "ipv4_mapped", None) or address), int(port) if port.isdigit() else 0


def parse_forwarded(value: str) -> list[dict[str, str]]:
    """The elements of a Forwarded field with their parameters, the nearest proxy's last (RFC 7239 section 4).

    Raises ValueError for everything malformed, in time linear to its length.

    >>> from weebill.proxy_headers import parse_forwarded
    >>> parse_forwarded('for=192.0.2.43, For="[2001:db8::17]:4711";proto=https')
    [{'for': '192.0.2.43'}, {'for': '[2001:db8::17]:4711', 'proto': 'https'}]
    """
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(value):
        if value[at] == ",":
            elements.append({})
            at += 1
        elif value[at] in "; \t":
            at += 1
        else:
            found = _PAIR.match(value, at)
            if found is None or found[1].lower() in elements[-1]:
                raise ValueError(f"Forwarded at {value[at : at + 20]!r}")
            quoted = found[3]
            elements[-1][found[1].lower()] = found[2] or re.sub(r"\\(.)", r"\1", quoted or "")
            at = found.end()
    return [element for element in elements if element]
