"""Clients that go at the worst moment, sockets that answer nothing, clocks that jump, loops that stand still.

None of it leaves a task, a descriptor or a traceback, none of it makes anybody but the loop touch a socket
(CVE-2022-31015, CVE-2024-49768, CVE-2024-49769), and none of it ends a client that did nothing wrong.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from http1_wire import PARSERS, SECOND, Application, MemoryTransport, Wire, turns, until
from live_client import Client, Programs, Server, echo, hello

from weebill import App
from weebill.bridges import adapt
from weebill.errors import ClientDisconnected, ProtocolError
from weebill.exchange import Exchange, Intake
from weebill.server.http1 import HTTP1Connection

each_loop = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


async def upload(exchange: Exchange) -> None:
    size = 0
    try:
        while piece := await exchange.read():
            size += len(piece)
    except ProtocolError as error:  # it ended early
        await exchange.respond(error.status_code, [])
    else:
        await exchange.respond(200, [], b"%d" % size)


async def stream(exchange: Exchange) -> None:
    await exchange.start(200, [])
    while True:
        await exchange.write(b"x" * 4096)
        await asyncio.sleep(0)


async def wait(exchange: Exchange) -> None:
    await exchange.disconnected()
    raise ClientDisconnected


def programs() -> Programs:
    return Programs(
        hello=hello,
        echo=echo,
        upload=(upload, Intake(stream=True)),
        stream=stream,
        wait=wait,
        leave=(wait, Intake(cancel_on_disconnect=True)),
    )


HOST = b" HTTP/1.1\r\nHost: a\r\n"
MOMENTS = {
    "before a byte": b"",
    "in a head": b"GET /hello HTTP/1.1\r\nHos",
    "behind a head": b"GET /hello" + HOST + b"\r\n",
    "among pipelined requests": (b"GET /hello" + HOST + b"\r\n") * 20,
    "in content that is gathered": b"POST /echo" + HOST + b"Content-Length: 100\r\n\r\nabc",
    "in content that is on disk": b"POST /echo" + HOST + b"Content-Length: 9000\r\n\r\n" + b"x" * 5000,
    "in a chunk": b"POST /echo" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "in content that is streamed": b"POST /upload" + HOST + b"Content-Length: 100\r\n\r\nabc",
    "in an answer": b"GET /stream" + HOST + b"\r\n",
    "before an answer that is cancelled": b"GET /leave" + HOST + b"\r\n",
    "before an answer": b"GET /wait" + HOST + b"\r\n",
    "behind a bad request": b"\xff",
}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def entries(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has of errors, asyncio's own complaints among them."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR or r.exc_info]


@each_loop
def test_1000_clients_that_go_leave_no_task_no_descriptor_and_no_word(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    def come_and_go(server: Server, data: bytes, end: Callable[[Client], object]) -> None:
        client = server.client()
        client.send(data)
        end(client)
        if end is Client.shut:
            client.__exit__()

    def tasks() -> int:
        return int(server.on_loop(lambda: len(asyncio.all_tasks())))

    with caplog.at_level(logging.INFO), Server(programs(), loop=loop, spool=1000) as server:
        with server.client() as client:  # what is made once is there
            client.send(MOMENTS["in content that is on disk"] + b"x" * 4000)
            assert client.answer().status == 200
        server.until(lambda: not server.connections)
        before, tasks_before = descriptors(), tasks()
        for round_ in range(90):
            for moment, data in MOMENTS.items():
                resets = round_ % 3 or moment == "before an answer"
                come_and_go(server, data, Client.reset if resets else Client.shut)
        server.until(lambda: not server.connections)
        server.until(lambda: descriptors() <= before)
        assert tasks() <= tasks_before
        with server.client() as client:
            assert client.get().content == b"hello"
    assert entries(caplog) == []


@each_loop
@pytest.mark.parametrize("framing", [[], [(b"content-length", b"%d" % 10**9)]])
def test_a_stream_that_never_waits_ends_with_its_client(
    loop: str, framing: list[tuple[bytes, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """While its client is there it waits for room, but one that has gone takes everything at once."""
    begun, gone, over = threading.Event(), threading.Event(), threading.Event()
    written: list[int] = []

    async def go_on(exchange: Exchange) -> None:
        await exchange.start(200, framing)
        begun.set()
        gone.wait(10)  # the loop hears of nothing before the next write
        try:
            for count in range(100_000):  # as if for ever
                written[:] = [count]
                await exchange.write(b"x" * 4096)
        finally:
            over.set()

    with caplog.at_level(logging.INFO), Server(Programs(go_on=go_on), loop=loop) as server:
        client = server.client()
        client.ask("/go_on")
        assert begun.wait(10)
        client.reset()
        gone.set()
        assert over.wait(30)
        server.until(lambda: not server.connections)
    assert written[0] < 100
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


class DeafTransport(MemoryTransport):
    """A socket that was reset before anybody asked for its addresses (CVE-2024-49769)."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        raise OSError(107, "Transport endpoint is not connected")


