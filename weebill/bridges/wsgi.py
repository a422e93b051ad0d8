"""WSGI: the application of others (Flask, Django, Bottle) on any of our wires (PEP 3333).

A WSGI application runs in the worker threads, a hop at a time, so that a slow client holds no thread:

    loop:   __exchange__ ──> first() ──> respond()                         an answer in one piece
                         ──> first() ──> start() write() <── next_piece()  one hop for each further piece
    thread:                  app(environ, start_response); one piece; close() in the hop that ends

All hops of a request run in the same context, as generators that keep context variables need it.
"""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias
from wsgiref.util import FileWrapper

from ..errors import ClientDisconnected, HTTPException
from ..exchange import BUFFERED, ENCODED_SLASH
from ..threads import run_in_thread
from .common import answered_without, content_file, fail, logger, refuse

if TYPE_CHECKING:
    from types import TracebackType

    from ..exchange import Exchange, Intake
    from ..headers import Fields

__all__ = ["WSGIApplication"]

WSGIApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]"

# PEP 3333 forbids an application the fields of one connection; some set them all the same. The wire passes
# over those that are missing here, and closes for `Connection: close`.
OF_THE_WIRE = frozenset((b"te", b"trailer", b"transfer-encoding"))

_STATUS = re.compile(r"([2-5][0-9][0-9])(?: [^\r\n]*)?")


