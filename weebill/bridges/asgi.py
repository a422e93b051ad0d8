"""ASGI, both ways (https://asgi.readthedocs.io/en/latest/specs/).

ASGIApplication runs the ASGI application of others (Starlette, FastAPI, Django) on any of our wires.
`serve_scope` runs any of our applications on the ASGI server of others (uvicorn, granian, hypercorn).

    our wire -> Exchange -> ASGIApplication -> scope, receive, send -> their application
    their server -> scope, receive, send -> serve_scope -> ASGIExchange -> our application
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from ..body import Body
from ..errors import ClientDisconnected, HTTPException, ProtocolError, StartError
from ..exchange import ENCODED_SLASH, Intake
from ..settings import Settings
from .asgi_exchange import ASGIExchange, Message, Receive, Scope, Send
from .common import fail, logger, refuse

if TYPE_CHECKING:
    from ..exchange import Application, Exchange
    from ..headers import Fields

__all__ = ["ASGIApplication", "serve_scope"]

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# From 2.4 on Starlette asks for http.disconnect no more, and a stream that waits would learn of it too late.
HTTP_VERSION = {"version": "3.0", "spec_version": "2.3"}
LIFESPAN_VERSION = {"version": "3.0", "spec_version": "2.0"}

STREAMED = Intake(stream=True)


# -- applications of others on our wires


class ASGIApplication:
    """The ASGI 3 application `app`, behind the prefix `root_path` that a proxy has taken off the path.

    The application reads the content for itself, so its pace is the client's pace. The server's own limit on
    content holds: beyond it the client gets 413 and the application http.disconnect.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path.rstrip("/")
        self._lifespan: _Lifespan | None = None
        self._state: dict[str, Any] | None = None  # what the lifespan keeps for the requests

    async def __startup__(self) -> None:
        """Begin the lifespan. Raises StartError when the application says that it cannot start."""
        self._lifespan = _Lifespan(self.app)
        if await self._lifespan.start():
            self._state = self._lifespan.state

    async def __shutdown__(self) -> None:
        """End the lifespan."""
        if self._lifespan is not None:
            await self._lifespan.stop()
            self._lifespan = None

    def __intake__(self, exchange: Exchange) -> Intake:
        return STREAMED

    async def __exchange__(self, exchange: Exchange) -> None:
        if exchange.refusal is not None:
            await refuse(exchange, exchange.refusal)
            return
        call = _Call(exchange)
        try:
            await self.app(self._scope(exchange), call.receive, call.send)
        except (Exception, SystemExit) as error:  # no request ends the server
            if call.gone:  # the application's way to stop; nobody waits for an answer
                logger.debug("The ASGI application ended with %r after its client had gone", error)
            else:
                # Starlette answers 500 for itself, and raises then.
                await fail(exchange, "The ASGI application raised", error, complete=call.stage == COMPLETE)
        else:
            if call.stage != COMPLETE and not call.gone:
                await fail(exchange, "The ASGI application returned before its answer was complete")

    def _scope(self, exchange: Exchange) -> Scope:
        path = exchange.path
        raw_path = exchange.raw_path.encode("latin-1")
        root_path = self.root_path + exchange.root_path
        if root_path:
            # The path includes the root path, as in the specification and in every server of today.
            path = root_path + path
            raw_path = quote(root_path).encode() + raw_path
        if ENCODED_SLASH in path:
            path = path.replace(ENCODED_SLASH, "/")
        scope: Scope = {
            "type": "http",
            "asgi": HTTP_VERSION,
            "http_version": exchange.http_version,
            "method": exchange.method.upper(),
            "scheme": exchange.scheme,
            "path": path,
            "raw_path": raw_path,
            "query_string": exchange.query_string.encode("latin-1"),
            "root_path": root_path,
            "headers": [(name.lower(), value) for name, value in exchange.fields],
            "client": exchange.client,
            "server": exchange.server,
        }
        if self._state is not None:
            scope["state"] = self._state.copy()
        return scope


# How far the application is with its answer.
NOT_BEGUN, HEAD_KNOWN, SENDING, COMPLETE = range(4)


