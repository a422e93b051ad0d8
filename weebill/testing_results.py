"""What a test client gets: a Result, or a StreamingResult while the application still writes it."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from .errors import HTTPException, reason_phrase
from .headers import Headers, parse_cookies
from .server.memory import MemoryExchange
from .testing_loop import LoopThread

__all__ = ["ReceivedEvent", "Result", "StreamingResult", "check"]

LEAVING = 5.0  # seconds that an application has to come to its end when its client has gone


class _Answer:
    """What is read from the head of an answer."""

    __slots__ = ()

    headers: Headers
    status_code: int

    @property
    def reason_phrase(self) -> str:
        """The standard phrase of the status."""
        return reason_phrase(self.status_code)

    @property
    def charset(self) -> str:
        """The charset of Content-Type, else utf-8."""
        message = Message()
        message["content-type"] = self.headers.get("content-type", "")
        return message.get_content_charset("utf-8")

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this answer sets."""
        lines = self.headers.getlist("set-cookie")
        return {k: v for line in lines for k, v in parse_cookies(line.partition(";")[0]).items()}


@dataclass(slots=True)
class Result(_Answer):
    """The answer to one request. `history` are the redirects that were followed to it.

    >>> app = App()
    >>> @app.get("/")
    ... def index():
    ...     return {"bird": "weebill"}, 201
    >>> result = TestClient(app).get("/")
    >>> result.status_code, result.headers["content-type"], result.json()
    (201, 'application/json', {'bird': 'weebill'})
    >>> result.content, result.text
    (b'{"bird":"weebill"}', '{"bird":"weebill"}')
    """

    status_code: int
    headers: Headers
    content: bytes
    url: str
    http_version: str = "HTTP/1.1"
    history: list[Result] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        """The content as text, by the charset of Content-Type, else UTF-8."""
        return self.content.decode(self.charset, "replace")

    def json(self) -> Any:
        """The content read as JSON. Raises ValueError."""
        return json.loads(self.content)


