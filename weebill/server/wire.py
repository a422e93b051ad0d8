"""What we send: heads, chunks, and the checks that no field breaks the framing.

What leaves is checked as strictly as what comes (RFC 9110 section 5, RFC 9112 section 5 and 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ..errors import ResponseError, reason_phrase
from ..headers import Fields, check_field

__all__ = [
    "CONTINUE",
    "LAST_CHUNK",
    "ResponseHead",
    "chunk",
    "content_length",
    "has_no_content",
    "interim_head",
    "length_to_announce",
    "minimal",
    "response_head",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii") for status in range(200, 600)
}

# Field names that have passed the check and mean nothing to the framing, by their spelling.
# PERF: one look-up for each field instead of lower(), a comparison and a regular expression.
_plain: set[bytes] = set()
_MAX_SPELLINGS = 2000
_OURS = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date", b"upgrade")
)
_WITHOUT_CONTENT = (204, 205, 304)
_CONTROLS = bytes([*range(9), *range(10, 32), 127])

# PERF: most answers have one of a few heads. What was checked once is not built and checked again.
_HeadKey: TypeAlias = tuple[int, tuple[tuple[bytes, bytes], ...]]
_heads: dict[_HeadKey, ResponseHead] = {}
_MAX_HEADS = 500
_FEW = 6  # fields, as a page behind two middlewares has; more are seldom the same twice
_SHORT = 256  # bytes of a head that is kept


@dataclass(slots=True)
class ResponseHead:
    """The bytes of a head up to the fields that frame it, and what its fields said of the framing."""

    block: bytes
    length: int | None
    close: bool
    upgrade: bool
    has_date: bool
    has_content: bool  # unless it answers HEAD

    @property
    def fields(self) -> Fields:
        """The fields in `block`."""
        return [(n, v) for n, _, v in (line.partition(b": ") for line in self.block.split(b"\r\n")[1:-1])]


def response_head(status: int, fields: Fields) -> ResponseHead:
    """Status line and fields. What is between the server and its next neighbour (Content-Length, Connection,
    Keep-Alive) is taken out for the caller to decide; of several Dates the first counts.

    Raises ResponseError for a name that is no token, a value with a control byte, a Content-Length that is
    no number or comes twice, a Transfer-Encoding, and a status that is no final one.
    """
    if len(fields) > _FEW:
        return _new_head(status, fields)
    key: _HeadKey = (status, tuple(fields))
    head = _heads.get(key)
    if head is None:
        head = _new_head(status, fields)
        if len(head.block) <= _SHORT:
            if len(_heads) >= _MAX_HEADS:
                _heads.clear()
            _heads[key] = head
    return head


def _new_head(status: int, fields: Fields) -> ResponseHead:
    length: int | None = None
    close = upgrade = has_date = False
    try:
        lines = [_STATUS_LINES[status]]
    except KeyError:
        raise ResponseError(f"{status!r} is no status of a final answer") from None
    for name, value in fields:
        if name not in _plain and not _learn(name, value):
            role = name.lower()
            if role == b"content-length":
                if length is not None or not value.isdigit() or len(value) > 18:
                    raise ResponseError(f"Content-Length is {value!r}, or comes twice")
                length = int(value)
            elif role == b"transfer-encoding":
                raise ResponseError("Transfer-Encoding is the server's to choose; leave the field out")
            elif role == b"connection":
                close = close or b"close" in [option.strip() for option in value.lower().split(b",")]
            elif role == b"upgrade":  # an offer, which Connection has to name too (RFC 9110 section 7.8)
                upgrade = True
                lines.append(b"%b: %b\r\n" % (name, value))
            elif role == b"date" and not has_date:
                has_date = True
                lines.append(b"%b: %b\r\n" % (name, value))
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    block = b"".join(lines)
    # One pass over the whole: the only controls must be the two that end each line.
    if len(block) - len(block.translate(None, _CONTROLS)) != 2 * len(lines):
        _blame(fields)
    return ResponseHead(block, length, close, upgrade, has_date, status not in _WITHOUT_CONTENT)


def interim_head(status: int, fields: Fields) -> bytes:
    """An interim answer. Raises ResponseError for what response_head refuses, for a field that speaks of
    content or the connection (RFC 9110 section 8.6, RFC 9112 section 6.1), and for a status that is none, or
    the server's own to send (100, 101)."""
    if not 102 <= status <= 199:
        raise ResponseError(f"{status!r} is no status of an interim answer")
    lines = [f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")]
    for name, value in fields:
        try:
            check_field(name, value)
        except ValueError as error:
            raise ResponseError(str(error)) from None
        if name.lower() in _OURS:
            raise ResponseError(f"the field {name.decode()} has no place in an interim answer")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join((*lines, b"\r\n"))


def has_no_content(method: str, status: int) -> bool:
    """Whether an answer ends with its head, whatever the application gives (RFC 9110 section 6.4.1)."""
    return method == "HEAD" or status in _WITHOUT_CONTENT


@lru_cache(1000)
def content_length(length: int) -> bytes:
    """The line of a Content-Length. PERF: written once for each of the usual lengths."""
    return b"content-length: %d\r\n" % length


def length_to_announce(method: str, status: int, head: ResponseHead, length: int | None) -> int | None:
    """The Content-Length of an answer with `length` bytes of content, None where that is not known. None for
    no such field (RFC 9110 section 8.6). Raises ResponseError where the application has announced another."""
    announced = head.length
    if status == 204:
        return None
    if status == 205:  # RFC 9110 section 15.3.6
        return 0
    if status == 304:
        return announced
    if announced is None:
        return length
    if announced != length and length is not None and method != "HEAD":
        raise ResponseError(f"Content-Length says {announced}, but the content has {length} bytes")
    return announced


def _learn(name: bytes, value: bytes) -> bool:
    """Check a name that was not seen before; whether it is a plain one."""
    try:
        check_field(name, value)
    except ValueError as error:
        raise ResponseError(str(error)) from None
    if name.lower() in _OURS:
        return False
    if len(_plain) >= _MAX_SPELLINGS:
        _plain.clear()
    _plain.add(name)
    return True


def _blame(fields: Fields) -> None:
    for name, value in fields:
        try:
            check_field(name, value)
        except ValueError as error:
            raise ResponseError(str(error)) from None
    raise ResponseError("a field holds a control byte")


def chunk(piece: bytes) -> bytes:
    """One chunk (RFC 9112 section 7.1). `piece` is not empty, for an empty chunk is the last."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def minimal(status: int, detail: str, date: bytes, is_head: bool = False) -> bytes:
    """A whole answer of the server itself, after which it closes; to HEAD without its content."""
    content = f"{detail}\n".encode()
    fields = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(content)
    block = b"%b%b%bconnection: close\r\n\r\n" % (_STATUS_LINES[status], fields, date)
    return block if is_head else block + content
