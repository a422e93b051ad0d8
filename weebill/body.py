"""The content of one request as it is gathered: in memory at first, then in a temporary file."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from threading import Lock
from typing import IO

from .threads import run_file_io

__all__ = ["NO_BODY", "Body"]

LARGE = 1 << 26  # bytes of a file that the system needs a while to free: 0.1 seconds for a gigabyte
PIECE = 1 << 18  # bytes read back from the file at a time


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
        "_spool",
        "on_disk",
        "size",
    )

    def __init__(self, spool: int = 1 << 20) -> None:
        self.size = 0
        self.on_disk = False  # whether some of it is
        self._spool = spool
        self._pieces: list[bytes] = []
        self._pending = 0  # bytes in _pieces
        self._file: IO[bytes] | None = None
        self._holders = 1  # who has to close it
        self._lock = Lock()  # of the file's position
        self._position = 0  # of read_piece

    def add(self, piece: bytes) -> None:
        """Append `piece`. The limit on the whole is the wire's to check."""
        self._pieces.append(piece)
        self.size += len(piece)
        self._pending += len(piece)

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

            self._file = tempfile.TemporaryFile(prefix="weebill-")  # noqa: SIM115
            self.on_disk = True
        self._file.writelines(pieces)

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
                piece = self._file.read(min(count, written - position))
        if position + count > written:
            start = max(position - written, 0)
            piece += self._in_memory()[start : position + count - written]
        return piece

    def _in_memory(self) -> bytes:
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


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what it could not write nobody is going to read
        file.close()


_CLOSED = BytesIO()
_CLOSED.close()

NO_BODY = Body()
