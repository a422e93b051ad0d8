"""What a request's head means for the connection: its framing, its host, whether it goes on.

Both parsers split a head into method, target, version and fields; everything that RFC 9112 makes of them
is decided here, once for both, and by digits and tokens only. Every fault is a ProtocolError.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import ProtocolError
from ..headers import Fields

__all__ = ["Head", "read_head"]


class Head(NamedTuple):
    """A checked head. `length` is the content's in bytes, 0 for none, None for chunked; `expectation` is
    "" or the value of Expect, lower case."""

    method: str
    target: str
    http_version: str
    fields: Fields
    length: int | None
    keep_alive: bool
    expectation: str


# The fields that mean something to the connection, by their spelling; others are remembered as plain.
# PERF: one look-up for each field instead of lower() and a comparison.
_FRAMING = (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect")
_roles: dict[bytes, bytes] = {}
_MAX_SPELLINGS = 2000

# RFC 3986 section 3.2.2 without user information; a comma is a list's, and never a host's.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2}){1,255})(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(r"(https?)://([^/?#]+)(.*)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_good_hosts: set[bytes] = set()


def _role(name: bytes) -> bytes:
    lower = name.lower()
    role = lower if lower in _FRAMING else b""
    if len(_roles) < _MAX_SPELLINGS:
        _roles[name] = role
    return role


def read_head(method: str, target: str, http_version: str, fields: Fields) -> Head:
    """Check a parsed head and read its framing. Raises ProtocolError: 400 for every fault, 417 never."""
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    expectation = ""
    for name, value in fields:
        role = _roles.get(name)
        if role is None:
            role = _role(name)
        if not role:
            continue
        if role == b"host":
            hosts.append(value)
        elif role == b"connection":
            connection.append(value.lower())
        elif role == b"content-length":
            lengths.append(value)
        elif role == b"transfer-encoding":
            codings.append(value)
        else:
            expectation = value.decode("latin-1").strip().lower()
    if "#" in target:
        raise ProtocolError(400, "The target has a fragment.")
    if target[0] != "/":
        target, hosts, fields = _other_form(method, target, hosts, fields)
    _check_host(hosts, http_version)
    length = _length(lengths, codings, http_version)
    return Head(
        method, target, http_version, fields, length, _persists(connection, http_version), expectation
    )


def _length(lengths: list[bytes], codings: list[bytes], http_version: str) -> int | None:
    """RFC 9112 section 6.3. Never a fall-back from one framing to the other."""
    if codings:
        if lengths:
            raise ProtocolError(400, "Content-Length beside Transfer-Encoding.")
        if http_version == "1.0":
            raise ProtocolError(400, "Transfer-Encoding under HTTP/1.0.")
        if len(codings) > 1 or codings[0].strip(b" \t").lower() != b"chunked":
            raise ProtocolError(400, "Transfer-Encoding is not a single chunked.")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise ProtocolError(400, "Content-Length comes twice.")
    if not _DIGITS.fullmatch(lengths[0].strip(b" \t")):
        raise ProtocolError(400, "Content-Length is not a number.")
    return int(lengths[0])


def _check_host(hosts: list[bytes], http_version: str) -> None:
    """RFC 9112 section 3.2: exactly one, and well-formed, so that no application builds a URL of a bad one."""
    if len(hosts) != 1:
        if not hosts and http_version == "1.0":
            return
        raise ProtocolError(400, "Host comes twice." if hosts else "Host is missing.")
    host = hosts[0].strip(b" \t")
    if host in _good_hosts:
        return
    if not _HOST.fullmatch(host):
        raise ProtocolError(400, "Host is malformed.")
    if len(_good_hosts) < _MAX_SPELLINGS:
        _good_hosts.add(host)


def _persists(connection: list[bytes], http_version: str) -> bool:
    """RFC 9112 section 9.3."""
    if not connection:
        return http_version != "1.0"
    options = {option.strip(b" \t") for line in connection for option in line.split(b",")}
    if b"close" in options:
        return False
    return http_version != "1.0" or b"keep-alive" in options


def _other_form(
    method: str, target: str, hosts: list[bytes], fields: Fields
) -> tuple[str, list[bytes], Fields]:
    """The forms of a target besides a path (RFC 9112 section 3.2.2 to 3.2.4)."""
    if method == "CONNECT":
        raise ProtocolError(501, "This server is no proxy.")
    if target == "*":
        if method != "OPTIONS":
            raise ProtocolError(400, "The target * is for OPTIONS only.")
        return target, hosts, fields
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ProtocolError(400, "The target is neither a path nor an http URL.")
    _, authority, rest = absolute.groups()
    if len(hosts) > 1:
        raise ProtocolError(400, "Host comes twice.")
    # The target's host overrides the field, for everybody who reads the fields later.
    host = authority.encode("latin-1")
    fields = [(b"host", host), *(f for f in fields if f[0].lower() != b"host")]
    return (rest if rest.startswith("/") else "/" + rest), [host], fields
