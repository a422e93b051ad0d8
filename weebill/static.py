"""Files of one folder, and nothing outside it.

    path ── in the cache, looked at lately? ──yes──> choose a coding ──> FileResponse from memory
                      │ no                                ^
                      └── thread: _look_up ── Found ──────┘  or a redirect, a list of the folder, 404

A look at the file system happens in a file thread, for a network file system may let one wait. What was
looked at within `FRESH` seconds is answered without another look.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .errors import ConfigurationError, HTTPException
from .exchange import ENCODED_SLASH
from .files import SMALL, Copy, FileResponse, guess_media_type
from .headers import Fields, parse_qualities
from .listing import list_folder
from .redirects import RedirectResponse
from .requests import Request
from .responses import Response
from .settings import parse_duration
from .threads import run_file_io

__all__ = ["HASHED", "StaticFiles"]

FRESH = 0.1  # seconds; nobody saves a file and reloads its page within that
CACHE = 16 << 20  # bytes of content that one StaticFiles keeps in memory
_ENTRY = 2 << 10  # bytes that a file costs in the cache besides its content
SETTLED = 2.0  # seconds after which a change of a file cannot hide behind the clock's coarseness

# Codings of neighbours such as app.js.br, with the ending of each.
_CODINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}

_NEVER = re.compile(r"[\\:\0]|[. ]\Z")  # Windows drops dots and blanks at the end
# What Windows takes for a device, in any folder and with any ending.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\..*)?", re.IGNORECASE
)

# Names that build tools make of the content. Whoever is wrong here shows a visitor an old file for a year, so
# no name that a person would give is one, and no UUID: hexadecimal with a digit and a letter
# (app.3f9a1c2b.js), or, of scripts and their like, eight characters with a capital and two digits apart
# (index-BX7k2f9d.css). Never a page.
HASHED = re.compile(
    r"[.\-_](?:(?<![0-9a-f]{4}-)(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{8,64}"
    r"(?!\.(?:html?|pdf|txt)\Z)\.[a-z0-9.]+\Z"
    r"|(?=[^.]*[A-Z])(?=[^.]*[0-9][^.0-9]+[0-9])[A-Za-z0-9_-]{8}\.(?:m?js|css|wasm|woff2?)(?:\.map)?\Z)"
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One representation of a file: itself, or a neighbour that holds it compressed.

    `copy` is its content if it is small. A file is the same as long as its `signature` is.
    """

    path: str
    coding: str
    signature: tuple[int, ...]
    fields: Fields
    copy: Copy | None


@dataclass(slots=True)
class Found:
    """A file with its variants, itself first, and when it was looked at."""

    variants: list[Variant]
    looked: float
    cost: int = 0  # bytes in the cache

    def choose(self, request: Request) -> Variant:
        """The variant that the client likes best, of several the smallest (RFC 9110 section 12.5.3)."""
        if len(self.variants) == 1:
            return self.variants[0]
        wishes = parse_qualities(request.headers.get("accept-encoding", ""))
        others = wishes.get("*", 0.0)
        if "x-gzip" in wishes:
            wishes.setdefault("gzip", wishes["x-gzip"])
        plain, *coded = self.variants
        best, most = plain, (wishes.get("identity", others), -plain.signature[1])
        for variant in coded:
            weight = wishes.get(variant.coding, others)
            if weight > 0 and (weight, -variant.signature[1]) > most:
                best, most = variant, (weight, -variant.signature[1])
        return best


