"""multipart/form-data, piece by piece (RFC 7578). The library `multipart` finds the parts; their headers, and
how much of everything there may be, is checked here, so that a form has one verdict however it is cut."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    ParserLimitReached,
    PushMultipartParser,
    content_disposition_unquote,
)

from .errors import (
    FieldTooLarge,
    FormTooLarge,
    HTTPException,
    MalformedForm,
    PartHeaderTooLarge,
    TooManyParts,
)
from .headers import Headers, parse_parameters
from .uploads import Stretch, UploadFile

if TYPE_CHECKING:
    from .body import Body
    from .settings import Settings

__all__ = ["CHARSETS", "MultipartReader"]

CHARSETS = ("utf-8", "utf8", "us-ascii")  # us-ascii is UTF-8
TINY = 4096  # bytes; smaller pieces are put together
SHOWN = 40  # characters of a name in a sentence

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 section 5.1.1
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(slots=True)
class _Part:
    """The part that is being read: a file if it has a `filename`."""

    name: str
    filename: str | None
    content_type: str | None
    headers: Headers
    start: int  # where it begins in the store
    size: int = 0
    pieces: list[bytes] = field(default_factory=list)  # of a text field


class MultipartReader:
    """One form. `boundary` is the parameter of Content-Type as it was sent; files go to `store`, which the
    caller flushes, or, if it is the gathered content that is fed here, stay in it. `fields` and `files` are
    what has been read.

    A few bytes are kept back until the end, so that the last boundary comes to the parser by itself: what
    lies behind it is refused wherever it was cut. `position` is how far the parser has read at least.
    """

    def __init__(self, boundary: str, settings: Settings, store: Body, is_gathered: bool = False) -> None:
        boundary = re.sub(r"\\(.)", r"\1", boundary.strip('"'))
        if not _BOUNDARY.fullmatch(boundary):
            what = repr(boundary[:80]) if boundary else "missing"
            raise MalformedForm(
                f"The boundary of the form is {what}; it takes 1 to 70 of the characters of RFC 2046."
            )
        self.fields: list[tuple[str, str]] = []
        self.files: list[tuple[str, UploadFile]] = []
        self.store = store
        self.position = 0
        self._is_gathered = is_gathered
        self._header = 0  # where in gathered content the header of the part begins
        self._settings = settings
        self._delimiter = b"--" + boundary.encode("ascii")
        self._back = len(self._delimiter) + 6  # CR LF in front; "--" and CR LF behind
        self._held = b""
        self._begun = False
        self._number = 0  # of the part, from 1 on
        self._part: _Part | None = None
        self._text = 0  # bytes of text and headers
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=settings.max_part_header,
            max_header_count=max(settings.max_part_header // 4, 1),  # the size is what counts
            strict=True,
        )

    def feed(self, piece: bytes) -> None:
        """Take in a piece. Raises HTTPException."""
        held = self._held
        if len(held) >= self._back and len(piece) >= self._back:
            self._parse(held)
            held = piece
        else:
            held += piece
            if len(held) > TINY:
                self._parse(held[: -self._back])
                held = held[-self._back :]
        self._held = held

    def end(self) -> None:
        """There is no more. Raises HTTPException if the form has not come to its end."""
        held = self._held.removesuffix(b"\r\n")
        last = b"\r\n" + self._delimiter + b"--"
        if not held.endswith(last[2:] if len(held) < len(last) else last):
            self._parse(self._held)
            self._fail("it does not end with its last boundary")
        self._parse(held[: -len(last)], held[-len(last) :])
        if self._part is not None:  # what looks like the last boundary is its content
            self._fail("it does not end with its last boundary")
        for _, upload in self.files:
            upload.on_disk = self.store.on_disk

    def _parse(self, *pieces: bytes) -> None:
        if not self._begun:
            self._begun = True
            beginning = b"".join(pieces)[: self._back].removeprefix(b"\r\n")
            if not beginning.startswith(self._delimiter[: len(beginning)]):
                self._fail("it does not begin with its boundary")
            self._header = len(self._delimiter) + (4 if b"".join(pieces).startswith(b"\r\n") else 2)
        try:
            for piece in filter(None, pieces):
                for event in self._parser.parse(piece):
                    if event is None:
                        self._end_part()
                    elif isinstance(event, bytes):
                        self._take(event)
                    else:
                        self._begin_part(event.headerlist)
        except ParserLimitReached:  # of its limits only those of headers are set
            raise PartHeaderTooLarge(self._settings.max_part_header, self._number + 1) from None
        except MultipartError as error:
            if self._part is None:  # it is in the header of the next
                self._number += 1
            self._fail(str(error.args[0]))

    def _begin_part(self, pairs: list[tuple[str, str]]) -> None:
        settings = self._settings
        self._number += 1
        if self._number > settings.max_form_parts:
            raise TooManyParts(settings.max_form_parts)
        raw = [(name.encode(), value.encode()) for name, value in pairs]
        size = sum(len(name) + len(value) + 4 for name, value in raw)
        if size > settings.max_part_header:
            raise PartHeaderTooLarge(settings.max_part_header, self._number)
        self._count(size)
        self.position += len(self._delimiter) + (2 if self._number == 1 else 4)
        values = dict(pairs)
        if len(values) != len(pairs):
            self._fail("its header has a field twice")
        for name, value in pairs:
            if _CONTROLS.search(value):
                self._fail(f"its {name} holds a control character")
        name, filename = self._disposition(values.get("Content-Disposition", ""))
        content_type = values.get("Content-Type")
        self._part = _Part(name, filename, content_type, Headers.from_raw(raw), self._start())
        self.position += size + 2
        self._check_coding(values.get("Content-Transfer-Encoding", "binary").strip().lower())
        if filename is None and content_type is not None:
            self._check_charset(content_type)

    def _start(self) -> int:
        """Where in the store the content of a part begins whose header has ended."""
        if not self._is_gathered:
            return self.store.size
        position, tail = self._header, b""
        while True:  # the parser has seen the empty line
            piece = self.store.read_at(position, TINY)
            found = (tail + piece).find(b"\r\n\r\n")
            if found >= 0:
                return position - len(tail) + found + 4
            if not piece:
                self._fail("its header does not end")
            position += len(piece)
            tail = (tail + piece)[-3:]

    def _disposition(self, value: str) -> tuple[str, str | None]:
        """The name, and the name of the file if it is one (RFC 7578 section 4.2)."""
        kind, semicolon, rest = value.partition(";")
        try:
            found = parse_parameters(semicolon + rest)
        except ValueError as error:
            self._fail(f"its Content-Disposition is malformed, {error}")
        if kind.strip().lower() != "form-data" or "name" not in found:
            self._fail("its Content-Disposition has no name")
        name = content_disposition_unquote(found["name"])
        if "filename" in found:  # some clients send a filename* beside it; nobody is to read that one
            return name, content_disposition_unquote(found["filename"])
        if "filename*" in found:  # a file to some, a field to others: neither
            self._fail("it has a filename*, which forms do not have, and no filename")
        return name, None

    def _check_coding(self, coding: str) -> None:
        if coding not in ("7bit", "8bit", "binary"):  # RFC 7578 section 4.7 has done away with others
            raise HTTPException(
                415, f"{self._where()} is encoded as {coding[:SHOWN]!r}; send it as it is."
            )  # fmt: skip

    def _check_charset(self, content_type: str) -> None:
        _, semicolon, rest = content_type.partition(";")
        try:
            charset = parse_parameters(semicolon + rest).get("charset", "utf-8").strip('"')
        except ValueError as error:
            self._fail(f"its Content-Type is malformed, {error}")
        if charset.lower() not in CHARSETS:
            raise HTTPException(415, f"{self._where()} is written in {charset[:SHOWN]!r}; send utf-8.")

    def _take(self, piece: bytes) -> None:
        part = self._part
        assert part is not None
        part.size += len(piece)
        self.position += len(piece)
        if part.filename is not None:
            if not self._is_gathered:
                self.store.add(piece)
            return
        if part.size > self._settings.max_form_field:
            raise FieldTooLarge(self._settings.max_form_field, part.name[:SHOWN])
        self._count(len(piece))
        part.pieces.append(piece)

    def _count(self, size: int) -> None:
        self._text += size
        if self._text > self._settings.max_form_text:
            raise FormTooLarge(self._settings.max_form_text)

    def _end_part(self) -> None:
        part = self._part
        assert part is not None
        self._header = part.start + part.size + len(self._delimiter) + 4
        if part.filename is None:
            try:
                text = b"".join(part.pieces).decode()
            except UnicodeDecodeError as error:
                self._fail(f"it is not UTF-8 at its byte {error.start}")
            self.fields.append((part.name, text))
        elif part.filename or part.size:  # a browser sends an input left empty as a file without a name
            kind = part.content_type or "application/octet-stream"
            file = io.BufferedReader(Stretch(self.store, part.start, part.size))
            self.files.append((part.name, UploadFile(file, part.filename, kind, part.size, part.headers)))
        self._part = None

    def _where(self) -> str:
        name = f" ({self._part.name[:SHOWN]!r})" if self._part is not None else ""
        return f"Part {self._number}{name} of the form" if self._number else "The form"

    def _fail(self, problem: str) -> NoReturn:
        raise MalformedForm(f"{self._where()} is malformed, behind byte {self.position}: {problem}.")
