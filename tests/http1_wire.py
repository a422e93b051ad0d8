"""A connection without a socket: a transport in memory, a small application, and h11 as the judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import h11

from weebill.exchange import BUFFERED, Exchange, Intake
from weebill.server.http1 import HTTP1Connection
from weebill.server.state import State
from weebill.server.worker import parser_factory
from weebill.settings import Settings

PARSERS = ("httptools", "h11")
WAYS = ("whole", "byte by byte", "with another behind it")
SECOND = b"GET /second HTTP/1.1\r\nHost: b\r\n\r\n"

Program = Callable[[Exchange], Awaitable[None]]


class MemoryTransport(asyncio.Transport):
    """What a client sees of us. While `stalled` it takes nothing."""

    def __init__(self, stalled: bool = False) -> None:
        super().__init__({"peername": ("192.0.2.7", 40000), "sockname": ("192.0.2.1", 80)})
        self.sent = bytearray()  # all that was written
        self.unsent = 0  # bytes of it that the client has not taken
        self.stalled = stalled
        self.reading = True
        self.shut = False  # our side is
        self.closing = False
        self.aborted = False
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        assert not self.shut, "a write behind the end"
        if self.closing:
            return
        self.sent += data
        if self.stalled:
            was, self.unsent = self.unsent, self.unsent + len(data)
            if was <= self.high < self.unsent:
                self.protocol.pause_writing()

    def take(self, count: int | None = None) -> None:
        """The client reads `count` bytes of what waits for it, or all."""
        was = self.unsent
        self.unsent -= was if count is None else count
        if was > self.high >= self.unsent:
            self.protocol.resume_writing()
        if self.closing and not self.unsent:
            self._lose(None)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.shut = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                asyncio.get_running_loop().call_soon(self._lose, None)

    def abort(self) -> None:
        if not self.aborted:
            self.closing = self.aborted = True
            asyncio.get_running_loop().call_soon(self._lose, None)

    def reset(self) -> None:
        """The client resets the connection."""
        self.closing = True
        self._lose(ConnectionResetError())

    def _lose(self, error: Exception | None) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    @property
    def ended(self) -> bool:
        """Whether we will send nothing more."""
        return self.shut or self.closing


@dataclass
class Seen:
    """A request as the application saw it."""

    method: str
    target: str
    http_version: str
    fields: list[tuple[bytes, bytes]]
    content: bytes


async def answer_ok(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"content-type", b"text/plain")], exchange.target.encode())


class Application:
    """Reads each request, remembers it, and has `program` answer."""

    def __init__(self, program: Program = answer_ok, intake: Intake = BUFFERED) -> None:
        self.program = program
        self.intake = intake
        self.seen: list[Seen] = []
        self.failures: list[BaseException] = []
        self.cancelled = 0

    async def __startup__(self) -> None: ...

    async def __shutdown__(self) -> None: ...

    def __intake__(self, exchange: Exchange) -> Intake:
        return self.intake

    async def __exchange__(self, exchange: Exchange) -> None:
        if exchange.refusal is not None:
            await exchange.respond(exchange.refusal.status_code, [], exchange.refusal.detail.encode())
            return
        content = b"" if self.intake.stream else exchange.body.read_all()
        self.seen.append(
            Seen(exchange.method, exchange.target, exchange.http_version, list(exchange.fields), content)
        )
        try:
            await self.program(exchange)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        except Exception as error:
            self.failures.append(error)
            raise


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Wire:
    """One connection with its client's end in the test's hand. To be made on a running loop."""

    def __init__(
        self,
        application: Application | None = None,
        parser: str = "httptools",
        state: State | None = None,
        **settings: Any,
    ) -> None:
        self.app = application or Application()
        self.clock = Clock()
        self.state = state or State(
            self.app,
            Settings(**settings),
            asyncio.get_running_loop(),
            parser_factory(parser),
            self.clock,
        )
        self.transport = MemoryTransport()
        self.connection = HTTP1Connection(self.state)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        """The client sends, in one packet."""
        while data and isinstance(protocol := self.transport.protocol, asyncio.BufferedProtocol):
            place = protocol.get_buffer(-1)
            taken = min(len(place), len(data))
            place[:taken] = data[:taken]
            protocol.buffer_updated(taken)
            data = data[taken:]
        if data and self.transport.protocol is not None:
            self.transport.protocol.data_received(data)

    async def send_in_bytes(self, data: bytes) -> None:
        """The client sends byte by byte, and everybody has a turn in between."""
        for at in range(len(data)):
            self.send(data[at : at + 1])
            await asyncio.sleep(0)

    def send_eof(self) -> None:
        """The client shuts its side."""
        if self.transport.protocol is not None and not self.transport.protocol.eof_received():
            self.transport.close()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, with its sweeps."""
        for _ in range(round(seconds)):
            self.clock.time += 1
            self.state.tick()
            await turns(3)

    @property
    def sent(self) -> bytes:
        return bytes(self.transport.sent)

    def answers(self, *methods: str) -> list[Answer]:
        return judge(self.sent, methods, self.transport.ended)


async def turns(count: int = 10) -> None:
    """Let everything that is ready happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for what other threads do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.001)


@dataclass
class Answer:
    """An answer as h11 understands it."""

    status: int
    headers: dict[str, str]
    content: bytes
    complete: bool
    interim: list[int] = field(default_factory=list)


def judge(sent: bytes, methods: tuple[str, ...] = (), ended: bool = False) -> list[Answer]:
    """The answers in `sent`, to requests with these methods (GET beyond them); raises for what is no HTTP."""
    client = h11.Connection(h11.CLIENT)
    client.receive_data(sent)
    answers: list[Answer] = []
    while client.trailing_data[0]:
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        answer = Answer(0, {}, b"", False)
        while not answer.complete:
            try:
                event = client.next_event()
            except h11.RemoteProtocolError:
                if not ended:
                    raise
                break  # it was cut off
            if event is h11.NEED_DATA:
                if not ended:
                    break
                client.receive_data(b"")
            elif isinstance(event, h11.InformationalResponse):
                answer.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                names = [name for name, _ in event.headers]
                assert len(names) == len(set(names)), f"a field comes twice: {event.headers}"
                answer.status = event.status_code
                answer.headers = {n.decode(): v.decode() for n, v in event.headers}
            elif isinstance(event, h11.Data):
                answer.content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.complete = True
            else:
                break
        answers.append(answer)
        if not answer.complete or client.their_state is not h11.DONE:
            assert not client.trailing_data[0] or not answer.complete, "bytes behind the last answer"
            break
        client.start_next_cycle()
    return answers


async def talk(
    request: bytes, way: str, parser: str, app: Application | None = None, **settings: Any
) -> Wire:
    """Send `request` this way to a new connection, and let it be answered."""
    wire = Wire(app, parser, **settings)
    if way == "byte by byte":
        await wire.send_in_bytes(request)
    else:
        wire.send(request + SECOND if way == "with another behind it" else request)
    await turns()
    return wire
