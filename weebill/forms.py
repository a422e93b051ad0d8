"""Forms: urlencoded and multipart content, read as it arrives, and UploadFile.

    a route with stream=True   exchange.read() ── piece by piece ─┐
    any other                  exchange.body ──── piece by piece ─┴─> reader.feed(), reader.end()
                                              text fields, in memory <─┤
          one Body for all files, in memory, then in a temporary file <┘
          (gathered content is that Body: its files stay where they lie)

FormReader reads the form of one request once, whoever asks for it, and keeps it, or what is wrong with it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from .body import Body
from .errors import (
    ConfigurationError,
    FieldTooLarge,
    FormTooLarge,
    HTTPException,
    MalformedForm,
    TooManyParts,
)
from .exchange import BUFFERED
from .headers import MultiDict, Sent, parse_parameters
from .threads import run_file_io
from .uploads import UploadFile

if TYPE_CHECKING:
    from .exchange import Exchange
    from .settings import Settings

__all__ = ["FormData", "FormReader", "UploadFile"]

logger = logging.getLogger("weebill")

V = TypeVar("V")

MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
PIECE = 1 << 16  # bytes that are read at a time; more of urlencoded content is not decoded on the loop


@dataclass(frozen=True, slots=True)
class FormData:
    """A form: its text `fields` and its `files`, by name, those of one name in the order in which they came.

    `fields[name]` and `files[name]` raise a 400, where there is none; `get` and `in` do not.

    >>> app = App()
    >>> @app.post("/", stream=True)
    ... async def greet(request: Request):
    ...     form = await request.load_form()
    ...     return f"Hello, {form.fields['name']}!"
    >>> TestClient(app).post("/", data={"name": "Ada"}).text
    'Hello, Ada!'
    """

    fields: MultiDict[str]
    files: MultiDict[UploadFile]


class Reader(Protocol):
    """Content in, then `end`, then what it was. `feed` and `end` raise HTTPException."""

    fields: list[tuple[str, str]]
    files: list[tuple[str, UploadFile]]
    store: Body

    def feed(self, piece: bytes) -> None:
        """Take in a piece."""

    def end(self) -> None:
        """There is no more."""


class FormReader:
    """The form of one request. `cleanup` is where its temporary file is closed."""

    def __init__(self, exchange: Exchange, cleanup: AsyncExitStack) -> None:
        self._exchange = exchange
        self._cleanup = cleanup
        self._lock: asyncio.Lock | None = None
        self._form: FormData | None = None
        self._error: BaseException | None = None

    @property
    def _streams(self) -> bool:
        return bool(getattr(self._exchange.route, "intake", BUFFERED).stream)

    @property
    def has_streamed(self) -> bool:
        """Whether it has been read off the wire, so that nobody else can read the content."""
        return self._streams and (self._form is not None or self._error is not None)

    def now(self, asked: str) -> FormData:
        """The form, read now if it was not before; `asked` is what was asked for. Raises HTTPException, and
        ConfigurationError where the content may still be to come."""
        if self._form is None and self._error is None:
            if self._streams:
                raise ConfigurationError(
                    f"{asked} is not there yet on a route with stream=True; "
                    "write `await request.load_form()` before, or leave stream=True out"
                )
            try:
                self._form = self._read_body()
            except HTTPException as error:
                self._error = error
        return self._result()

    async def load(self) -> FormData:
        """The form, read as it arrives. Whoever asks meanwhile waits for the same. Raises HTTPException, and
        what Exchange.read raises."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._form is None and self._error is None:
                try:
                    if self._streams:
                        self._form = await self._read_stream()
                    elif self._exchange.body.on_disk:
                        self._form = await run_file_io(self._read_body)
                    else:
                        self._form = self._read_body()
                except BaseException as error:
                    self._error = error
                    raise
        return self._result()

    async def prepare(self) -> None:
        """If there is a form, and on disk, read it before anybody asks for it on the loop. What is wrong with
        it waits for who asks."""
        try:
            if _media_type(self._exchange)[0] in (MULTIPART, URLENCODED):
                await self.load()
        except HTTPException:
            return

    def _result(self) -> FormData:
        if self._form is not None:
            return self._form
        assert self._error is not None
        if isinstance(self._error, asyncio.CancelledError):  # it was another's
            raise ConfigurationError("the form cannot be read any more: reading it was cancelled")
        raise self._error

    def _raise_refusal(self) -> None:
        """The content of what is refused has not been taken in, or not to its end."""
        if self._exchange.refusal is not None:
            raise self._exchange.refusal

    def _read_body(self) -> FormData:
        """From gathered content. For a thread, if that lies on disk."""
        self._raise_refusal()
        body, position = self._exchange.body, 0
        if not body.size and not _media_type(self._exchange)[0]:
            return _form_data()
        reader = self._reader(body)
        while piece := body.read_at(position, PIECE):
            position += len(piece)
            reader.feed(piece)
        reader.end()
        return _form_data(reader)

    async def _read_stream(self) -> FormData:
        self._raise_refusal()
        exchange, size = self._exchange, 0
        reader = self._reader() if _media_type(exchange)[0] else None  # before anything is asked for
        piece = await exchange.read()
        if reader is None:
            if not piece:
                return _form_data()
            reader = self._reader()
        while piece:
            size += len(piece)
            reader.feed(piece)
            if reader.store.needs_flush:
                try:
                    await reader.store.flush()
                except OSError as error:
                    raise _no_room(error) from None
            piece = await exchange.read()
        if size > PIECE and isinstance(reader, UrlencodedReader):  # all the work is still to be done
            await run_file_io(reader.end)
        else:
            reader.end()
        return _form_data(reader)

    def _reader(self, gathered: Body | None = None) -> Reader:
        """Who reads the form, from `gathered` content if there is some. Raises HTTPException for what is no
        form."""
        kind, parameters = _media_type(self._exchange)
        settings = self._exchange.settings
        if kind == MULTIPART:
            from .multipart import MultipartReader  # not everybody has files to send

            boundary = parameters.get("boundary", "")
            if gathered is not None:
                reader = MultipartReader(boundary, settings, gathered, is_gathered=True)
                gathered.hold()
            else:
                reader = MultipartReader(boundary, settings, Body(settings.spool))
            self._cleanup.callback(reader.store.close)
            return reader
        if kind == URLENCODED:
            charset = parameters.get("charset", "utf-8").strip('"')
            if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
                raise HTTPException(415, f"The charset {charset[:40]!r} is not read here; send utf-8.")
            return UrlencodedReader(settings)
        raise HTTPException(
            415,
            f"A form is expected here, {URLENCODED} or {MULTIPART}, not {kind[:80] or 'content of no type'}.",
            {"accept": f"{URLENCODED}, {MULTIPART}"},
        )