class _Call:
    """The `receive` and `send` of one request, and how far its answer is.

    The head is kept back until the first http.response.body, as the specification wants; a body that comes
    in one message is then a single write.
    """

    __slots__ = ("_content_ended", "_exchange", "_fields", "_status", "gone", "stage")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._content_ended = False
        self.stage = NOT_BEGUN
        self.gone = False  # the application has been told that its client is gone

    async def receive(self) -> Message:
        if not self._content_ended and self.stage != COMPLETE and not self.gone:
            try:
                piece = await self._exchange.read()
            except ClientDisconnected:
                self.gone = True
                return {"type": "http.disconnect"}
            except ProtocolError as error:  # malformed, too slow or cut short: never taken for complete
                await self._turn_away(HTTPException(error.status_code, error.detail))
                return {"type": "http.disconnect"}
            except HTTPException as refusal:  # BodyTooLarge
                await self._turn_away(refusal)
                return {"type": "http.disconnect"}
            self._content_ended = not piece
            return {"type": "http.request", "body": piece, "more_body": not self._content_ended}
        if not self.gone:
            await self._exchange.disconnected()
            self.gone = self.stage != COMPLETE
        return {"type": "http.disconnect"}

    async def _turn_away(self, refusal: HTTPException) -> None:
        self.gone = True
        if self._exchange.started:
            self._exchange.abort()
        else:
            await refuse(self._exchange, refusal)

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self.stage == COMPLETE:
            raise RuntimeError(f"{kind!r} was sent after the answer was complete")
        if self.gone:
            raise OSError("the client has gone")
        try:
            if kind == "http.response.body" and self.stage != NOT_BEGUN:
                await self._send_body(message.get("body", b""), message.get("more_body", False))
            elif kind == "http.response.start" and self.stage == NOT_BEGUN:
                self._status, self._fields = _checked_head(message)
                self.stage = HEAD_KNOWN
            else:
                expected = "start" if self.stage == NOT_BEGUN else "body"
                raise RuntimeError(f"{kind!r} was sent where 'http.response.{expected}' was expected")
        except ClientDisconnected:
            self.gone = True
            raise OSError("the client has gone") from None

    async def _send_body(self, body: bytes, more: bool) -> None:
        if not isinstance(body, bytes):
            if not isinstance(body, bytearray | memoryview):
                raise TypeError(f"the body of 'http.response.body' is {type(body).__name__}, not bytes")
            body = bytes(body)
        exchange = self._exchange
        if self.stage == HEAD_KNOWN:
            # An answer to HEAD without content may stand for a long one: respond() would say length 0.
            if not more and (body or exchange.method != "HEAD"):
                await exchange.respond(self._status, self._fields, body)
                self.stage = COMPLETE
                return
            await exchange.start(self._status, self._fields)
            self.stage = SENDING
        if body:
            await exchange.write(body)
        if not more:
            await exchange.finish()
            self.stage = COMPLETE


# PERF: most answers have one of a few heads. What was checked once is not checked again.
_heads: dict[tuple[Any, ...], tuple[int, Fields]] = {}
_MAX_HEADS = 500
_FEW = 4  # fields
_SHORT = 256  # bytes of names and values


def _checked_head(message: Message) -> tuple[int, Fields]:
    head = (message["status"], *message.get("headers", ()))  # headers may be an iterator, and come once only
    try:
        status, fields = _heads[head]
        return status, fields.copy()
    except (KeyError, TypeError):  # it is new, or made of lists
        status, fields = _new_head(head[0], head[1:])
    if len(fields) <= _FEW and sum(len(name) + len(value) for name, value in fields) <= _SHORT:
        if len(_heads) >= _MAX_HEADS:
            _heads.clear()
        _heads[status, *fields] = status, fields.copy()
    return status, fields


def _new_head(status: object, headers: Iterable[tuple[object, object]]) -> tuple[int, Fields]:
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"the status of 'http.response.start' is {status!r}, not 200 to 599")
    fields: Fields = []
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(
                f"the header ({name!r}, {value!r}) of 'http.response.start' is not a pair of bytes"
            )
        if name.lower() != b"transfer-encoding":  # framing is the wire's
            fields.append((name, value))
    return int(status), fields


