"""Conditional requests and ranges as pure functions (RFC 9110 sections 13 and 14).

    If-Match ──false──> 412          the order of section 13.2.2; each is asked only where the one
      │ absent: If-Unmodified-Since  before it has let the request pass
    If-None-Match ──false──> 304 to GET and HEAD, 412 to all others
      │ absent: If-Modified-Since, GET and HEAD only
    If-Range ──true or absent──> Range ──> 206 or 416; else the whole

The fields of a request are given as a mapping from lower-case names to texts, which `request.headers` is.
Everything is linear in the length of a field, but for the sorting of ranges.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import HTTPException
from .headers import http_date, parse_http_date

if TYPE_CHECKING:
    from .headers import Fields
    from .requests import Request

__all__ = [
    "check_preconditions",
    "has_entity_tag",
    "make_entity_tag",
    "not_modified_fields",
    "parse_range",
    "precondition",
    "range_is_wanted",
]

MOST_RANGES = 10  # in one answer; a request for more gets the whole (RFC 9110 section 14.2)
_FAR = 10**18  # beyond every file

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')  # RFC 9110 section 8.8.3
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
# Of a representation, which the client has already (RFC 9110 section 15.4.5).
_NOT_IN_304 = frozenset(
    (
        *(b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-range"),
        *(b"content-disposition", b"accept-ranges"),
    )
)


def make_entity_tag(text: str, weak: bool = False) -> str:
    """`text` as an entity tag (RFC 9110 section 8.8.3). What is one already stays as it is.

    Raises ValueError for characters that a tag cannot hold.

    >>> from weebill.conditional import make_entity_tag
    >>> make_entity_tag("v1"), make_entity_tag("v1", weak=True), make_entity_tag('"v1"')
    ('"v1"', 'W/"v1"', '"v1"')
    """
    if _TAG.fullmatch(text):
        return text
    tag = f'{"W/" if weak else ""}"{text}"'
    if not _TAG.fullmatch(tag):
        raise ValueError(f"an entity tag holds neither blanks nor quotes nor controls: {text!r}")
    return tag


def has_entity_tag(value: str, tag: str | None, weak: bool) -> bool:
    """Whether the field `value`, a list of tags or "*", holds `tag`; None is no representation at all.

    With `weak` W/"1" and "1" are the same, without it a weak tag equals none (RFC 9110 section 8.8.3.2).

    >>> from weebill.conditional import has_entity_tag
    >>> has_entity_tag('W/"a", "b"', '"a"', weak=True), has_entity_tag('W/"a", "b"', '"a"', weak=False)
    (True, False)
    """
    if tag is None:
        return False
    if value.strip() == "*":
        return True
    if weak:
        opaque = tag.removeprefix("W/")
        return any(found.removeprefix("W/") == opaque for found in _TAG.findall(value))
    return not tag.startswith("W/") and any(found == tag for found in _TAG.findall(value))


def precondition(
    method: str, headers: Mapping[str, str], etag: str | None, last_modified: float | None
) -> int | None:
    """What a request's conditions make of the answer: 304, 412, or None for the answer itself.

    `etag` and `last_modified` (seconds since the epoch) are those of the present representation, None where
    there is none (RFC 9110 section 13.2.2). A date that is none is passed over.

    >>> from weebill.conditional import precondition
    >>> precondition("GET", {"if-none-match": '"1"'}, '"1"', None)
    304
    >>> precondition("PUT", {"if-match": '"1"'}, '"2"', None)
    412
    """
    is_read = method in ("GET", "HEAD")
    if (tags := headers.get("if-match")) is not None:
        if not has_entity_tag(tags, etag, weak=False):
            return 412
    elif not _is_since(headers, "if-unmodified-since", last_modified, otherwise=True):
        return 412
    if (tags := headers.get("if-none-match")) is not None:
        if has_entity_tag(tags, etag, weak=True):
            return 304 if is_read else 412
    elif is_read and _is_since(headers, "if-modified-since", last_modified, otherwise=False):
        return 304
    return None


def _is_since(headers: Mapping[str, str], name: str, last_modified: float | None, otherwise: bool) -> bool:
    """Whether the date in a field is that of the last change or later; `otherwise` where one is missing."""
    date = None if name not in headers else parse_http_date(headers[name])
    return otherwise if date is None or last_modified is None else int(last_modified) <= date


def check_preconditions(
    request: Request, etag: str | None = None, last_modified: float | None = None
) -> None:
    """To be called before something is changed: let the request pass only if its client knows what is there
    now, so that no update is lost (RFC 9110 section 13.1.1).

    `etag` is the present representation's, with quotes or without, None where there is none yet. Raises
    HTTPException 412 where a condition of the request is false. A GET is answered by `make_conditional`.

    >>> from weebill.conditional import check_preconditions
    >>> app = App(__name__)
    >>> @app.put("/page")
    ... async def save(request: Request) -> str:
    ...     check_preconditions(request, etag="v2")
    ...     return "saved"
    >>> client = TestClient(app)
    >>> client.put("/page", headers={"if-match": '"v1"'}).status_code
    412
    >>> client.put("/page", headers={"if-match": '"v2"'}).text
    'saved'
    """
    tag = None if etag is None else make_entity_tag(etag)
    if precondition(request.method, request.headers, tag, last_modified) == 412:
        raise HTTPException(412, "What is here has changed, or is not what the request expects.")


def range_is_wanted(
    headers: Mapping[str, str], etag: str | None, last_modified: float | None, now: float | None = None
) -> bool:
    """Whether If-Range lets the Range count: it is absent, or names the present representation by a strong
    tag or by its exact date (RFC 9110 section 13.1.5).

    A date counts only if a second has passed since, in which nobody changed it again (section 8.8.2.2).
    """
    value = headers.get("if-range")
    if value is None:
        return True
    value = value.strip()
    if '"' in value:
        return etag is not None and not etag.startswith("W/") and value == etag
    if last_modified is None or value != http_date(last_modified):
        return False
    return int(last_modified) + 1 <= (time.time() if now is None else now)


def parse_range(value: str, length: int) -> list[tuple[int, int]] | None:
    """The byte ranges of a Range field in content of `length` bytes, as (first, one beyond the last).

    They are in order, and those that overlap or touch are joined. None: the field is malformed, of another
    unit, for more than 10 separate ranges, or the content is empty; send the whole (RFC 9110 section 14.2).
    An empty list: nothing of what it asks for is there, which is 416.

    >>> from weebill.conditional import parse_range
    >>> parse_range("bytes=0-4, 90-, -5", 100)
    [(0, 5), (90, 100)]
    >>> parse_range("bytes=100-", 100), parse_range("bytes=5-4", 100)
    ([], None)
    """
    unit, equals, specs = value.partition("=")
    # An empty file has no bytes to count; Go's precedent for clients that ask for a range of everything.
    if not equals or unit.strip().lower() != "bytes" or length == 0:
        return None
    ranges: list[tuple[int, int]] = []
    seen = False
    for spec in specs.split(","):
        spec = spec.strip(" \t")
        if not spec:
            continue
        found = _RANGE.fullmatch(spec)
        if found is None or spec == "-":
            return None
        seen = True
        first, last = (_number(digits) for digits in found.groups())
        if first is None:
            assert last is not None
            first, last = max(length - last, 0), length - 1
        elif last is None:
            last = length - 1
        elif last < first:
            return None
        if first < length:
            ranges.append((first, min(last + 1, length)))
    if not seen:
        return None
    joined = _joined(ranges)
    return joined if len(joined) <= MOST_RANGES else None


def _number(digits: str) -> int | None:
    """By digits only, and never slow: int() of many takes quadratic time."""
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 18 else _FAR


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


def not_modified_fields(fields: Fields) -> Fields:
    """Those of an answer's fields that its 304 has too (RFC 9110 section 15.4.5). Last-Modified is among
    them only where there is no ETag."""
    has_tag = any(name.lower() == b"etag" for name, _ in fields)
    return [
        (name, value)
        for name, value in fields
        if name.lower() not in _NOT_IN_304 and not (has_tag and name.lower() == b"last-modified")
    ]