@dataclass(slots=True)
class ReceivedEvent:
    """One server-sent event, as a browser hands it to a script. `retry` is in milliseconds.

    >>> from weebill.testing import ReceivedEvent
    >>> ReceivedEvent("seen", id="7").event
    'message'
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class StreamingResult(_Answer):
    """An answer that the application may still be writing; what a test asks for is waited for.

    It is the client's side of one request: `disconnect()` goes away, as the end of the `with` block does,
    and the application notices. No more than 64 KiB run ahead of the test. What the handler raises is raised
    here, as by `TestClient.request`; ConnectionError when the answer breaks off.

    >>> app = App()
    >>> @app.get("/")
    ... async def count():
    ...     number = 0
    ...     while True:
    ...         number += 1
    ...         yield f"{number}\\n"
    >>> with TestClient(app).stream("GET", "/") as answer:
    ...     lines = answer.iter_lines()
    ...     answer.status_code, answer.headers["content-type"], next(lines), next(lines)
    ...     answer.is_complete
    (200, 'text/plain; charset=utf-8', '1', '2')
    False
    """

    def __init__(
        self,
        name: str,
        url: str,
        exchange: MemoryExchange,
        thread: LoopThread,
        served: Future[None],
        raises: bool,
        on_head: Callable[[Headers], None],
    ) -> None:
        self.url = url
        self.http_version = "HTTP/1.1"
        self._name = name
        self._exchange = exchange
        self._thread = thread
        self._served = served
        self._raises = raises
        self._received = 0
        self._told = False  # of what there was to raise
        self._on_head: Callable[[Headers], None] | None = on_head

    def __enter__(self) -> StreamingResult:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.disconnect()
        if kind is None:
            self.close()

    @property
    def status_code(self) -> int:  # type: ignore[override]
        """The status. Waits for the head of the answer."""
        self._wait_for_head()
        return self._exchange.status

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """The fields. Waits for the head of the answer."""
        self._wait_for_head()
        return Headers.from_raw(self._exchange.answer_fields)

    @property
    def is_complete(self) -> bool:
        """Whether the application has come to the end of its answer. Does not wait."""
        return self._exchange.complete

    def _wait_for_head(self) -> None:
        exchange = self._exchange
        if not exchange.started:
            self._thread.run(exchange.begun())
        if not exchange.started or (exchange.failure is not None and exchange.complete):
            self._check()
        if self._on_head is not None and exchange.started:
            on_head, self._on_head = self._on_head, None
            on_head(Headers.from_raw(exchange.answer_fields))

    def _check(self) -> None:
        """Wait for the end of the application's work, and raise what there is to raise."""
        self._served.result()
        self._told = True
        check(self._exchange, self._name, self._received, self._raises)

    def iter_bytes(self) -> Iterator[bytes]:
        """The content as the application writes it, piece by piece.

        >>> app = App()
        >>> @app.get("/")
        ... def pieces():
        ...     yield "one "
        ...     yield "two"
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     list(answer.iter_bytes())
        [b'one ', b'two']
        """
        self._wait_for_head()
        while pieces := self._thread.run(self._exchange.take()):
            for piece in pieces:
                self._received += len(piece)
                yield piece
        self._check()

    def iter_text(self) -> Iterator[str]:
        """The content as text, by the charset of Content-Type.

        >>> app = App()
        >>> @app.get("/")
        ... def pieces():
        ...     yield "one "
        ...     yield "two"
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     "".join(answer.iter_text())
        'one two'
        """
        self._wait_for_head()
        decoder = codecs.getincrementaldecoder(self.charset)("replace")
        for piece in self.iter_bytes():
            if text := decoder.decode(piece):
                yield text
        if text := decoder.decode(b"", True):
            yield text

    def iter_lines(self) -> Iterator[str]:
        """The content line by line, without the ends of lines."""
        newlines = io.IncrementalNewlineDecoder(None, translate=True)
        rest = ""
        for text in self.iter_text():
            *lines, rest = (rest + newlines.decode(text)).split("\n")
            yield from lines
        rest += newlines.decode("", True)
        if rest:
            yield rest.removesuffix("\n")

    def iter_events(self) -> Iterator[ReceivedEvent]:
        """The content as server-sent events (WHATWG HTML, event stream interpretation).

        >>> app = App()
        >>> @app.get("/")
        ... async def birds():
        ...     yield Event("weebill", id=7)
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     next(answer.iter_events())
        ReceivedEvent(data='weebill', event='message', id='7', retry=None)
        """
        data: list[str] = []
        kind, last_id, retry = "", "", None
        for line in self.iter_lines():
            if not line:
                if data:
                    yield ReceivedEvent("\n".join(data), kind or "message", last_id, retry)
                data, kind, retry = [], "", None
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                retry = int(value)

    def read(self) -> Result:
        """Wait for the rest of the answer.

        >>> app = App()
        >>> @app.get("/")
        ... def pieces():
        ...     yield "one "
        ...     yield "two"
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     answer.read().text
        'one two'
        """
        content = b"".join(self.iter_bytes())
        return Result(self.status_code, self.headers, content, self.url)

    def disconnect(self) -> None:
        """Go away, and do not wait for what the application makes of it.

        >>> import asyncio
        >>> app = App()
        >>> @app.get("/", cancel_on_disconnect=True)
        ... async def wait():
        ...     await asyncio.sleep(60)
        >>> with TestClient(app).stream("GET", "/") as answer:
        ...     answer.disconnect()
        ...     answer.close()
        """
        if not self._served.done():
            self._thread.loop.call_soon_threadsafe(self._exchange.disconnect)

    def close(self) -> None:
        """Go away, and wait until the application has come to an end with this request.

        Raises what the handler raised, unless the test has seen that, and TimeoutError if it still works
        after 5 seconds.
        """
        self.disconnect()
        try:
            self._served.result(LEAVING)
        except TimeoutError:
            self._served.cancel()
            raise TimeoutError(
                f"{self._name} is still at work {LEAVING:g} seconds after its client has gone; a handler "
                "that waits should listen for that (cancel_on_disconnect=True), or be given a timeout"
            ) from None
        if not self._told:
            self._told = True
            _raise_failure(self._exchange, self._raises)


def _raise_failure(exchange: MemoryExchange, raises: bool) -> None:
    """Raise the test's own fault, or the handler's exception. A time limit that is over is an answer."""
    if exchange.fault is not None:
        raise exchange.fault
    if raises and exchange.failure is not None and not isinstance(exchange.failure, HTTPException):
        raise exchange.failure


def check(exchange: MemoryExchange, name: str, received: int, raises: bool) -> None:
    """Raise what stands in the way of a whole answer: the test's own fault, the handler's exception, a
    broken connection."""
    _raise_failure(exchange, raises)
    if not exchange.complete:
        raise ConnectionError(f"the answer to {name} broke off after {received} bytes")