class _Lifespan:
    """The lifespan of an ASGI application, in a task of its own from start to stop."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | None] = asyncio.Queue()  # None: the application has returned
        self._task: asyncio.Task[None] | None = None
        self._supported = False

    async def start(self) -> bool:
        """Return whether the application supports a lifespan. Raises StartError if its startup failed."""
        self._task = asyncio.create_task(self._run(), name="asgi lifespan")
        self._to_app.put_nowait({"type": "lifespan.startup"})
        try:
            answer = await self._from_app.get()
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            self._task.cancel()
            raise StartError(
                f"the application's startup failed: {answer.get('message') or 'it gave no reason'}"
            )
        return self._supported

    async def stop(self) -> None:
        """Tell the application to shut down and wait until it has."""
        if not self._supported or self._task is None:
            return
        self._to_app.put_nowait({"type": "lifespan.shutdown"})
        answer = await self._from_app.get()
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            logger.error(
                "the application's shutdown failed: %s", answer.get("message") or "it gave no reason"
            )
        # Some loop for ever over receive(), even after their last word.
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": LIFESPAN_VERSION, "state": self.state}
        try:
            await self.app(scope, self._to_app.get, self._send)
        except Exception as error:
            # Before the startup is answered, an exception only says "I know of no lifespan".
            if self._supported:
                logger.error("the application's lifespan ended with an exception", exc_info=error)
            else:
                logger.debug("the application has no lifespan: %r", error)
        finally:
            self._from_app.put_nowait(None)

    async def _send(self, message: Message) -> None:
        expected = "shutdown" if self._supported else "startup"
        if message["type"] not in (f"lifespan.{expected}.complete", f"lifespan.{expected}.failed"):
            raise RuntimeError(
                f"{message['type']!r} was sent where an answer to lifespan.{expected} was expected"
            )
        self._supported = message["type"] != "lifespan.startup.failed"
        self._from_app.put_nowait(message)


# -- our applications on the servers of others

DEFAULTS = Settings()


async def serve_scope(
    application: Application,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    max_body: int = DEFAULTS.max_body,
    spool: int = DEFAULTS.spool,
) -> None:
    """Serve one ASGI 3 scope with `application`: "http" and "lifespan"; a "websocket" is denied (403).

    `max_body` is the limit on content in bytes where the application's intake names none; content beyond
    `spool` bytes goes to a temporary file. An answer that was given up in its middle is left without its
    last message, at which servers cut the connection. Raises ValueError for a scope of another type.
    """
    kind = scope["type"]
    if kind == "http":
        await _serve_request(application, ASGIExchange(scope, receive, send, max_body), spool)
    elif kind == "lifespan":
        await _serve_lifespan(application, receive, send)
    elif kind == "websocket":
        await receive()  # websocket.connect
        await send({"type": "websocket.close", "code": 1000})  # before any accept this is a 403
    else:
        raise ValueError(f"there is no ASGI scope of the type {kind!r} here")


async def _serve_request(application: Application, exchange: ASGIExchange, spool: int) -> None:
    intake = application.__intake__(exchange)
    exchange.prepare(intake)
    try:
        if intake.wanted and not intake.stream and exchange.refusal is None:
            await exchange.gather(Body(spool))
        if intake.cancel_on_disconnect:
            await _answer_until_gone(application, exchange)
        else:
            await application.__exchange__(exchange)
    except ClientDisconnected:
        pass  # in the middle of its request: there is nobody to answer
    finally:
        await exchange.close()


async def _answer_until_gone(application: Application, exchange: ASGIExchange) -> None:
    """Cancel the answer when its client goes. What the application does after its answer is let be."""
    answer = asyncio.ensure_future(application.__exchange__(exchange))
    gone = asyncio.ensure_future(exchange.disconnected())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if exchange.complete:
            await answer
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.wait({answer, gone})


async def _serve_lifespan(application: Application, receive: Receive, send: Send) -> None:
    for phase, run in (("startup", application.__startup__), ("shutdown", application.__shutdown__)):
        await receive()
        try:
            await run()
        except Exception as error:
            logger.error("The application's %s failed", phase, exc_info=error)
            await send({"type": f"lifespan.{phase}.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": f"lifespan.{phase}.complete"})
