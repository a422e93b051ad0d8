"""Answers compressed for clients that accept it: with brotli and zstd where they are installed, else gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Sequence
from contextlib import aclosing
from copy import copy
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import ConfigurationError, QueueFull
from .headers import parse_qualities
from .responses import Response, StreamingResponse
from .threads import run_in_thread

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request

__all__ = ["CompressionMiddleware", "accepts_gzip", "choose_coding"]

R = TypeVar("R", bound=Response)

OFF_THE_LOOP = 1 << 16  # content from this size on is compressed in a worker thread
WINDOW = 17  # of a stream, as a power of two: a thousand streams are open at once

# What is worth it; images, films and archives are compressed already.
TYPES = frozenset(
    (
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/wasm",
        "application/x-ndjson",
        "application/xml",
        "image/bmp",
        "image/svg+xml",
        "image/x-icon",
        "font/otf",
        "font/ttf",
    )
)


class CompressionMiddleware:
    """Middleware that compresses answers: `app.middleware(CompressionMiddleware())`.

    `codings` are those to choose from, the preferred first: by default "br" and "zstd" as far as `brotli` and
    `backports.zstd` are installed (`pip install weebill[compression]`), and "gzip". The client's weights come
    before our preference. `level` goes from 1, fast, to 9, small. Content shorter than `minimum_size` bytes
    is left alone, and so are files, ranges, types that are compressed by nature, content that has a coding
    and what says `Cache-Control: no-transform`. A stream is compressed piece by piece, and each piece can be
    read as soon as it arrives. Every answer that might have been compressed says `Vary: Accept-Encoding`
    (RFC 9110 section 12.5.3 and 12.5.5). Raises ConfigurationError.

    A secret in an answer that also repeats what an attacker sent can be guessed from the compressed length
    (BREACH); leave such answers alone with `no-transform`.

    >>> from weebill.compression import CompressionMiddleware
    >>> app = App()
    >>> compression = app.middleware(CompressionMiddleware(codings=["gzip"]))
    >>> @app.get("/")
    ... async def index() -> str:
    ...     return "a weebill " * 100
    >>> answer = TestClient(app).get("/", headers={"accept-encoding": "gzip"})
    >>> answer.headers["content-encoding"], len(answer.content) < 100
    ('gzip', True)
    """

    def __init__(self, minimum_size: int = 500, level: int = 6, codings: Sequence[str] | None = None) -> None:
        if not 1 <= level <= 9:
            raise ConfigurationError(f"level is {level!r}; it goes from 1, fast, to 9, small")
        if isinstance(codings, str):
            raise ConfigurationError(f"codings is a text; write codings=[{codings!r}]")
        for coding in codings or ():
            if coding not in _CODINGS:
                raise ConfigurationError(f"{coding!r} is no coding of ours; there are {', '.join(_CODINGS)}")
            if not _is_installed(coding):
                raise ConfigurationError(f"{coding!r} is not installed; pip install weebill[compression]")
        self.minimum_size = minimum_size
        self.level = level
        self.codings = tuple(codings if codings is not None else filter(_is_installed, _CODINGS))

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        response = await call_next(request)
        if isinstance(response, StreamingResponse):
            return self._stream(response, self._choose(request))
        is_whole = type(response).send is Response.send
        if not is_whole or len(response.content) < self.minimum_size or not _may_be_compressed(response):
            return response
        response.headers.vary("Accept-Encoding")
        if (coding := self._choose(request)) is None:
            return response
        content, pack = response.content, _CODINGS[coding][1]
        if len(content) < OFF_THE_LOOP:
            packed = pack(content, self.level)
        else:
            try:
                packed = await run_in_thread(pack, content, self.level)
            except QueueFull:  # a long answer is better than none
                return response
        if len(packed) >= len(content):
            return response
        response = _copy(response)  # the handler may give the same one each time
        response.content = packed
        _announce(response, coding)
        return response

    def _choose(self, request: Request) -> str | None:
        return choose_coding(request.headers.get("accept-encoding", ""), self.codings)

    def _stream(self, response: StreamingResponse, coding: str | None) -> StreamingResponse:
        """The same stream, compressed if its first piece turns out to be worth it."""
        response = _copy(response)
        pieces = response.pieces
        packing = _Packing(response, coding, self.level)
        if isinstance(pieces, AsyncIterable):
            response.pieces = _packed_on_loop(pieces, packing)
        else:
            response.pieces = _packed_in_threads(pieces, packing)
        return response


def _copy(response: R) -> R:
    twin = copy(response)
    twin.raw_headers = list(response.raw_headers)
    return twin


def _may_be_compressed(response: Response) -> bool:
    if response.status_code in (204, 206, 304):
        return False
    headers = response.headers
    if "content-encoding" in headers or "no-transform" in parse_qualities(headers.get("cache-control", "")):
        return False
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in TYPES or kind.endswith(("+json", "+xml"))


def _announce(response: Response, coding: str) -> None:
    headers = response.headers
    headers["content-encoding"] = coding
    if "content-length" in headers:
        del headers["content-length"]
    if headers.get("etag", "").startswith('"'):  # the bytes are others now (RFC 9110 section 8.8.1)
        headers["etag"] = f"W/{headers['etag']}"


# -- streams


class _Packing:
    """The state of one stream. Nothing is decided before its first piece, for the head goes with that."""

    def __init__(self, response: StreamingResponse, coding: str | None, level: int) -> None:
        self._response = response
        self._coding = coding
        self._level = level
        self._packer: Packer | None = None
        self._begun = False

    def begin(self, piece: str | bytes) -> None:
        """Decide, when the first piece is known."""
        if self._begun:
            return
        self._begun = True
        response = self._response
        response.settle_type(piece)
        if _may_be_compressed(response):
            response.headers.vary("Accept-Encoding")
            if self._coding is not None:
                _announce(response, self._coding)
                self._packer = _CODINGS[self._coding][2](self._level)

    def add(self, piece: str | bytes) -> str | bytes:
        """The piece, compressed as far as it can be read without the next. What is no piece of a stream is
        handed on, to be complained of."""
        if self._packer is None or not piece or not isinstance(piece, str | bytes):
            return piece
        return self._packer.add(piece.encode() if isinstance(piece, str) else piece)

    def end(self) -> bytes:
        """What is to come behind the last piece."""
        return self._packer.end() if self._packer else b""


async def _packed_on_loop(
    pieces: AsyncIterable[str | bytes], packing: _Packing
) -> AsyncGenerator[str | bytes, None]:
    async with aclosing(_closing(pieces)) as source:
        async for piece in source:
            packing.begin(piece)
            if isinstance(piece, str | bytes) and len(piece) >= OFF_THE_LOOP:
                try:
                    yield await run_in_thread(packing.add, piece)
                except QueueFull:
                    yield packing.add(piece)
            else:
                yield packing.add(piece)
    yield packing.end()


async def _closing(pieces: AsyncIterable[str | bytes]) -> AsyncGenerator[str | bytes, None]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _packed_in_threads(
    pieces: Iterable[str | bytes], packing: _Packing
) -> Generator[str | bytes, None, None]:
    try:
        for piece in pieces:
            packing.begin(piece)
            yield packing.add(piece)
        yield packing.end()
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


# -- the codings


class Packer(Protocol):
    """A compressor of one stream."""

    def add(self, piece: bytes) -> bytes:
        """The piece, in a form that can be read at once."""

    def end(self) -> bytes:
        """The end of the stream."""


class _Gzip:
    def __init__(self, level: int) -> None:
        self._packer = zlib.compressobj(level, zlib.DEFLATED, 16 + 15)  # with the head and tail of gzip

    def add(self, piece: bytes) -> bytes:
        return self._packer.compress(piece) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._packer.flush()


class _Brotli:
    def __init__(self, level: int) -> None:
        self._packer = _module("br").Compressor(quality=level, lgwin=WINDOW)

    def add(self, piece: bytes) -> bytes:
        packed: bytes = self._packer.process(piece) + self._packer.flush()
        return packed

    def end(self) -> bytes:
        rest: bytes = self._packer.finish()
        return rest


class _Zstd:
    def __init__(self, level: int) -> None:
        zstd = _module("zstd")
        parameter = zstd.CompressionParameter
        options = {parameter.compression_level: level, parameter.window_log: WINDOW}
        self._packer = zstd.ZstdCompressor(options=options)

    def add(self, piece: bytes) -> bytes:
        packed: bytes = self._packer.compress(piece, mode=self._packer.FLUSH_BLOCK)
        return packed

    def end(self) -> bytes:
        rest: bytes = self._packer.flush()
        return rest


def _gzip(content: bytes, level: int) -> bytes:
    return gzip.compress(content, level, mtime=0)


def _brotli(content: bytes, level: int) -> bytes:
    packed: bytes = _module("br").compress(content, quality=level)
    return packed


def _zstd(content: bytes, level: int) -> bytes:
    packed: bytes = _module("zstd").compress(content, level)  # its window is under the 8 MiB of RFC 9659
    return packed


# By name, the smallest first: modules of which one must be there, whole contents, and streams.
_CODINGS: dict[str, tuple[tuple[str, ...], Callable[[bytes, int], bytes], Callable[[int], Packer]]] = {
    "br": (("brotli",), _brotli, _Brotli),
    "zstd": (("compression.zstd", "backports.zstd"), _zstd, _Zstd),  # the former from Python 3.14 on
    "gzip": (("zlib",), _gzip, _Gzip),
}


def _is_installed(coding: str) -> bool:
    return any(map(_exists, _CODINGS[coding][0]))


def _module(coding: str) -> Any:
    return import_module(next(filter(_exists, _CODINGS[coding][0])))


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there
        return False


def choose_coding(accept_encoding: str, codings: Sequence[str]) -> str | None:
    """Which of `codings` (the preferred first) the client likes best, None if it likes no coding better
    (RFC 9110 section 12.5.3).

    >>> from weebill.compression import choose_coding
    >>> choose_coding("gzip, br;q=0.5, *;q=0", ("br", "zstd", "gzip"))
    'gzip'
    """
    choices = parse_qualities(accept_encoding)
    others = choices.get("*", 0.0)
    if "x-gzip" in choices:
        choices.setdefault("gzip", choices["x-gzip"])  # RFC 9110 section 8.4.1.3
    best = max(codings, key=lambda coding: choices.get(coding, others), default=None)
    weight = choices.get(best, others) if best is not None else 0.0
    return best if weight > 0 and weight >= choices.get("identity", others) else None


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client likes gzip at least as much as no coding at all.

    >>> from weebill.compression import accepts_gzip
    >>> accepts_gzip("gzip;q=0.5, identity;q=0.6")
    False
    """
    return choose_coding(accept_encoding, ("gzip",)) is not None
