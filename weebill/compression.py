"""Answers compressed with gzip for clients that accept it."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable

from .headers import parse_qualities
from .requests import Request
from .responses import Response
from .threads import run_in_thread

__all__ = ["CompressionMiddleware"]

OFF_THE_LOOP = 1 << 16  # content from this size on is compressed in a worker thread

# What is worth it; images, films and archives are compressed already.
TYPES = frozenset(
    (
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/wasm",
        "application/xml",
        "image/bmp",
        "image/svg+xml",
        "image/x-icon",
        "font/otf",
        "font/ttf",
    )
)


class CompressionMiddleware:
    """Middleware that compresses whole answers: `app.middleware(CompressionMiddleware())`.

    Content shorter than `minimum_size` bytes is left alone, and so are streams, files, ranges, types that
    are compressed by nature, content that has a coding and what says `Cache-Control: no-transform`. `level`
    goes from 1, fast, to 9, small. Every answer that might have been compressed says
    `Vary: Accept-Encoding` (RFC 9110 section 12.5.3 and 12.5.5).

    A secret in an answer that also repeats what an attacker sent can be guessed from the compressed length
    (BREACH); leave such answers alone with `no-transform`.
    """

    def __init__(self, minimum_size: int = 500, level: int = 6) -> None:
        self.minimum_size = minimum_size
        self.level = level

    async def __call__(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        if not self._is_worth_it(response):
            return response
        headers = response.headers
        if "accept-encoding" not in parse_qualities(headers.get("vary", "")):
            headers.add("vary", "Accept-Encoding")
        if not accepts_gzip(request.headers.get("accept-encoding", "")):
            return response
        content = response.content
        if len(content) < OFF_THE_LOOP:
            packed = gzip.compress(content, self.level, mtime=0)
        else:
            packed = await run_in_thread(gzip.compress, content, self.level, mtime=0)
        if len(packed) < len(content):
            response.content = packed
            headers["content-encoding"] = "gzip"
            if "content-length" in headers:
                del headers["content-length"]
            if headers.get("etag", "").startswith('"'):  # the bytes are others now (RFC 9110 section 8.8.1)
                headers["etag"] = f"W/{headers['etag']}"
        return response

    def _is_worth_it(self, response: Response) -> bool:
        if type(response).send is not Response.send or response.status_code in (204, 206, 304):
            return False
        headers = response.headers
        if len(response.content) < self.minimum_size or "content-encoding" in headers:
            return False
        if "no-transform" in parse_qualities(headers.get("cache-control", "")):
            return False
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind.startswith("text/") or kind in TYPES or kind.endswith(("+json", "+xml"))


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client likes gzip at least as much as no coding at all (RFC 9110 section 12.5.3)."""
    choices = parse_qualities(accept_encoding)
    others = choices.get("*", 0.0)
    weight = choices.get("gzip", choices.get("x-gzip", others))
    return weight > 0 and weight >= choices.get("identity", others)
