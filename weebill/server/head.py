"""What a request's head means for the connection: its request line, framing and host; whether it goes on.

A parser splits the field lines; everything that RFC 9112 makes of a head is decided here, once for both
parsers, and by digits and tokens only. Every fault is a ProtocolError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from ..errors import FieldsTooLarge, ProtocolError, TargetTooLong
from ..exchange import TargetParts, split_target
from ..headers import Fields, split_host
from ..settings import Settings
from .state import Parser

__all__ = ["Head", "HeadReader", "check_beginning", "check_sizes", "skip_empty_line"]


class Head(Struct, frozen=True):
    """A checked head. `target` is in origin form (or "*"), `parts` is what it is made of (split_target);
    `fields` may be those of other requests too, so change a copy; `length` is the content's in bytes, 0 for
    none, None for chunked; `expectation` is the value of Expect, lower case, "" for none; `size` is the
    head's own, in bytes."""

    method: str
    target: str
    parts: TargetParts
    http_version: str
    fields: Fields
    length: int | None
    keep_alive: bool
    expectation: str
    size: int


# A method is a token (RFC 9110 section 9.1); one longer than 64 bytes is nobody's.
# PERF: the usual ones need no check and no decoding.
_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
# HTTP/1.2 to 1.9 would be served as 1.1 (RFC 9110 section 6.2).
_VERSIONS = {b"HTTP/1.0": "1.0", **{b"HTTP/1.%d" % minor: "1.1" for minor in range(1, 10)}}
_OTHER_VERSION = re.compile(rb"HTTP/[02-9]\.[0-9]")

# This is no proxy, and an echo of credentials helps attackers only (RFC 9110 section 9.3.6 and 9.3.8).
_NEVER = ("CONNECT", "TRACE")

# The fields that mean something to the connection, by their spelling; others are remembered as plain.
# PERF: one look-up for each field instead of lower() and a comparison.
_HOST_FIELD = b"host"
_FRAMING = (_HOST_FIELD, b"content-length", b"transfer-encoding", b"connection", b"expect")
_roles: dict[bytes, bytes] = {}
_MAX_SPELLINGS = 2000
_MAX_LENGTH = 64  # bytes of a name that is remembered
_MOST_KEPT = 2048  # bytes of a head that a connection keeps, and once more of its field lines

# The fields, the length of the content, whether the connection persists, and the expectation: as in Head.
Meaning = tuple[Fields, int | None, bool, str]

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


def skip_empty_line(data: bytes) -> int:
    """Where the head in `data` begins: one empty line before it is tolerated (RFC 9112 section 2.2). Raises
    ProtocolError for more of them."""
    if data[:2] != b"\r\n":
        return 0
    if data[2:3] in (b"\r", b"\n"):
        raise ProtocolError(400, "More than one empty line before a request.")
    return 2


def check_sizes(data: bytes, start: int, end: int, settings: Settings) -> None:
    """Raise TargetTooLong or FieldsTooLarge for a head in `data[start:end]`, complete or not."""
    longest = settings.max_request_line
    line = data.find(b"\r\n", start, min(end, start + longest + 2))
    if line < 0:
        if end - start > longest + 1:  # its CR may have come without its LF
            raise TargetTooLong(longest)
    elif end - line - len("\r\n\r\n\r\n") > settings.max_fields_size:
        raise FieldsTooLarge(f"The fields are longer than {settings.max_fields_size} bytes.")


