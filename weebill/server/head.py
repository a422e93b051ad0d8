"""What a request's head means for the connection: its request line, framing and host; whether it goes on.

A parser splits the field lines; everything that RFC 9112 makes of a head is decided here, once for both
parsers, and by digits and tokens only. Every fault is a ProtocolError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import FieldsTooLarge, ProtocolError, TargetTooLong
from ..headers import Fields, split_host
from ..settings import Settings
from .state import Parser

__all__ = ["Head", "check_beginning", "check_sizes", "read_head"]


class Head(NamedTuple):
    """A checked head. `target` is in origin form (or "*"); `length` is the content's in bytes, 0 for none,
    None for chunked; `expectation` is the value of Expect, lower case, "" for none."""

    method: str
    target: str
    http_version: str
    fields: Fields
    length: int | None
    keep_alive: bool
    expectation: str


# RFC 9112 section 3. Single spaces, and no control or byte beyond ASCII in the target. A method longer than
# 64 bytes is nobody's. HTTP/1.2 to 1.9 would be served as 1.1 (RFC 9110 section 6.2).
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([\x21-\x7e]+) HTTP/1\.([0-9])\r\n")
_OTHER_VERSION = re.compile(_REQUEST_LINE.pattern.replace(rb"1\.", rb"[02-9]\."))

# This is no proxy, and an echo of credentials helps attackers only (RFC 9110 section 9.3.6 and 9.3.8).
_NEVER = (b"CONNECT", b"TRACE")

# The fields that mean something to the connection, by their spelling; others are remembered as plain.
# PERF: one look-up for each field instead of lower() and a comparison.
_HOST_FIELD = b"host"
_FRAMING = (_HOST_FIELD, b"content-length", b"transfer-encoding", b"connection", b"expect")
_roles: dict[bytes, bytes] = {}
_new = tuple.__new__  # PERF: a named tuple without its own constructor, three times as fast
_MAX_SPELLINGS = 2000
_MAX_LENGTH = 64  # bytes of a name that is remembered

_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_good_hosts: set[bytes] = set()


def _role(name: bytes) -> bytes:
    lower = name.lower()
    role = _FRAMING[_FRAMING.index(lower)] if lower in _FRAMING else b""  # the same object each time
    if len(name) <= _MAX_LENGTH:
        if len(_roles) >= _MAX_SPELLINGS:  # somebody makes names up: begin again with those that are in use
            _roles.clear()
        _roles[name] = role
    return role


def check_beginning(data: bytes, start: int, searched: int) -> None:
    """Check an incomplete head, which begins at `start`, as far as that is possible; up to `searched` it was.
    Raises ProtocolError when its end would be waited for in vain."""
    seen = searched + (data[searched : searched + 1] == b"\n")  # not from between CR and LF
    if data.count(b"\n", seen) != data.count(b"\r\n", seen):
        raise ProtocolError(400, "The head is malformed: a line does not end in CR LF.")
    if len(data) > start and not 32 < data[start] < 127 and data != b"\r":
        raise ProtocolError(400, "This is not HTTP/1.1.")


def check_sizes(data: bytes, start: int, end: int, settings: Settings) -> None:
    """Raise TargetTooLong or FieldsTooLarge for a head in `data[start:end]`, complete or not."""
    longest = settings.max_request_line
    line = data.find(b"\r\n", start, min(end, start + longest + 2))
    if line < 0:
        if end - start > longest + 1:  # its CR may have come without its LF
            raise TargetTooLong(longest)
    elif end - line - len("\r\n\r\n\r\n") > settings.max_fields_size:
        raise FieldsTooLarge(f"The fields are longer than {settings.max_fields_size} bytes.")


def read_head(block: bytes, parser: Parser) -> Head:
    """Read a complete head, from its first byte to its empty line. Raises ProtocolError: 505 for another
    version, 501 for CONNECT, 400 for every fault."""
    line = _REQUEST_LINE.match(block)
    if line is None:
        if _OTHER_VERSION.match(block):
            check_beginning(block, 0, 0)  # byte by byte, a bad line end would have been found before
            raise ProtocolError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        raise ProtocolError(400, "The request line is malformed.")
    method, target, minor = line.groups()
    if method in _NEVER:
        check_beginning(block, 0, 0)
        raise ProtocolError(501, f"{method.decode('ascii')} is not served here.")
    http_version = "1.0" if minor == b"0" else "1.1"
    fields = parser.fields(block[line.end() :])
    host: bytes | None = None
    framing: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        role = _roles.get(name)
        if role is None:
            role = _role(name)
        if role:
            if role is _HOST_FIELD and host is None:
                host = value
            else:
                framing.setdefault(role, []).append(value)
    if host not in _good_hosts or _HOST_FIELD in framing:  # PERF: the usual host was seen before
        _check_hosts(host, framing.get(_HOST_FIELD), http_version)
    text = target.decode("ascii")
    if text[0] != "/":
        text, fields = _other_form(method, text, fields)
    if "#" in text:
        raise ProtocolError(400, "The target has a fragment.")
    if not framing:
        return _new(Head, (method.decode("ascii"), text, http_version, fields, 0, http_version != "1.0", ""))
    length = _length(framing.get(b"content-length"), framing.get(b"transfer-encoding"), http_version)
    keep_alive = _persists(framing.get(b"connection"), http_version)
    expectation = _expectation(framing[b"expect"]) if b"expect" in framing else ""
    return Head(method.decode("ascii"), text, http_version, fields, length, keep_alive, expectation)


def _length(lengths: list[bytes] | None, codings: list[bytes] | None, http_version: str) -> int | None:
    """RFC 9112 section 6.3. Never a fall-back from one framing to the other."""
    if codings:
        if lengths:
            raise ProtocolError(400, "Content-Length beside Transfer-Encoding.")
        if http_version == "1.0":
            raise ProtocolError(400, "Transfer-Encoding under HTTP/1.0.")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ProtocolError(400, "Transfer-Encoding is not a single chunked.")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise ProtocolError(400, "Content-Length comes twice.")
    if not _DIGITS.fullmatch(lengths[0]):
        raise ProtocolError(400, "Content-Length is not a number of at most 18 digits.")
    return int(lengths[0])


def _check_hosts(host: bytes | None, more: list[bytes] | None, http_version: str) -> None:
    """RFC 9112 section 3.2: exactly one, and well-formed, so that nobody ever builds a URL of a bad one."""
    if more:
        raise ProtocolError(400, "Host comes twice.")
    if host is not None:
        _check_host(host)
    elif http_version != "1.0":
        raise ProtocolError(400, "Host is missing.")


def _check_host(host: bytes) -> None:
    if host in _good_hosts:
        return
    if split_host(host) is None:
        raise ProtocolError(400, "Host is malformed.")
    if len(_good_hosts) >= _MAX_SPELLINGS:
        _good_hosts.clear()
    _good_hosts.add(host)


def _persists(connection: list[bytes] | None, http_version: str) -> bool:
    """RFC 9112 section 9.3."""
    if connection is None:
        return http_version != "1.0"
    if len(connection) == 1 and connection[0] == b"keep-alive":  # PERF: what browsers send
        return True
    options = _items(connection)
    if b"close" in options:
        return False
    return http_version != "1.0" or b"keep-alive" in options


def _expectation(lines: list[bytes]) -> str:
    return b", ".join(sorted(_items(lines))).decode("latin-1")


def _items(lines: Iterable[bytes]) -> set[bytes]:
    """The items of a list field that came on these lines, lower case (RFC 9110 section 5.6.1)."""
    return {item.strip(b" \t").lower() for line in lines for item in line.split(b",")} - {b""}


def _other_form(method: bytes, target: str, fields: Fields) -> tuple[str, Fields]:
    """The forms of a target besides a path (RFC 9112 section 3.2.2 to 3.2.4): the target as a path, and the
    fields with the Host that it names."""
    if target == "*":
        if method != b"OPTIONS":
            raise ProtocolError(400, "The target * is for OPTIONS only.")
        return target, fields
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ProtocolError(400, "The target is neither a path nor an http URL.")
    # The target's host overrides the field, for everybody who reads the fields later.
    host, path = absolute[1].encode("ascii"), absolute[2]
    _check_host(host)
    fields = [(b"host", host), *(field for field in fields if field[0].lower() != b"host")]
    if method == b"OPTIONS" and not path:  # RFC 9112 section 3.2.4
        return "*", fields
    return (path if path.startswith("/") else "/" + path), fields