def _form_data(reader: Reader | None = None) -> FormData:
    fields, files = (reader.fields, reader.files) if reader is not None else ((), ())
    return FormData(Sent("form", "field", fields), Sent("form", "file", files))


def _no_room(error: OSError) -> HTTPException:
    logger.error("uploaded files could not be written to a temporary file: %s", error)
    return HTTPException(507, "There is no room for this content.")


def _media_type(exchange: Exchange) -> tuple[str, dict[str, str]]:
    """What Content-Type says, in lower case, "" if there is none, and its parameters."""
    lines = [value for name, value in exchange.fields if name.lower() == b"content-type"]
    if len(lines) > 1:
        raise MalformedForm("There is more than one Content-Type.")
    kind, semicolon, rest = (lines[0] if lines else b"").decode("latin-1").partition(";")
    kind = kind.strip().lower()
    try:
        return kind, parse_parameters(semicolon + rest) if kind in (MULTIPART, URLENCODED) else {}
    except ValueError as error:
        raise MalformedForm(f"The Content-Type is malformed: {error}.") from None


class UrlencodedReader:
    """`a=1&b=2`, read as https://url.spec.whatwg.org/#urlencoded-parsing does, but that bytes which are not
    UTF-8 are refused. Only "&" separates."""

    def __init__(self, settings: Settings) -> None:
        self.fields: list[tuple[str, str]] = []
        self.files: list[tuple[str, UploadFile]] = []
        self.store = Body()  # there are no files
        self._settings = settings
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Take in a piece. Raises FormTooLarge."""
        self._size += len(piece)
        if self._size > self._settings.max_form_text:
            raise FormTooLarge(self._settings.max_form_text)
        self._pieces.append(piece)

    def end(self) -> None:
        """Decode it. Raises TooManyParts, FieldTooLarge, MalformedForm."""
        content, settings = b"".join(self._pieces), self._settings
        if content.count(b"&") >= settings.max_form_parts:
            raise TooManyParts(settings.max_form_parts)
        position = 0
        for number, pair in enumerate(content.split(b"&"), 1):
            where = f"Field {number} of the form is malformed, at byte {position}"
            position += len(pair) + 1
            name, _, value = map(_unquote, pair.partition(b"="))
            if len(value) > settings.max_form_field:
                raise FieldTooLarge(settings.max_form_field, name[:40].decode(errors="replace"))
            if pair:
                try:
                    self.fields.append((name.decode(), value.decode()))
                except UnicodeDecodeError as error:
                    raise MalformedForm(f"{where}: {error.object[:40]!r} is not UTF-8.") from None


def _unquote(data: bytes) -> bytes:
    data = data.replace(b"+", b" ")
    return b"".join(_ESCAPES.sub(_decode, piece) for piece in _slices(data)) if b"%" in data else data


_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")  # PERF: a run of them is decoded in one call


def _decode(escapes: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escapes[0].replace(b"%", b"").decode("ascii"))


def _slices(data: bytes) -> Iterator[bytes]:
    """Pieces that cut no escape: what is mostly escapes takes many times its length while it is decoded."""
    start = 0
    while start < len(data):
        end = start + PIECE
        escape = data.rfind(b"%", end - 2, end)
        if escape > start:
            end = escape
        yield data[start:end]
        start = end
