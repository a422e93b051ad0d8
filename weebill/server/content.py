"""The content of one request on a connection: where it ends, how much of it has come, and what becomes of it.

bytes ── take() ──> the content in them ──> gathered in exchange.body      GATHER
            │                               kept until read() asks for it  HAND_ON
            v                               thrown away                    DROP
what lies behind: the next request
"""

from __future__ import annotations

from enum import Enum

from ..chunks import ChunkedReader
from ..settings import Settings

__all__ = ["Content", "Use"]

SMALL = 65536  # unwanted content is read to its end up to this many bytes, to keep the connection
AHEAD = 65536  # bytes that a handler has not read yet; beyond it reading from the client pauses


class Use(Enum):
    """What becomes of the content."""

    GATHER = 1
    HAND_ON = 2
    DROP = 3


class Content:
    """`length` in bytes, None for chunked; `limit` for what is wanted of it; `now` is when its head came;
    `settings` have the limits of chunks.

    `failure` is why no more of it will come.
    """

    __slots__ = (
        "_chunks",
        "_paced",
        "_pieces",
        "_since",
        "_waiting",
        "complete",
        "failure",
        "left",
        "limit",
        "received",
        "use",
    )

    def __init__(self, length: int | None, limit: int, use: Use, now: float, settings: Settings) -> None:
        self.limit = limit
        self.use = use
        self.received = 0
        self.complete = False
        self.failure: Exception | None = None
        self.left = length or 0  # bytes that are still to come; 0 for chunked
        self._chunks = ChunkedReader(settings) if length is None else None
        self._pieces: list[bytes] = []
        self._waiting = 0  # bytes in _pieces
        self._since = now  # since when the pace is measured
        self._paced = 0  # bytes that had come by then

    def take(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """The content in `data`, and what lies behind it, or behind `most` chunks. Raises ProtocolError for
        malformed chunks."""
        if self._chunks is not None:
            piece, rest = self._chunks.feed(data, most)
            self.complete = self._chunks.complete
        else:
            left = self.left
            piece, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
            self.left = left - len(piece)
            self.complete = not self.left
        self.received += len(piece)
        return piece, rest

    def count(self, size: int) -> None:
        """So many bytes of content of a known length have come without `take` (straight.py)."""
        self.left -= size
        self.received += size
        self.complete = not self.left

    @property
    def is_too_long(self) -> bool:
        """Whether more has come, or is announced by a chunk, than is wanted."""
        return self.received + (0 if self._chunks is None else self._chunks.left) > self.limit

    @property
    def rest_is_small(self) -> bool:
        """Whether it costs less to read the rest than to have the client connect again."""
        return self._chunks is None and self.left <= SMALL

    # -- handing on

    @property
    def is_far_ahead(self) -> bool:
        """Whether the handler has so much to read that the client should wait."""
        return self._waiting > AHEAD

    def put(self, piece: bytes) -> None:
        """Keep a piece for the handler."""
        self._pieces.append(piece)
        self._waiting += len(piece)

    def get(self) -> bytes:
        """All that has come and was not read yet."""
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drop(self) -> None:
        """Nobody wants it any more."""
        self.use = Use.DROP
        self.get()

    # -- its pace

    def restart_pace(self, now: float) -> None:
        """The client could not send until now."""
        self._since = now
        self._paced = self.received

    def is_too_slow(self, now: float, rate: int, grace: float) -> bool:
        """Whether fewer than `rate` bytes a second have come, after `grace` seconds."""
        late = now - self._since - grace
        received = self.received - self._paced
        if late > 0 and received >= rate * (late + grace):  # a fast beginning is no credit for a stall
            self.restart_pace(now)
            return False
        return late > 0 and received < rate * late