class WSGIApplication:
    """The WSGI application `app`, behind the prefix `root_path` that a proxy has taken off the path."""

    def __init__(self, app: WSGIApp, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path.rstrip("/")

    async def __startup__(self) -> None:
        """Nothing: WSGI knows no start."""

    async def __shutdown__(self) -> None:
        """Nothing: WSGI knows no end."""

    def __intake__(self, exchange: Exchange) -> Intake:
        return BUFFERED

    async def __exchange__(self, exchange: Exchange) -> None:
        if await answered_without(exchange):
            return
        call = _Call(self.app, exchange, self.root_path)
        try:
            await call.answer()
        except HTTPException as refusal:  # QueueFull
            await (fail(exchange, str(refusal)) if exchange.started else refuse(exchange, refusal))
        except ClientDisconnected:
            pass
        except (Exception, SystemExit) as error:  # no request ends the server
            if call.gone:  # the application's own end after write() told it
                logger.info("The WSGI application ended with %r after its client had gone", error)
            else:
                await fail(exchange, "The WSGI application failed", error)
        finally:
            call.end()


class _Call:
    """One request: the application, its answer's head and what is left of its iterable."""

    def __init__(self, app: WSGIApp, exchange: Exchange, root_path: str) -> None:
        self.gone = False
        self._app = app
        self._exchange = exchange
        self._root_path = root_path
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._lock = threading.Lock()  # one hop at a time, also when the request's task is cancelled
        self._over = False
        self._errors = _Errors()
        self._iterable: Any = None
        self._iterator: Iterator[bytes] = iter(())
        self._status = 0
        self._fields: Fields = []
        self._left: int | None = None  # bytes that Content-Length still allows

    # -- on the loop

    async def answer(self) -> None:
        """Run the application and hand its answer to the wire."""
        exchange = self._exchange
        content, ended = await self._hop(self._first)
        if ended and not exchange.started and (content or exchange.method != "HEAD"):
            await exchange.respond(self._status, self._fields, content)
            return
        if not exchange.started:
            await exchange.start(self._status, self._fields)
        if content:
            await exchange.write(content)
        while not ended:
            piece = await self._hop(self._next_piece)
            ended = piece is None
            if piece is not None:
                await exchange.write(piece)
        await exchange.finish()

    def _hop(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        return run_in_thread(self._locked, function)

    def _locked(self, function: Callable[[], Any]) -> Any:
        with self._lock:
            try:
                return self._context.run(function)
            finally:
                if self._over:
                    self._close_quietly()

    def end(self) -> None:
        """Close the iterable, wherever the request has stopped."""
        self._over = True
        if self._iterable is not None:
            # Not in the pool, which may be full, and a daemon, for a hop that hangs has the lock.
            threading.Thread(target=self._locked, args=(self._close_quietly,), daemon=True).start()

    # -- in a worker thread

    def _first(self) -> tuple[bytes, bool]:
        """Call the application: its first piece, and whether that is the whole answer."""
        environ = _environ(self._exchange, self._root_path)
        environ["wsgi.errors"] = self._errors
        self._iterable = iterable = self._app(environ, self.start_response)
        if isinstance(iterable, list | tuple):  # all pieces are there already, so joining delays none
            self._iterator = iter((b"".join(iterable),))
            self._left = None  # the wire compares
        else:
            self._iterator = iter(iterable)
        piece = self._next_piece()
        if not self._status:
            raise RuntimeError("the application gave its answer without calling start_response")
        if piece is None:
            return b"", True
        if isinstance(iterable, list | tuple):
            self._close()
            return piece, True
        if self._left == 0:
            self._next_piece()  # nothing more is sent, but a generator has a line behind its last yield
            return piece, True
        if self._exchange.method == "HEAD":  # how much would follow is not known
            self._close()
            return b"", True
        return piece, False

    def _next_piece(self) -> bytes | None:
        """The next piece that is not empty; None, and the iterable closed, at the end."""
        for piece in self._iterator:
            if not isinstance(piece, bytes):
                raise TypeError(f"the application gave {type(piece).__name__} instead of bytes")
            # PEP 3333 on Content-Length: what is beyond is not sent.
            if self._left is not None:
                piece = piece[: self._left]
                self._left -= len(piece)
            if piece:
                return piece
            if self._left == 0:
                break
        self._close()
        return None

    def _close(self) -> None:
        iterable, self._iterable = self._iterable, None
        if hasattr(iterable, "close"):
            iterable.close()
        self._errors.flush()

    def _close_quietly(self) -> None:
        try:
            self._close()
        except Exception as error:
            logger.error("Closing the answer of the WSGI application failed", exc_info=error)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """As PEP 3333 has it: keep the head until the first piece. Returns `write`."""
        if exc_info is not None:
            try:
                if self._exchange.started and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it would hold the traceback in a cycle
        elif self._status:
            raise RuntimeError("start_response was called twice without exc_info")
        if not (found := _STATUS.fullmatch(status)):
            raise ValueError(f"the status {status!r} is no text like '200 OK'")
        fields: Fields = []
        self._left = None
        for name, value in headers:
            pair = (name.encode("latin-1"), value.encode("latin-1"))
            key = pair[0].lower()
            if key not in OF_THE_WIRE:
                fields.append(pair)
                if key == b"content-length" and pair[1].isdigit():
                    self._left = int(pair[1])
        self._status, self._fields = int(found[1]), fields
        return self.write

    def write(self, piece: bytes) -> None:
        """Send `piece` before the application goes on (PEP 3333: for old code only)."""
        try:
            asyncio.run_coroutine_threadsafe(self._write(piece), self._loop).result()
        except ClientDisconnected:
            self.gone = True
            raise BrokenPipeError("the client has gone") from None

    async def _write(self, piece: bytes) -> None:
        if not self._exchange.started:
            await self._exchange.start(self._status, self._fields)
        await self._exchange.write(piece)


def _environ(exchange: Exchange, root_path: str) -> dict[str, Any]:
    """The environ of a request; `wsgi.errors` is the caller's to add (PEP 3333, RFC 3875 section 4.1)."""
    name, port = exchange.server or _named_by_host(exchange)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": exchange.method,
        "SCRIPT_NAME": _tunnelled(root_path + exchange.root_path),
        "PATH_INFO": _tunnelled(exchange.path),
        "QUERY_STRING": exchange.query_string,
        "REQUEST_URI": exchange.target,
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{exchange.http_version}",
        "SERVER_SOFTWARE": "weebill",
        "REMOTE_ADDR": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": exchange.scheme,
        "wsgi.input": content_file(exchange.body),
        "wsgi.input_terminated": True,  # it ends where the content ends
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,  # there may be more workers; an application must not rely on one
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    if exchange.client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = exchange.client[0], str(exchange.client[1])
    lines: dict[str, list[str]] = {}
    for raw_name, raw_value in exchange.fields:
        # "X_Real_Ip" would become the same key as the "X-Real-Ip" that a proxy guards.
        if b"_" in raw_name:
            continue
        key = raw_name.decode("latin-1").upper().replace("-", "_")
        value = raw_value.decode("latin-1")
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            environ.setdefault(key, value)
            continue
        if key == "TRANSFER_ENCODING":  # taken off already
            continue
        key = f"HTTP_{key}"
        lines.setdefault(key, []).append(value)
    for key, values in lines.items():
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    if exchange.body.size:
        environ["CONTENT_LENGTH"] = str(exchange.body.size)  # known now, even if it came in chunks
    return environ


def _tunnelled(path: str) -> str:
    """Text whose characters stand for the bytes of `path` in UTF-8 (PEP 3333, "Unicode Issues")."""
    if path.isascii():
        return path
    return path.replace(ENCODED_SLASH, "/").encode("utf-8").decode("latin-1")


def _named_by_host(exchange: Exchange) -> tuple[str, int]:
    """Name and port for a wire that has none, such as a unix socket: PEP 3333 wants them never empty."""
    host = next((value.decode("latin-1") for name, value in exchange.fields if name.lower() == b"host"), "")
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name or "localhost", int(port)
    return host or "localhost", 443 if exchange.scheme == "https" else 80


class _Errors(io.TextIOBase):
    """`wsgi.errors`: each line that is written becomes one line of the log."""

    def __init__(self) -> None:
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            logger.error("%s", line)
        return len(text)

    def flush(self) -> None:
        if self._line:
            logger.error("%s", self._line)
            self._line = ""