class StaticFiles:
    """The handler behind `app.static`: answers the parameter `file` with a file below `folder`.

    `index` is the file that answers for a folder, `listing` has folders without one answered by a list.
    `max_age` is how long browsers may use a file without asking, in seconds or as "1h"; without it they ask
    each time, and get 304. A name that `immutable` finds, by default one that holds a hash of the content,
    is never asked for again. `precompressed` looks for neighbours such as app.js.br, app.js.zst and
    app.js.gz that are not older.

    Hidden files, names of Windows' devices, what symbolic links lead out to, and everything that is no
    regular file are 404, without a hint which it was. Raises ConfigurationError for a folder that is not
    there.

    >>> from pathlib import Path
    >>> Path("assets").mkdir()
    >>> _ = Path("assets/app.css").write_text("p { color: green }")
    >>> app = App(__name__)
    >>> app.static("/assets", Path("assets").resolve())
    >>> answer = TestClient(app).get(app.url_for("static", file="app.css"))
    >>> answer.text, answer.headers["content-type"], answer.headers["cache-control"]
    ('p { color: green }', 'text/css; charset=utf-8', 'no-cache')
    """

    __name__ = "static"

    def __init__(
        self,
        folder: str | Path,
        *,
        index: str | None = "index.html",
        listing: bool = False,
        max_age: float | str | None = None,
        immutable: str | re.Pattern[str] | None = HASHED,
        precompressed: bool = True,
    ) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise ConfigurationError(f"the static folder {self.folder} does not exist")
        self.index = index
        self.listing = listing
        self.fresh = FRESH
        try:
            self._max_age = parse_duration(max_age) if isinstance(max_age, str) else max_age
            self._immutable = re.compile(immutable) if isinstance(immutable, str) else immutable
        except (ValueError, re.error) as error:
            raise ConfigurationError(f"the static folder {self.folder}: {error}") from None
        self._check_options()
        self._codings = _CODINGS if precompressed else {}
        self._cache: dict[str, Found] = {}  # the one looked at longest ago first
        self._cached = 0  # bytes

    def _check_options(self) -> None:
        age, pattern, here = self._max_age, self._immutable, f"the static folder {self.folder}"
        if age is not None and (not isinstance(age, int | float) or not 0 <= age < 1 << 31):
            raise ConfigurationError(f"{here}: max_age is {age!r}; it is a number of seconds, or like '1h'")
        if pattern is not None and not isinstance(pattern, re.Pattern):
            raise ConfigurationError(f"{here}: immutable is {pattern!r}; it is a regular expression or None")

    def __repr__(self) -> str:
        return f"the files of {self.folder}"

    async def __call__(self, request: Request) -> Response:
        """The answer for a request. Raises HTTPException 404."""
        if ENCODED_SLASH in request.exchange.path:  # it names one segment, and no file is called so
            raise HTTPException(404)
        relative: str = request.params["file"]
        found = self._cache.get(relative)
        now = time.monotonic()
        if found is None or now - found.looked >= self.fresh:
            if found is not None:
                found.looked = now  # one looks again, the others need not wait for it
            try:
                looked_up = await run_file_io(self._look_up, relative, request, found)
            finally:
                self._forget(relative)
            if isinstance(looked_up, Response):
                return looked_up
            found = looked_up
            self._remember(relative, found)
        variant = found.choose(request)
        return FileResponse.of(variant.path, variant.fields.copy(), variant.copy, variant.coding)

    # -- the cache; only the loop's thread touches it

    def _remember(self, relative: str, found: Found) -> None:
        changed = (time.time() - SETTLED) * 1e9
        if any(max(variant.signature[0], variant.signature[2]) > changed for variant in found.variants):
            return
        found.cost = _ENTRY + sum(variant.copy.size for variant in found.variants if variant.copy)
        self._cache[relative] = found
        self._cached += found.cost
        while self._cached > CACHE:
            self._forget(next(iter(self._cache)))

    def _forget(self, relative: str) -> None:
        found = self._cache.pop(relative, None)
        if found is not None:
            self._cached -= found.cost

    # -- looking at the file system; in a file thread

    def find(self, relative: str) -> Path:
        """The file of a decoded path. Raises HTTPException 404."""
        path = self._inside(relative)
        if path is not None and path.is_dir() and self.index:
            path = self._real(path / self.index)
        elif relative.endswith("/"):  # a slash at the end counts: only a folder has one
            path = None
        if path is None or not path.is_file():
            raise HTTPException(404)
        return path

    def _inside(self, relative: str) -> Path | None:
        """What a decoded path leads to, if that lies in the folder and is not hidden."""
        segments = relative.removesuffix("/").split("/") if relative else []
        if any(not s or s[0] == "." or _NEVER.search(s) or _DEVICE.fullmatch(s) for s in segments):
            return None
        return self._real(self.folder.joinpath(*segments))

    def _real(self, path: Path) -> Path | None:
        """The same without links, if it lies in the folder and is not hidden."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # missing, unreadable, a loop of links, a name too long
            return None
        if real != self.folder and not real.is_relative_to(self.folder):
            return None
        return None if any(p.startswith(".") for p in real.relative_to(self.folder).parts) else real

    def _look_up(self, relative: str, request: Request, known: Found | None) -> Found | Response:
        looked = time.monotonic()
        path = self._inside(relative)
        if path is None:
            raise HTTPException(404)
        if path.is_dir():
            index = self._real(path / self.index) if self.index else None
            if index is None and not self.listing:
                raise HTTPException(404)
            if relative and not relative.endswith("/"):  # or the links of a page would lead astray
                return RedirectResponse(_with_slash(request), 308)
            if index is None:
                return list_folder(path, relative, self._is_listed)
            path = index
        elif relative.endswith("/"):
            raise HTTPException(404)
        return Found(self._variants(path, known), looked)

    def _is_listed(self, entry: Path) -> bool:
        real = self._inside(entry.relative_to(self.folder).as_posix())
        return real is not None and (real.is_file() or real.is_dir())

    def _variants(self, path: Path, known: Found | None) -> list[Variant]:
        before = {variant.path: variant for variant in known.variants} if known else {}
        status = _status(path)
        if status is None:
            raise HTTPException(404)
        rows = [("", path, status)]
        if path.suffix not in _CODINGS.values():
            for coding, ending in self._codings.items():
                neighbour = path.with_name(path.name + ending)
                beside = _status(neighbour) if self._real(neighbour) == neighbour else None
                if beside is not None and beside.st_mtime >= status.st_mtime:
                    rows.append((coding, neighbour, beside))
        shared = self._fields(path, varies=len(rows) > 1)
        return [self._variant(*row, shared, before.get(str(row[1]))) for row in rows]

    def _variant(
        self, coding: str, path: Path, status: os.stat_result, shared: Fields, known: Variant | None
    ) -> Variant:
        fields = [*shared, (b"content-encoding", coding.encode("ascii"))] if coding else shared
        copy = None
        signature = _signature(status)
        if known is not None and known.signature == signature:
            copy = known.copy
        elif status.st_size <= SMALL:
            loaded = Copy.load(path, follow=False, coding=coding)
            signature = _signature(loaded.status)
            copy = loaded if loaded.content is not None else None  # it has grown meanwhile
        return Variant(str(path), coding, signature, fields, copy)

    def _fields(self, path: Path, varies: bool) -> Fields:
        name = path.name
        if self._immutable is not None and self._immutable.search(name):
            cache_control = "public, max-age=31536000, immutable"  # RFC 8246
        else:
            cache_control = "no-cache" if self._max_age is None else f"max-age={int(self._max_age)}"
        fields = [
            (b"content-type", guess_media_type(name).encode("ascii")),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", cache_control.encode("ascii")),
        ]
        return [*fields, (b"vary", b"Accept-Encoding")] if varies else fields


def _status(path: Path) -> os.stat_result | None:
    """Of a regular file, None for anything else."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """What changes with the content. The last is set by nobody but the system."""
    return status.st_mtime_ns, status.st_size, status.st_ctime_ns, status.st_ino, status.st_dev


def _with_slash(request: Request) -> str:
    """The path with a slash behind it, and one in front, or a browser would take what follows for a host."""
    exchange = request.exchange
    path = quote(exchange.root_path, safe="/%") + quote(exchange.path, safe="/!$&'()*+,;=:@~-._")
    query = f"?{exchange.query_string}" if exchange.query_string else ""
    return "/" + path.strip("/") + "/" + query.replace("\\", "%5C")
