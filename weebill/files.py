"""FileResponse: the content of a file, whole or in ranges, if the client has not got it already.

    path ── thread: open, fstat, read if small ──> Copy ── precondition() ──> 304, 412
                                                     └──── parse_range() ───> 206, 416
                                                     └──── the whole ───────> 200

A file is opened once, and everything that is said of it is said of that descriptor.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from .conditional import not_modified_fields, parse_range, precondition, range_is_wanted
from .errors import HTTPException
from .headers import Fields, http_date, is_token, parse_http_date
from .responses import Response
from .threads import run_file_io

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["Copy", "FileResponse", "OpenFile", "guess_media_type"]

SMALL = 64 << 10  # bytes of a file that is read at once and answered in one write

# What a browser's decisions hang on is the same on every machine; the standard table, which differs from one
# version of Python to the next, has the rest.
_TYPES = {
    **dict.fromkeys(("html", "htm"), "text/html"),
    **dict.fromkeys(("js", "mjs", "cjs"), "text/javascript"),  # RFC 9239
    **dict.fromkeys(("json", "map"), "application/json"),
    **dict.fromkeys(("txt", "text", "log"), "text/plain"),
    **dict.fromkeys(("md", "markdown"), "text/markdown"),  # RFC 7763
    **dict.fromkeys(("yaml", "yml"), "application/yaml"),  # RFC 9512
    **dict.fromkeys(("jpg", "jpeg"), "image/jpeg"),
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
    **dict.fromkeys(("ogg", "oga", "opus"), "audio/ogg"),
    **dict.fromkeys(("mp4", "m4v"), "video/mp4"),
    "css": "text/css",
    "csv": "text/csv",
    "ics": "text/calendar",
    "vtt": "text/vtt",
    "xml": "application/xml",
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "webmanifest": "application/manifest+json",
    "jsonld": "application/ld+json",
    "geojson": "application/geo+json",
    "toml": "application/toml",
    "wasm": "application/wasm",
    "svg": "image/svg+xml",
    "png": "image/png",
    "apng": "image/apng",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "jxl": "image/jxl",
    "heic": "image/heic",
    "bmp": "image/bmp",
    "ico": "image/vnd.microsoft.icon",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mov": "video/quicktime",
    "ts": "video/mp2t",
    "mpd": "application/dash+xml",
    "m3u8": "application/vnd.apple.mpegurl",
    "pdf": "application/pdf",
    "epub": "application/epub+zip",
    "gz": "application/gzip",
    "zst": "application/zstd",
    "br": "application/octet-stream",
    "tgz": "application/gzip",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "tar": "application/x-tar",
    "7z": "application/x-7z-compressed",
    "gltf": "model/gltf+json",
    "glb": "model/gltf-binary",
    "bin": "application/octet-stream",
}


def guess_media_type(name: str) -> str:
    """The media type of a file by the ending of its name, with its charset if it is text.

    >>> from weebill.files import guess_media_type
    >>> guess_media_type("app.js"), guess_media_type("data.tar.gz"), guess_media_type("README")
    ('text/javascript; charset=utf-8', 'application/gzip', 'application/octet-stream')
    """
    _, dot, ending = name.rpartition(".")
    kind = (_TYPES.get(ending.lower()) or _standard_type(ending.lower())) if dot else None
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


@lru_cache(maxsize=256)
def _standard_type(ending: str) -> str | None:
    from mimetypes import MimeTypes  # slow to set up, and rarely needed

    return MimeTypes().types_map[1].get(f".{ending}")  # the table of Python itself, not of the system


_FLAGS = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # no FIFO makes us wait
    _FLAGS |= getattr(os, _name, 0)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_CAN_WALK = hasattr(os, "O_PATH") and os.open in os.supports_dir_fd  # Linux

# Ways in which a file is not there. Anything else, say that descriptors have run out, is a failure of ours.
_MISSING = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO),
        *(errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENODEV),
    )
)


class OpenFile:
    """A regular file that is open for reading, and its `status` when it was opened.

    It is closed when nobody holds it any more: a thread may still read from it when the request that asked
    for it is over, and a descriptor closed under that thread could be another file's by then. Raises
    OSError, also for what is no regular file; such a thing is not waited for. Without `follow` no part of
    `path` is a link, and one that has become a link meanwhile is an OSError too.
    """

    __slots__ = ("_descriptor", "status")

    def __init__(self, path: str | os.PathLike[str], follow: bool = True) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, _FLAGS) if follow else _open_without_links(os.fspath(path))
        self.status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self.status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", os.fspath(path))

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def read_at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on, b"" beyond the end. Blocks."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, offset)
        os.lseek(self._descriptor, offset, os.SEEK_SET)  # Windows; nobody else reads this descriptor
        return os.read(self._descriptor, count)


def _open_without_links(path: str) -> int:
    """Open a path that was resolved before, step by step: who may write to a folder on the way could have put
    a link in its place."""
    if not _CAN_WALK:
        return os.open(path, _FLAGS | _NOFOLLOW)
    root, *folders, name = Path(path).parts
    step = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(root, step)
    try:
        for folder in folders:
            outer, here = here, os.open(folder, step, dir_fd=here)
            os.close(outer)
        return os.open(name, _FLAGS | _NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)


class Copy(NamedTuple):
    """What a file was when it was opened, and its content if it is small, else the open file.

    `fields` tell of the state: ETag, Last-Modified, Accept-Ranges.
    """

    size: int
    etag: str
    last_modified: float
    fields: Fields
    content: bytes | None
    file: OpenFile | None
    status: os.stat_result

    @classmethod
    def load(cls, path: str | os.PathLike[str], follow: bool = True, coding: str = "") -> Copy:
        """Open a file, and read it if it is small. Blocks. Raises HTTPException 404 where there is none."""
        try:
            file = OpenFile(path, follow)
            status = file.status
            content = _read(file, status.st_size) if status.st_size <= SMALL else None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if isinstance(error, OSError) and error.errno not in _MISSING:
                raise
            raise HTTPException(404) from None
        size = status.st_size if content is None else len(content)
        # The nanoseconds tell two states apart that lie within one second.
        etag = f'"{status.st_mtime_ns:x}-{size:x}{coding and "-" + coding}"'
        modified = min(status.st_mtime, time.time())  # never later than Date (RFC 9110 section 8.8.2.1)
        fields = [
            (b"etag", etag.encode("ascii")),
            (b"last-modified", http_date(modified).encode("ascii")),
            (b"accept-ranges", b"bytes"),
        ]
        return cls(size, etag, modified, fields, content, None if content is not None else file, status)


def _read(file: OpenFile, count: int) -> bytes:
    """As much of `count` bytes as there are."""
    pieces: list[bytes] = []
    offset = 0
    while offset < count and (piece := file.read_at(offset, count - offset)):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


# The fields of a request that this file asks for.
_ASKED = frozenset(
    (
        *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
        *(b"if-range", b"range"),
    )
)


def _conditions(fields: Fields) -> dict[str, str]:
    """The conditions and the range of a request. PERF: without an index of all its fields."""
    found: dict[str, str] = {}
    for name, value in fields:
        if (key := name.lower()) in _ASKED:
            word, text = key.decode("ascii"), value.decode("latin-1")
            found[word] = f"{found[word]}, {text}" if word in found else text
    return found


class FileResponse(Response):
    """The content of the file at `path`, read off the loop as the client takes it.

    It has ETag and Last-Modified, and answers conditional requests with 304 or 412 and ranges with 206 or
    416 (RFC 9110 sections 13 and 14); an ETag or Last-Modified among `headers` goes before the file's own.
    Without `media_type` the ending of the name decides. `filename` offers it for download under that name,
    or with `content_disposition_type="inline"` shows it, to be saved under that name (RFC 6266).

    The file is opened when the answer is sent: a path where no regular file is becomes 404 then.

    >>> from pathlib import Path
    >>> _ = Path("notes.txt").write_text("a small bird")
    >>> app = App(__name__)
    >>> @app.get("/notes")
    ... async def notes() -> FileResponse:
    ...     return FileResponse("notes.txt", filename="my notes.txt")
    >>> TestClient(app).get("/notes", headers={"range": "bytes=2-6"}).text
    'small'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        filename: str | None = None,
        content_disposition_type: str = "attachment",
    ) -> None:
        self.path = os.fspath(path)
        self._copy: Copy | None = None
        self._follow = True
        self._coding = ""
        super().__init__(b"", status_code, headers, media_type)
        self.headers.setdefault("content-type", guess_media_type(os.path.basename(self.path)))
        self.headers.setdefault("x-content-type-options", "nosniff")
        if filename is not None:
            self.headers["content-disposition"] = _disposition(content_disposition_type, filename)

    @classmethod
    def of(cls, path: str, fields: Fields, copy: Copy | None, coding: str = "") -> FileResponse:
        """The answer for a file that was looked up before. With a `copy` nothing is opened any more, without
        one it is what `path` is when it is sent, but no link. `coding` is that of its content."""
        response = cls.__new__(cls)
        response.path, response._copy, response._follow, response._coding = path, copy, False, coding
        response.status_code, response.content, response.raw_headers = 200, b"", fields
        return response

    async def send(self, exchange: Exchange) -> None:
        """Send what the client has not got yet of what it asks for."""
        copy = self._copy
        if copy is None:
            copy = await run_file_io(Copy.load, self.path, self._follow, self._coding)
        fields, etag, last_modified = self._described(copy)
        conditions = _conditions(exchange.fields)
        if conditions and self.status_code == 200 and exchange.method in ("GET", "HEAD"):
            verdict = precondition(exchange.method, conditions, etag, last_modified)
            if verdict == 412:
                raise HTTPException(412)
            if verdict == 304:
                await exchange.respond(304, not_modified_fields(fields))
                return
            # Another method has no ranges, nor has HEAD (RFC 9110 section 14.2).
            if "range" in conditions and exchange.method == "GET":
                ranges = None
                if range_is_wanted(conditions, etag, last_modified):
                    ranges = parse_range(conditions["range"], copy.size)
                if ranges is not None:
                    await _send_ranges(exchange, fields, copy, ranges)
                    return
        if copy.content is not None:
            await exchange.respond(self.status_code, fields, copy.content)
        else:
            await _send_spans(exchange, self.status_code, fields, copy, [(b"", 0, copy.size)])

    def _described(self, copy: Copy) -> tuple[Fields, str, float | None]:
        """The fields of the answer, its tag and its time. What the author has set goes before the file's
        own."""
        own = {name.lower(): value for name, value in self.raw_headers}
        fields = [pair for pair in self.raw_headers if pair[0].lower() != b"content-length"]
        fields += [pair for pair in copy.fields if pair[0] not in own]
        etag = own[b"etag"].decode("latin-1") if b"etag" in own else copy.etag
        if b"last-modified" in own:
            return fields, etag, parse_http_date(own[b"last-modified"].decode("latin-1"))
        return fields, etag, copy.last_modified


