"""What the bridges share: the content as a file, and the answers that no foreign program gave."""

from __future__ import annotations

import io
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ClientDisconnected, HTTPException

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from ..body import Body
    from ..exchange import Exchange

__all__ = ["answered_without", "content_file", "fail", "logger", "refuse"]

logger = logging.getLogger("weebill")

IN_MEMORY = 1 << 20  # content up to this many bytes is read from memory, more through Body's file


def content_file(body: Body, before: bytes = b"") -> BinaryIO:
    """A binary file to read the whole content from, with the bytes `before` in front of it.

    For worker threads: what lies on disk is read as it is asked for.
    """
    if body.size <= IN_MEMORY:
        return io.BytesIO(before + body.read_all())
    return io.BufferedReader(_ContentReader(body, before))


class _ContentReader(io.RawIOBase):
    """The pieces of a Body as a raw stream, to be wrapped in a BufferedReader."""

    def __init__(self, body: Body, before: bytes) -> None:
        body.rewind()
        self._body = body
        self._piece = memoryview(before)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._piece:
            self._piece = memoryview(self._body.read_piece())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._piece))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count


async def answered_without(exchange: Exchange) -> bool:
    """Whether the program need not be asked: the request is refused, or is not about any of its paths."""
    if exchange.refusal is not None:
        await refuse(exchange, exchange.refusal)
    elif exchange.target == "*":  # OPTIONS for the server as a whole (RFC 9110 section 9.3.7)
        await exchange.respond(200, [])
    else:
        return False
    return True


async def refuse(exchange: Exchange, refusal: HTTPException) -> None:
    """Answer with the status and the sentence of `refusal`, as plain text."""
    fields = [(b"content-type", b"text/plain; charset=utf-8")]
    for name, value in refusal.headers.items():
        fields.append((name.encode("latin-1"), value.encode("latin-1")))
    with suppress(ClientDisconnected):
        await exchange.respond(refusal.status_code, fields, f"{refusal.detail}\n".encode())


async def fail(
    exchange: Exchange, what: str, error: BaseException | None = None, *, complete: bool = False
) -> None:
    """The program broke: log `what` once, with the traceback of `error`. Answer 500, or cut the answer that
    has begun, unless it is `complete`."""
    if isinstance(error, Exception):
        exchange.failure = exchange.failure or error
    logger.error("%s, in answer to %s %r", what, exchange.method, exchange.target, exc_info=error)
    if complete:
        return
    if exchange.started:
        exchange.abort()
    else:
        await refuse(exchange, HTTPException(500))