@pytest.mark.parametrize("settings", [{}, {"access_log": True}, {"max_connections_per_client": 1}])
def test_a_connection_without_addresses_is_served_and_forgotten(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        wire = Wire(**settings)
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\xff", b""):
            connection, transport = HTTP1Connection(wire.state), DeafTransport()
            transport.protocol = connection
            connection.connection_made(transport)
            connection.data_received(data)
            await turns()
            assert transport.sent[9:12] in (b"200", b"400", b"")
            transport.reset()
            assert connection not in wire.state.connections

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert entries(caplog) == []


# -- who touches a socket


class WatchedTransport(MemoryTransport):
    """It knows in which threads it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in (
            "write",
            "write_eof",
            "close",
            "abort",
            "pause_reading",
            "resume_reading",
            "get_extra_info",
        ):
            object.__getattribute__(self, "threads").add(threading.get_ident())
        return super().__getattribute__(name)


def app_in_threads() -> Any:
    app = App(__name__)

    @app.get("/")
    def pieces() -> Iterable[str]:
        for _ in range(20):
            yield "x" * 10_000

    return app


def wsgi_that_writes() -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        for _ in range(10):
            write(b"x" * 10_000)
        return [b"x" * 10_000] * 10

    return adapt(app, "wsgi")


def wsgi_that_breaks() -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "9")])(b"x")
        raise SystemExit

    return adapt(app, "wsgi")


def handler_class() -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b"x" * 10_000)
            self.connection.sendall(b"x" * 100_000)

        def log_message(self, *args: object) -> None: ...

    return adapt(Handler, "http.server")


@pytest.mark.parametrize("goes", [False, True])
@pytest.mark.parametrize("make", [app_in_threads, wsgi_that_writes, wsgi_that_breaks, handler_class])
def test_only_the_thread_of_the_loop_touches_a_socket(make: Callable[[], Any], goes: bool) -> None:
    async def main() -> None:
        app = make()
        await app.__startup__()
        wire = Wire(app)
        connection, transport = HTTP1Connection(wire.state), WatchedTransport()
        transport.protocol = connection
        connection.connection_made(transport)
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: transport.sent)
        if goes:
            transport.reset()
        await until(lambda: connection.exchange is None)
        assert transport.threads == {threading.get_ident()}
        await app.__shutdown__()

    asyncio.run(main())


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("way", ["abort", "close", "cut", "refuse", "reset"])
def test_nothing_is_parsed_once_a_connection_has_ended(way: str, parser: str) -> None:
    async def main() -> None:
        wire = Wire(parser=parser)
        if way == "refuse":
            wire.send(b"\xff")
        elif way == "reset":
            wire.transport.reset()
        elif way == "abort":
            wire.connection.output.reset()
            await turns()
        else:
            getattr(wire.connection, way)()
        sent = wire.sent
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\xff", b"GET /", b"\r\n"):
            wire.connection.data_received(data)  # what the loop had read already
            await turns()
        assert wire.app.seen == []
        assert wire.sent == sent

    asyncio.run(main())


# -- time


@pytest.mark.parametrize("jump", [-10 * 365 * 86400.0, -86400.0, 86400.0, 10 * 365 * 86400.0])
def test_a_jump_of_the_clock_on_the_wall_fires_no_deadline(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        if exchange.target == "/hold":
            await held.wait()
        await exchange.respond(200, [])

    async def main() -> None:
        idle = Wire(Application(hold), handler_timeout=30.0)
        in_head, in_content, waiting, unread = (Wire(idle.app, state=idle.state) for _ in range(4))
        unread.transport.stalled = True
        idle.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        in_head.send(b"GET / HTTP/1.1\r\nHost:")
        in_content.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        waiting.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        unread.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await turns()
        now = time.time()
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: now + jump)
            await idle.pass_time(3)
            assert f"{time.gmtime(now + jump).tm_year}".encode() in idle.state.date
        assert not any(w.transport.ended for w in (idle, in_head, in_content, waiting, unread))
        in_head.send(b" a\r\n\r\n")
        in_content.send(b"cd")
        idle.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        held.set()
        await turns(20)
        assert [len(w.answers()) for w in (idle, in_head, in_content, waiting)] == [2, 1, 1, 1]

    asyncio.run(main())


@each_loop
def test_a_loop_that_stands_still_for_two_seconds_drops_nobody(loop: str) -> None:
    """The clients had 2 s for each step; what they sent in time lay in the kernel all the while."""
    limits = {"header_timeout": 2.0, "idle_timeout": 2.0, "write_timeout": 2.0, "body_grace": 2.0}
    entered = threading.Event()

    def stand_still() -> None:
        entered.set()
        until_ = time.monotonic() + 2
        while time.monotonic() < until_:
            pass

    with (
        Server(programs(), loop=loop, **limits) as server,
        server.client() as idle,
        server.client() as in_head,
        server.client() as in_content,
    ):
        assert idle.get().status == 200
        in_head.send(b"GET /hello HTTP/1.1\r\nHo")
        in_content.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nab")
        server.until(lambda: len(server.connections) == 3)
        server.worker.state.loop.call_soon_threadsafe(stand_still)
        assert entered.wait(5)
        idle.ask()
        in_head.send(b"st: a\r\n\r\n")
        in_content.send(b"x" * 998)
        assert [client.answer().status for client in (idle, in_head, in_content)] == [200] * 3


# -- handlers that end well


@each_loop
@pytest.mark.parametrize("is_waiting", [False, True])
def test_what_a_stream_does_to_end_well_is_not_broken_off(loop: str, is_waiting: bool) -> None:
    app, ended = App(__name__), threading.Event()

    @app.get("/")
    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                if is_waiting:
                    await asyncio.Event().wait()
        finally:
            for _ in range(50):
                await asyncio.sleep(0)
            ended.set()

    with Server(app, loop=loop) as server:
        client = server.client()
        client.ask("/")
        assert b"200 OK" in client.file.readline()
        client.reset()
        assert ended.wait(10)


@each_loop
def test_a_handler_whose_client_has_gone_is_finished_before_the_server_stops(loop: str) -> None:
    app, told = App(__name__), []
    begun, go_on = threading.Event(), asyncio.Event()

    @app.get("/")
    async def work() -> str:
        begun.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise
        told.append("done")
        return ""

    with Server(app, loop=loop) as server:
        client = server.client()
        client.ask("/")
        assert begun.wait(10)
        client.reset()
        server.until(lambda: not server.connections)
        gc.collect()  # somebody holds it
        server.begin_stop()
        server.until(lambda: server.worker.state.is_stopping)
        server.on_loop(go_on.set)
    assert told == ["done"]


def test_a_cancelled_handler_is_cancelled_once() -> None:
    ended: list[str] = []

    async def program(exchange: Exchange) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns(5)
            ended.append("well")

    async def main() -> None:
        wire = Wire(Application(program, Intake(cancel_on_disconnect=True)))
        wire.send(SECOND)
        await turns()
        wire.connection.cut()
        await turns(20)
        wire = Wire(Application(program, Intake(cancel_on_disconnect=True)), handler_timeout=1)
        wire.send(SECOND)
        await turns()
        wire.clock.time += 1
        wire.state.tick()
        wire.clock.time += 1
        wire.state.tick()
        wire.transport.reset()
        await turns(20)

    asyncio.run(main())
    assert ended == ["well", "well"]


def test_who_works_on_behind_an_answer_delays_nobody_and_is_not_cut_off() -> None:
    async def program(exchange: Exchange) -> None:
        await exchange.respond(200, [], exchange.target.encode())
        await go_on.wait()
        done.append(exchange.target)

    async def main() -> None:
        nonlocal go_on
        go_on = asyncio.Event()
        wire = Wire(Application(program), write_timeout=1)
        for target in (b"/first", b"/second"):
            wire.send(SECOND.replace(b"/second", target))
            await turns()
        assert [answer.content for answer in wire.answers()] == [b"/first", b"/second"]
        wire.send_eof()
        await wire.pass_time(100)
        assert wire.transport.closing
        assert done == []
        assert len(wire.state.left_behind) == 2
        go_on.set()
        await turns()
        assert done == ["/first", "/second"]
        assert wire.state.left_behind == set()
        assert wire.state.drained.is_set()
        assert wire.app.cancelled == 0

    go_on: asyncio.Event
    done: list[str] = []
    asyncio.run(main())


def test_a_silent_stream_whose_client_is_not_read_from_has_an_end() -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"begun")
        await asyncio.Event().wait()

    async def main() -> None:
        wire = Wire(Application(silent), write_timeout=5)
        wire.send(SECOND + SECOND * 3000)
        await turns()
        assert not wire.transport.reading
        await wire.pass_time(8)
        assert wire.transport.aborted

    asyncio.run(main())
