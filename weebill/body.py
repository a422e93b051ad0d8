"""The content of one request as it is gathered: in memory at first, then in a temporary file."""

from __future__ import annotations

import os
from contextlib import suppress
from io import BytesIO
from threading import Lock
from typing import Any, BinaryIO

from .threads import run_file_io

__all__ = ["NO_BODY", "Body"]

LARGE = 1 << 26  # bytes of a file that the system needs a while to free: 0.1 seconds for a gigabyte
AHEAD = 4  # times what has come: there is no room for more on the mere word of a client
PIECE = 1 << 18  # bytes read back from the file at a time
MOST_PIECES = 1024  # that Linux takes in one call


class Body:
    """Content gathered piece by piece.

    The first `spool` bytes stay in memory. Beyond them, pieces collect until `needs_flush`; then the wire
    stops reading, awaits `flush()` (the file is written off the loop) and reads on. The file has no name
    and goes with the object.
    """

    __slots__ = (
        "_file",
        "_holders",
        "_lock",
        "_pending",
        "_pieces",
        "_position",
        "_space",
        "_spool",
        "on_disk",
        "size",
    )

    def __init__(self, spool: int = 1 << 20) -> None:
        self.size = 0
        self.on_disk = False  # whether some of it is
        self._spool = spool
        self._pieces: list[bytes] = []
        self._space: BytesIO | None = None  # made by make_room(), in place of _pieces
        self._pending = 0  # bytes in _pieces or _space
        self._file: BinaryIO | None = None
        self._holders = 1  # who has to close it
        self._lock = Lock()  # of the file's position
        self._position = 0  # of read_piece

    def add(self, piece: bytes) -> None:
        """Append `piece`. The limit on the whole is the wire's to check."""
        assert self._space is None
        self._pieces.append(piece)
        self.size += len(piece)
        self._pending += len(piece)

    def make_room(self, more: int) -> bool:
        """Make room for `more` bytes, all that are still to come; whether there is. It is made when all of
        them stay in memory, and not on the mere word of a client. They are written to the `room`, not added.

        PERF: what the kernel writes there is not copied: `read_all` gives it as it is.
        """
        if self.size + more > min(self._spool, AHEAD * self.size):
            return False
        space = BytesIO()
        space.seek(self._pending + more - 1)
        space.write(b"\0")
        space.seek(0)
        space.writelines(self._pieces)
        self._pieces, self._space = [], space
        return True

    def room(self) -> memoryview:
        """Where the next bytes may be written; `fill` then says how many were. Nobody may hold it when the
        content is read, for it would be copied then."""
        assert self._space is not None
        return self._space.getbuffer()[self._pending :]

    def fill(self, count: int) -> None:
        """`count` bytes have been written to the room."""
        self.size += count
        self._pending += count

    @property
    def needs_flush(self) -> bool:
        """Whether so much has collected in memory that `flush` must run before more is added."""
        return self._pending > self._spool

    async def flush(self) -> None:
        """Write what has collected to the temporary file, in a thread for file I/O."""
        pieces, self._pieces, self._pending = self._pieces, [], 0
        await run_file_io(self._write, pieces)

    def _write(self, pieces: list[bytes]) -> None:
        if self._file is None:
            import tempfile  # most content is small

            file: Any = tempfile.TemporaryFile(prefix="weebill-", buffering=0)  # noqa: SIM115
            self._file = file
            self.on_disk = True
        for start in range(0, len(pieces), MOST_PIECES):
            _write_all(self._file, pieces[start : start + MOST_PIECES])

    def rewind(self) -> None:
        """Make `read_piece` begin again at the first byte."""
        self._position = 0

    def read_piece(self) -> bytes:
        """The next piece, b"" at the end."""
        piece = self.read_at(self._position, PIECE if self.on_disk else self.size)
        self._position += len(piece)
        return piece

    async def next_piece(self) -> bytes:
        """`read_piece` for the loop: the file is read in a thread for file I/O."""
        return await run_file_io(self.read_piece) if self.on_disk else self.read_piece()

    def read_all(self) -> bytes:
        """The whole content."""
        return self.read_at(0, self.size)

    def read_at(self, position: int, count: int) -> bytes:
        """`count` bytes from `position` on, fewer at the end. Several threads may read at the same time."""
        if self._file is None:
            content = self._in_memory()
            return content if not position and count >= self.size else content[position : position + count]
        written = self.size - self._pending
        piece = b""
        if position < written:
            with self._lock:
                self._file.seek(position)
                piece = _read_all(self._file, min(count, written - position))
        if position + count > written:
            start = max(position - written, 0)
            piece += self._in_memory()[start : position + count - written]
        return piece

    def _in_memory(self) -> bytes:
        space = self._space
        if space is not None:  # several threads may do this
            self._pieces = [space.getvalue()[: self._pending]]
            self._space = None
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    def hold(self) -> None:
        """Keep the temporary file until `close` was called once more."""
        self._holders += 1

    def close(self) -> None:
        """Free the temporary file now rather than when the object goes. What lay in it cannot be read any
        more: that raises ValueError, for a part is not the content. To be called on the loop."""
        self._holders -= 1
        file = self._file
        if file is None or self._holders > 0:
            return
        self._file = _CLOSED
        if self.size > LARGE and not file.closed:
            run_file_io(_close, file)
        else:
            _close(file)


def _write_all(file: BinaryIO, pieces: list[bytes]) -> None:
    """PERF: one call of the system for all pieces, for behind each a thread waits until it may run Python
    again; an upload of 16 MiB takes a twentieth less."""
    written = os.writev(file.fileno(), pieces) if hasattr(os, "writev") else 0
    rest = memoryview(b"".join(pieces))[written:] if written < sum(map(len, pieces)) else b""
    while rest:
        rest = rest[file.write(rest) :]


def _read_all(file: BinaryIO, count: int) -> bytes:
    """`count` bytes, which the system may give in several pieces: no system gives more than 2 GiB at once."""
    piece = file.read(count)
    while len(piece) < count and (more := file.read(count - len(piece))):
        piece += more
    return piece


def _close(file: BinaryIO) -> None:
    with suppress(OSError):  # what it could not write nobody is going to read
        file.close()


_CLOSED = BytesIO()
_CLOSED.close()

NO_BODY = Body()