class HeadReader:
    """Reads the heads of one connection.

    PERF: clients send much the same with each request of a connection, many the very same head, most the very
    same field lines. The last one is kept: equal bytes mean the same, and are not split and judged again.
    """

    __slots__ = ("_block", "_head", "_lines", "_meaning", "_parser", "_settings", "_usual")

    _head: Head
    _meaning: Meaning

    def __init__(self, parser: Parser, settings: Settings) -> None:
        self._parser = parser
        self._obey(settings)

    def _obey(self, settings: Settings) -> None:
        """What was read under other limits is read again."""
        self._settings = settings
        self._usual = min(settings.max_request_line, settings.max_fields_size)  # breaks no limit on its parts
        self._block = self._lines = b""

    def read(self, data: bytes, searched: int, settings: Settings) -> Head | None:
        """Read the head that `data` begins with, which is not empty; None if it is not complete, which it was
        not in `searched` bytes of it. Raises ProtocolError: 505 for another version, 501 for CONNECT, 400 for
        every fault, and for what is too long TargetTooLong and FieldsTooLarge."""
        if settings is not self._settings:
            self._obey(settings)
        elif data == self._block or (self._block and data.startswith(self._block)):  # PERF: == is far cheaper
            return self._head
        start = skip_empty_line(data) if data[0] == 13 else 0
        end = data.find(b"\r\n\r\n", searched or start) + 4
        if end < 4:
            return None
        if end > self._usual:
            check_sizes(data, start, end, settings)
        block = data[start:end]
        line, _, lines = block.partition(b"\r\n")
        method, target, http_version = _read_request_line(line, block)
        if lines == self._lines and http_version == "1.1":
            fields, length, keep_alive, expectation = self._meaning
        else:
            meaning = fields, length, keep_alive, expectation = self._judge(lines, http_version)
            if http_version == "1.1" and len(lines) <= _MOST_KEPT:
                self._lines, self._meaning = lines, meaning
        if target[:1] != "/":
            target, fields = _other_form(method, target, fields)
        if "#" in target:
            raise ProtocolError(400, "The target has a fragment.")
        parts = split_target(target)
        head = Head(method, target, parts, http_version, fields, length, keep_alive, expectation, end)
        if end <= _MOST_KEPT and not start:
            self._block, self._head = block, head
        return head

    def _judge(self, lines: bytes, http_version: str) -> Meaning:
        """What field lines mean for the connection."""
        fields = self._parser.fields(lines)
        max_fields = self._settings.max_fields
        if len(fields) > max_fields:
            raise FieldsTooLarge(f"There are more than {max_fields} fields.")
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
        if not framing:
            return fields, 0, http_version != "1.0", ""
        length = _length(framing.get(b"content-length"), framing.get(b"transfer-encoding"), http_version)
        keep_alive = _persists(framing.get(b"connection"), http_version)
        expectation = _expectation(framing[b"expect"]) if b"expect" in framing else ""
        return fields, length, keep_alive, expectation


def _read_request_line(line: bytes, block: bytes) -> tuple[str, str, str]:
    """Method, target and version: between single spaces, and no control and no byte beyond ASCII in the
    target (RFC 9112 section 3)."""
    try:
        name, path, version = line.split(b" ")
        target = path.decode("ascii")
    except ValueError:
        raise _malformed_line() from None
    if not target or not target.isprintable():
        raise _malformed_line()
    method, http_version = _METHODS.get(name), _VERSIONS.get(version)
    if method is None or http_version is None:
        return _unusual_method(name, version, block), target, _VERSIONS[version]
    return method, target, http_version


def _unusual_method(name: bytes, version: bytes, block: bytes) -> str:
    if not _METHOD.fullmatch(name):
        raise _malformed_line()
    if version not in _VERSIONS:
        if not _OTHER_VERSION.fullmatch(version):
            raise _malformed_line()
        check_beginning(block, 0, 0)  # byte by byte, a bad line end would have been found before
        raise ProtocolError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    method = name.decode("ascii")
    if method in _NEVER:
        check_beginning(block, 0, 0)
        raise ProtocolError(501, f"{method} is not served here.")
    return method


def _malformed_line() -> ProtocolError:
    return ProtocolError(400, "The request line is malformed.")


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


def _other_form(method: str, target: str, fields: Fields) -> tuple[str, Fields]:
    """The forms of a target besides a path (RFC 9112 section 3.2.2 to 3.2.4): the target as a path, and the
    fields with the Host that it names."""
    if target == "*":
        if method != "OPTIONS":
            raise ProtocolError(400, "The target * is for OPTIONS only.")
        return target, fields
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ProtocolError(400, "The target is neither a path nor an http URL.")
    # The target's host overrides the field, for everybody who reads the fields later.
    host, path = absolute[1].encode("ascii"), absolute[2]
    _check_host(host)
    fields = [(b"host", host), *(field for field in fields if field[0].lower() != b"host")]
    if method == "OPTIONS" and not path:  # RFC 9112 section 3.2.4
        return "*", fields
    return (path if path.startswith("/") else "/" + path), fields
