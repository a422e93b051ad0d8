"""Server-sent events: EventStream, and Event, which it sends.

One direction, text, over plain HTTP; a browser's EventSource reads it, connects again when it breaks off, and
then says in Last-Event-ID which event it had last (WHATWG HTML, section 9.2).

    source ── Event ──> Sender ──────> wire      in the request's own task: what the source has opened,
                           ^                     and its context variables, stay where they are
    keep_open() ── head, pings            a task beside it, for a source that is silent
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ReturnValueError
from .responses import JSONResponse, StreamingResponse
from .streams import interrupted_by, stepped, until_gone

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["Event", "EventStream"]

PING = b":\n\n"
# Seconds that a source has before the head goes out without its first event. Until then an error is still
# a proper answer; an EventSource that waited for longer would seem not to be connected.
OPENS_AFTER = 0.5

_LINE_END = re.compile(r"\r\n|\r|\n")  # those of the format; splitlines() knows more


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is text, or any value that JSON can hold and is sent as JSON.

    `event` is the name that a page listens for, by default "message". `id` is what the client names when it
    comes back. `retry` is how long it waits before that, in milliseconds. `comment` is for people who look at
    the stream. Without `data` (None) nothing is dispatched in the page. Raises ValueError for what the format
    cannot hold: a line end in `event`, a line end or NUL in `id`, an event of nothing at all.

    >>> from weebill.event_stream import Event
    >>> print(Event({"bird": "weebill"}, event="seen", id=7).encode().decode(), end="")
    event: seen
    id: 7
    data: {"bird":"weebill"}
    <BLANKLINE>
    """

    data: Any = None
    event: str | None = None
    id: str | int | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        """Check what the lines of the format cannot hold."""
        if self.event is not None and _LINE_END.search(self.event):
            raise ValueError(f"the name {self.event!r} of an event holds a line end")
        if self.id is not None and ("\0" in str(self.id) or _LINE_END.search(str(self.id))):
            raise ValueError(f"the id {self.id!r} of an event holds a line end or a NUL")
        if self.retry is not None:
            _check_retry(self.retry)
        if isinstance(self.data, bytes | bytearray | memoryview):
            raise ValueError("the data of an event is text, or a value that JSON can hold, and not bytes")
        if (self.data, self.event, self.id, self.retry, self.comment) == (None,) * 5:
            raise ValueError("an event of nothing; give it data, or a comment")

    def encode(self) -> bytes:
        """Its lines, as UTF-8. Raises TypeError for data that JSON cannot hold."""
        lines: list[str] = []
        if self.comment is not None:
            lines += [f": {line}" for line in _LINE_END.split(self.comment)]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else JSONResponse.encode(self.data).decode()
            lines += [f"data: {line}" for line in _LINE_END.split(text)]
        return ("\n".join(lines) + "\n\n").encode()


def _check_retry(retry: object) -> None:
    if not isinstance(retry, int) or isinstance(retry, bool) or retry < 0:
        raise ValueError(f"retry is {retry!r}; it is a whole number of milliseconds")


class EventStream(StreamingResponse):
    """An answer of server-sent events, for as long as `source` goes on.

    `source` is an async generator, or a plain one, which runs in worker threads, of `Event` values, texts, or
    values that JSON can hold. `ping` is the time in seconds after which a silent stream says something, so
    that no proxy takes it for dead; None for never. `retry` is how long clients are to wait before they
    connect again, in milliseconds. The head goes out with the first event or after half a second; an error
    that comes sooner is a proper answer.

    The stream ends, and the source is closed, when the client goes or the server stops. An event that is
    being waited for is cancelled then; a ping does not disturb it. That a client has gone shows at the next
    ping at the latest.

    >>> from weebill.event_stream import Event
    >>> app = App()
    >>> @app.get("/birds")
    ... async def birds() -> EventStream:
    ...     return EventStream(Event(name, id=n) for n, name in enumerate(["weebill", "wren"]))
    >>> TestClient(app).get("/birds").text
    'id: 0\\ndata: weebill\\n\\nid: 1\\ndata: wren\\n\\n'
    """

    content_type = b"text/event-stream"

    def __init__(
        self,
        source: AsyncIterable[Any] | Iterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        ping: float | None = 15.0,
        retry: int | None = None,
    ) -> None:
        if ping is not None and not ping > 0:
            raise ValueError(f"ping is {ping!r}; it is a number of seconds above 0, or None")
        if retry is not None:
            _check_retry(retry)
        super().__init__(source, status_code)
        self.ping = ping
        self.retry = retry
        self.headers["cache-control"] = "no-store"
        self.headers["x-accel-buffering"] = "no"  # nginx hands each event on at once
        self.headers.update(headers or {})

    async def send(self, exchange: Exchange) -> None:
        """Hand the events to the wire, each when the client has room for it."""
        sender = _Sender(self, exchange)
        with suppress(_Ended):
            async with (
                aclosing(stepped(self.pieces)) as source,
                interrupted_by(until_gone(exchange), _until_stopping(exchange), sender.keep_open()),
            ):
                async for value in source:
                    await sender.say(_event(value).encode())
                    if exchange.method == "HEAD" or exchange.stopping.is_set():
                        break
        await sender.say(b"")
        await exchange.finish()


class _Ended(Exception):
    """No event is to come any more."""


async def _until_stopping(exchange: Exchange) -> None:
    await exchange.stopping.wait()
    raise _Ended


def _event(value: Any) -> Event:
    if isinstance(value, Event):
        return value
    try:
        return Event(value)
    except ValueError:
        raise ReturnValueError(
            f"a stream of events gave {type(value).__name__}; it takes Event, text, and what JSON can hold"
        ) from None


class _Sender:
    """Who may speak: the source and `keep_open` take turns, so that no ping comes within an event."""

    def __init__(self, response: EventStream, exchange: Exchange) -> None:
        self._response = response
        self._exchange = exchange
        self._turn = asyncio.Lock()
        self._has_begun = False
        self._spoke = 0.0  # the loop's time

    async def say(self, data: bytes) -> None:
        """Send `data`, and the head before it."""
        async with self._turn:
            if not self._has_begun:
                self._has_begun = True
                await self._exchange.start(self._response.status_code, self._response.raw_headers)
                if self._response.retry is not None:
                    data = b"retry: %d\n\n" % self._response.retry + data
            if data:
                await self._exchange.write(data)
        self._spoke = asyncio.get_running_loop().time()

    async def keep_open(self) -> None:
        """Send the head when it is time, then something whenever nothing was said for a while."""
        await asyncio.sleep(OPENS_AFTER)
        if not self._has_begun:
            await self.say(b"")
        if self._exchange.method == "HEAD":
            raise _Ended
        ping = self._response.ping
        while ping is not None:
            silent = asyncio.get_running_loop().time() - self._spoke
            if silent < ping:
                await asyncio.sleep(ping - silent)
            else:
                await self.say(PING)


StreamingResponse.kinds[Event] = EventStream
