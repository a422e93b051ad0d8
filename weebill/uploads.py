"""UploadFile: a file that came with a form, and how it is saved.

All files of a form lie one behind the other in one Body, in memory at first, then in one temporary file
without a name. Each UploadFile reads its own stretch of it.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import ConfigurationError, UploadRefused
from .headers import Headers
from .threads import run_file_io

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .body import Body

__all__ = ["Stretch", "UploadFile", "base_name"]

PIECE = 1 << 18  # bytes that are read at a time
LONGEST_NAME = 255  # bytes that file systems take

# Controls, and what turns the direction of writing, so that "gpj.exe" reads as "exe.jpg".
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_DEVICES.update(name + number for name in ("com", "lpt") for number in "0123456789¹²³")


class UploadFile:
    """A file that came with a form.

    `filename` is what the client calls it, without folders: a word to show, never a path. It is "" where
    there is none. `content_type` is what the client says, application/octet-stream if it says nothing.
    `size` is in bytes, `headers` are those of the part as they were sent. `file` is a binary file to read:
    use it in a `def` handler; an `async def` handler awaits the methods instead, which leave the loop for
    what lies on disk (`on_disk`). The file is gone when the request has been answered.

    >>> import io
    >>> upload = UploadFile(io.BytesIO(b"meow"), "C:\\\\photos\\\\cat.txt", "text/plain", 4)
    >>> upload.filename, upload.size, upload.file.read()
    ('cat.txt', 4, b'meow')
    """

    def __init__(
        self,
        file: BinaryIO,
        filename: str = "",
        content_type: str = "application/octet-stream",
        size: int = 0,
        headers: Headers | None = None,
        on_disk: bool = False,
    ) -> None:
        self.file = file
        self.filename = base_name(filename)
        self.content_type = content_type
        self.size = size
        self.headers = Headers() if headers is None else headers
        self.on_disk = on_disk

    async def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, all that are left if it is negative, b"" at the end.

        >>> app = App()
        >>> @app.post("/", stream=True)
        ... async def take(request: Request):
        ...     await request.load_form()
        ...     return await request.files["cat"].read()
        >>> TestClient(app).post("/", files={"cat": ("cat.txt", b"meow")}).content
        b'meow'
        """
        return await run_file_io(self.file.read, size) if self.on_disk else self.file.read(size)

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on reading at byte `offset`, counted as in `io.IOBase.seek`; return the place.

        >>> import asyncio, io
        >>> asyncio.run(UploadFile(io.BytesIO(b"meow")).seek(0, 2))
        4
        """
        return self.file.seek(offset, whence)

    async def close(self) -> None:
        """Read no more. The end of the request does it anyway.

        >>> import asyncio, io
        >>> asyncio.run(UploadFile(io.BytesIO(b"meow")).close())
        """
        self.file.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces of at most 256 KiB, from where it was read up to."""
        while piece := await self.read(PIECE):
            yield piece

    def save(self, folder: str | Path, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Save the whole file in `folder` and return its path; for `def` handlers.

        `name` is a name without folders; without it the client's own counts, which anybody may choose: give
        one of yours. The file is there when it is complete, and never before.

        Raises UploadRefused, 400 for a name that could do harm (empty, hidden, a path, a device, with
        controls, longer than 255 bytes), 409 if there is something of that name and not `overwrite`;
        ConfigurationError if there is no such folder, and on the event loop.

        >>> import io, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     UploadFile(io.BytesIO(b"meow"), "cat.txt").save(folder).read_text()
        'meow'
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._save(Path(folder), name, overwrite)
        raise ConfigurationError(
            "save() waits for the disk, and so would everybody else; in an async def write "
            "`await upload.save_async(folder)`"
        )

    async def save_async(
        self, folder: str | Path, name: str | None = None, *, overwrite: bool = False
    ) -> Path:
        """`save` for `async def` handlers: the disk is waited for in a thread.

        >>> import asyncio, io, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     asyncio.run(UploadFile(io.BytesIO(b"meow")).save_async(folder, "cat.txt")).name
        'cat.txt'
        """
        return await run_file_io(self._save, Path(folder), name, overwrite)

    def _save(self, folder: Path, name: str | None, overwrite: bool) -> Path:
        name = _checked_name(self.filename if name is None else name)
        target = folder / name
        if not overwrite and os.path.lexists(target):  # before the work; what counts is _place
            raise _exists(name)
        part = folder / f".{secrets.token_hex(8)}.upload"
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        try:
            # The mode of any new file; those of tempfile nobody but us could read.
            descriptor = os.open(part, flags, 0o666)
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigurationError(f"there is no folder {str(folder)!r} to save uploads in") from None
        try:
            with open(descriptor, "wb") as copy:
                position = self.file.tell()
                self.file.seek(0)
                shutil.copyfileobj(self.file, copy, PIECE)
                self.file.seek(position)
                copy.flush()
                os.fsync(copy.fileno())  # the name must not outlive a crash that the content does not
            _place(part, target, overwrite)
        except (FileExistsError, IsADirectoryError):
            raise _exists(name) from None
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
        return target

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r} {self.content_type} {self.size} bytes>"


def base_name(filename: str) -> str:
    """What is left of a name when folders of any system and what cannot be seen are taken off.

    >>> from weebill.uploads import base_name
    >>> base_name("../../etc/passwd"), base_name("C:\\\\temp\\\\cat.txt"), base_name("..")
    ('passwd', 'cat.txt', '')
    """
    name = _UNSEEN.sub("", filename.replace("\\", "/").rpartition("/")[2]).strip()
    return "" if name in (".", "..") else name


def _checked_name(name: str) -> str:
    """`name` if a file may be called so on every system. Raises UploadRefused."""
    problem = ""
    if not name:
        problem = "is empty"
    elif "/" in name or "\\" in name:
        problem = "is a path"
    elif name.startswith("."):
        problem = "is hidden"
    elif ":" in name or name[-1] in ". ":  # a drive or a stream of NTFS; Windows drops what is at the end
        problem = "holds a colon" if ":" in name else f"ends in {name[-1]!r}"
    elif _UNSEEN.search(name):
        problem = "holds characters that cannot be seen"
    elif name.partition(".")[0].strip().lower() in _DEVICES:
        problem = "is that of a device"
    elif len(os.fsencode(name)) > LONGEST_NAME:
        problem = f"is longer than {LONGEST_NAME} bytes"
    if problem:
        raise UploadRefused(400, f"The file cannot be saved: its name {name[:40]!r} {problem}.")
    return name


def _exists(name: str) -> UploadRefused:
    return UploadRefused(409, f"There is a file {name!r} already.")


def _place(part: Path, target: Path, overwrite: bool) -> None:
    """Give a complete file its name, in one step. Raises FileExistsError. A link of that name is never
    followed: it is in the way, or replaced itself."""
    if overwrite:
        part.replace(target)
    elif os.name == "nt":
        part.rename(target)  # refuses what exists, there
    else:
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: claim the name, then take its place
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            part.replace(target)


class Stretch(io.RawIOBase):
    """`count` bytes of `body` from `start` on, as a raw file, to be wrapped in a BufferedReader."""

    def __init__(self, body: Body, start: int, count: int) -> None:
        self._body = body
        self._start = start
        self._count = count
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._count}[whence]
        if base + offset < 0:
            raise ValueError(f"there is no byte {base + offset} of a file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        count = max(min(len(target), self._count - self._position), 0)
        piece = self._body.read_at(self._start + self._position, count) if count else b""
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