Span = tuple[bytes, int, int]  # what goes before, and the file from here to there


async def _send_ranges(exchange: Exchange, fields: Fields, copy: Copy, ranges: list[tuple[int, int]]) -> None:
    """206 with one range or several (RFC 9110 section 15.3.7). Raises HTTPException 416 for none."""
    if not ranges:
        raise HTTPException(416, headers={"content-range": f"bytes */{copy.size}"})
    where = [b"bytes %d-%d/%d" % (first, end - 1, copy.size) for first, end in ranges]
    if len(ranges) == 1:
        first, end = ranges[0]
        spans: list[Span] = [(b"", first, end)]
        fields.append((b"content-range", where[0]))
    else:
        boundary = secrets.token_hex(16).encode("ascii")
        kind = next((value for name, value in fields if name.lower() == b"content-type"), b"")
        own_type = b"content-type: %b\r\n" % kind if kind else b""
        heads = [b"\r\n--%b\r\n%bcontent-range: %b\r\n\r\n" % (boundary, own_type, place) for place in where]
        heads[0] = heads[0].removeprefix(b"\r\n")
        spans = [(head, *both) for head, both in zip(heads, ranges, strict=True)]
        spans.append((b"\r\n--%b--\r\n" % boundary, 0, 0))
        fields = [pair for pair in fields if pair[0].lower() != b"content-type"]
        fields.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    if copy.content is not None:
        content = copy.content
        await exchange.respond(206, fields, b"".join(head + content[a:b] for head, a, b in spans))
    else:
        await _send_spans(exchange, 206, fields, copy, spans)


async def _send_spans(exchange: Exchange, status: int, fields: Fields, copy: Copy, spans: list[Span]) -> None:
    file = copy.file
    assert file is not None
    length = sum(len(head) + end - first for head, first, end in spans)
    await exchange.start(status, [*fields, (b"content-length", b"%d" % length)])
    if exchange.method != "HEAD":
        for head, first, end in spans:
            if head:
                await exchange.write(head)
            if end > first:
                await exchange.send_file(file, first, end - first)
    await exchange.finish()


def _disposition(kind: str, filename: str) -> str:
    """A Content-Disposition (RFC 6266); the name twice, the second time with all its characters."""
    if not is_token(kind):
        raise ValueError(f"content_disposition_type is {kind!r}; there are 'attachment' and 'inline'")
    plain = "".join(c if " " <= c <= "~" and c not in '"\\/%' else "_" for c in filename)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
