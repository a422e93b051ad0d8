"""Answers compressed for clients that accept it: with brotli and zstd where they are installed, else gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast

from .conditional import has_entity_tag
from .errors import ConfigurationError, QueueFull
from .exchange import ExchangeAround
from .headers import MutableHeaders, parse_qualities
from .responses import Response, StreamingResponse
from .threads import run_in_thread

if TYPE_CHECKING:
    from .exchange import Exchange
    from .headers import Fields
    from .pipeline import Answer
    from .requests import Request

__all__ = ["CompressionMiddleware"]

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
    `backports.zstd` are installed, as by `pip install "path/to/weebill[compression]"`, and "gzip". The
    client's weights come before our preference. `level` goes from 1, fast, to 9, small. Content shorter than
    `minimum_size` bytes is left alone, and so are files, mounted applications, ranges, types that are
    compressed by nature,
    content that has a coding and what says `Cache-Control: no-transform`. A stream is compressed piece by
    piece, and each piece can be read as soon as it arrives. Every answer that might have been compressed says
    `Vary: Accept-Encoding` (RFC 9110 section 12.5.3 and 12.5.5). Raises ConfigurationError.

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
                raise ConfigurationError(
                    f"{coding!r} is not installed; it is of the extra weebill[compression]"
                )
        self.minimum_size = minimum_size
        self.level = level
        self.codings = tuple(codings if codings is not None else filter(_is_installed, _CODINGS))

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        response = await call_next(request)
        if isinstance(response, StreamingResponse):
            self._pack_stream(response, request)
            return response
        if response.status_code == 304:
            _tell_what_is_not_modified(response.headers, request)
            return response
        is_whole = type(response).send is Response.send
        if not is_whole or len(response.content) < self.minimum_size:
            return response
        if not _may_be_compressed(response.status_code, response.headers):
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
        response.content = packed
        _announce(response.headers, coding)
        return response

    def _pack_stream(self, response: StreamingResponse, request: Request) -> None:
        """Have a stream, of whatever kind, send its pieces through a compressor."""
        send, coding = response.send, self._choose(request)

        def send_packed(exchange: Exchange) -> Awaitable[None]:
            return send(cast("Exchange", _Packing(exchange, coding, self.level)))

        response.send = send_packed  # type: ignore[assignment]

    def _choose(self, request: Request) -> str | None:
        return choose_coding(request.headers.get("accept-encoding", ""), self.codings)


def _may_be_compressed(status: int, headers: MutableHeaders) -> bool:
    if status in (204, 206, 304):
        return False
    if "content-encoding" in headers or "no-transform" in parse_qualities(headers.get("cache-control", "")):
        return False
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in TYPES or kind.endswith(("+json", "+xml"))


def _announce(headers: MutableHeaders, coding: str) -> None:
    headers["content-encoding"] = coding
    if "content-length" in headers:
        del headers["content-length"]
    if headers.get("etag", "").startswith('"'):  # the bytes are others now (RFC 9110 section 8.8.1)
        headers["etag"] = f"W/{headers['etag']}"


def _tell_what_is_not_modified(headers: MutableHeaders, request: Request) -> None:
    """Say in a 304 what the 200 would say (RFC 9110 section 15.4.5): that it varies, and to a client that
    has it compressed the weak tag, for no cache knows what it has by another (RFC 9111 section 4.3.4)."""
    headers.vary("Accept-Encoding")
    etag = headers.get("etag", "")
    asked = request.headers.get("if-none-match", "")
    if etag.startswith('"') and not has_entity_tag(asked, etag, weak=False) and etag in asked:
        headers["etag"] = f"W/{etag}"


class _Packing(ExchangeAround):
    """An exchange that compresses a stream, if its head turns out to be that of something worth it."""

    coding: str | None
    level: int
    packer: Packer | None

    def __init__(self, exchange: Exchange, coding: str | None, level: int) -> None:
        super().__init__(exchange)
        vars(self).update(coding=coding, level=level, packer=None)

    async def start(self, status: int, fields: Fields) -> None:
        headers = MutableHeaders()
        headers.raw.extend(fields)
        if _may_be_compressed(status, headers):
            headers.vary("Accept-Encoding")
            if self.coding is not None:
                _announce(headers, self.coding)
                vars(self)["packer"] = _CODINGS[self.coding][2](self.level)
        await self.exchange.start(status, headers.raw)

    async def write(self, piece: bytes) -> None:
        if self.packer is not None and piece:
            piece = await self._packed(self.packer, piece)
        await self.exchange.write(piece)

    async def _packed(self, packer: Packer, piece: bytes) -> bytes:
        if len(piece) >= OFF_THE_LOOP:
            with suppress(QueueFull):
                return await run_in_thread(packer.add, piece)
        return packer.add(piece)

    async def finish(self) -> None:
        if self.packer is not None:
            await self.exchange.write(self.packer.end())
        await self.exchange.finish()


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
