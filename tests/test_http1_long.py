"""Long content, which is read straight to where it stays."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import threading
import weakref
from io import BytesIO
from typing import Any, cast

import pytest
from http1_wire import PARSERS, SECOND, Application, Wire, turns, until

from weebill.body import AHEAD, NO_BODY
from weebill.exchange import Exchange, Intake
from weebill.server.straight import OTHER, Straight
from weebill.server.worker import Worker, loop_factory
from weebill.settings import Settings

CONTENT = bytes(range(256)) * 4096  # 1 MiB, all that stays in memory


def post(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()


def get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path


def is_straight(wire: Wire) -> bool:
    return isinstance(wire.transport.protocol, Straight)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("step", [4096, 70_001, 1 << 18, 1 << 20])
def test_long_content_comes_whole_and_the_next_request_behind_it(parser: str, step: int) -> None:
    async def main() -> None:
        wire = Wire(parser=parser)
        for _ in range(3):
            data = CONTENT + SECOND
            wire.send(post(len(CONTENT)))
            for at in range(0, len(data), step):
                wire.send(data[at : at + step])
            await turns()
        assert [seen.content for seen in wire.app.seen] == [CONTENT, b""] * 3
        assert [answer.status for answer in wire.answers()] == [200] * 6
        assert is_straight(wire) is (step < len(CONTENT))

    asyncio.run(main())


def test_room_is_made_in_proportion_to_what_has_come() -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(post(len(CONTENT)))
        wire.send(CONTENT[:70_000])
        assert is_straight(wire)
        enough = len(CONTENT) // AHEAD
        assert len(wire.transport.protocol.get_buffer(-1)) > enough  # the scratch
        assert wire.connection.exchange is not None
        assert wire.connection.exchange.body._space is None
        wire.send(CONTENT[70_000:enough])
        assert wire.connection.exchange.body._space is not None
        assert len(wire.transport.protocol.get_buffer(-1)) == len(CONTENT) - enough

    asyncio.run(main())


def test_what_is_too_long_for_memory_is_spooled() -> None:
    content = CONTENT * 3

    async def main() -> None:
        wire = Wire()
        wire.send(post(len(content)))
        for at in range(0, len(content), 1 << 17):
            await until(lambda: wire.transport.reading)
            wire.send(content[at : at + (1 << 17)])
            if wire.connection.exchange is not None:
                assert wire.connection.exchange.body._pending <= (1 << 20) + (1 << 17)
        await until(lambda: wire.app.seen)
        assert wire.app.seen[0].content == content

    asyncio.run(main())


def test_content_that_comes_too_slowly_is_given_up_on_its_way() -> None:
    async def main() -> None:
        wire = Wire(body_grace=1, body_rate=100_000)
        wire.send(post(len(CONTENT)))
        wire.send(CONTENT[: 1 << 18])
        await wire.pass_time(10)
        wire.send(CONTENT)  # nobody wants it any more
        await turns()
        assert [answer.status for answer in wire.answers()] == [408]
        assert wire.app.seen == []

    asyncio.run(main())


def test_content_that_ends_early_is_refused() -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(post(len(CONTENT)))
        wire.send(CONTENT[: 1 << 18])
        wire.send_eof()
        await turns()
        assert [answer.status for answer in wire.answers()] == [400]

    asyncio.run(main())


def test_a_client_that_goes_on_its_way_leaves_nothing() -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(post(len(CONTENT)))
        wire.send(CONTENT[: 1 << 18])
        assert wire.connection.exchange is not None
        gone = weakref.ref(cast(Any, wire.connection.exchange.body._space))
        gc.disable()
        try:
            wire.transport.reset()
            await turns()
            assert gone() is None  # at once, and not when garbage is collected
        finally:
            gc.enable()
        assert wire.app.seen == []
        assert not wire.state.connections

    asyncio.run(main())


def test_an_idle_connection_keeps_no_content() -> None:
    async def take(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"%d" % len(exchange.body.read_all()))

    async def main() -> None:
        wire = Wire(Application(take))
        wire.send(post(len(CONTENT)))
        wire.send(CONTENT[: 1 << 19])
        assert wire.connection.exchange is not None
        assert isinstance(wire.connection.exchange.body._space, BytesIO)
        wire.send(CONTENT[1 << 19 :])
        await turns()
        assert wire.answers()[0].content == b"%d" % len(CONTENT)
        assert wire.transport.protocol._body is NO_BODY

    asyncio.run(main())


def test_content_is_whole_if_the_limit_of_memory_is_raised_under_it() -> None:
    async def main() -> None:
        wire = Wire(spool=1 << 16)
        wire.send(post(len(CONTENT)))
        wire.state.change(spool=1 << 20)
        for at in range(0, len(CONTENT), 70_000):
            await until(lambda: wire.transport.reading)
            wire.send(CONTENT[at : at + 70_000])
        await until(lambda: wire.app.seen)
        assert wire.app.seen[0].content == CONTENT

    asyncio.run(main())


def test_what_is_pipelined_behind_long_content_is_not_read_with_it() -> None:
    async def main() -> None:
        wire = Wire(Application(intake=Intake(stream=True)))
        wire.send(post(len(CONTENT)))
        wire.send(CONTENT[:70_000])
        assert len(wire.transport.protocol.get_buffer(-1)) <= len(CONTENT) - 70_000

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_reset_before_a_long_answer_harms_nobody_else(loop: str) -> None:
    """asyncio's writelines() on a transport that a write has just ended waits for its descriptor, which by
    then is another client's."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")

    async def answer(exchange: Exchange) -> None:
        if exchange.target == "/long":
            gone.wait(10)  # the loop learns nothing
        await exchange.respond(200, [], b"x" if exchange.target == "/short" else CONTENT)

    gone = threading.Event()

    def go() -> None:
        client = socket.create_connection(address)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(get(b"/short") + get(b"/long"))
        client.close()
        gone.set()

    async def main() -> None:
        nonlocal address
        worker = Worker(Application(answer), Settings(port=0))
        await worker.start()
        address = worker.addresses[0]
        try:
            for _ in range(5):
                gone.clear()
                await asyncio.to_thread(go)
                assert await asyncio.to_thread(_ask, address, 1) == [CONTENT, CONTENT]
        finally:
            worker.stop()
            await worker.wait_stopped()

    address = ("", 0)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())


def test_a_handler_that_streams_gets_long_pieces_and_no_more_than_one_ahead() -> None:
    pieces: list[bytes] = []

    async def read_all(exchange: Exchange) -> None:
        while piece := await exchange.read():
            pieces.append(piece)
        await exchange.respond(200, [], b"")

    async def main() -> None:
        wire = Wire(Application(read_all, Intake(stream=True)))
        wire.send(post(len(CONTENT)))
        for at in range(0, len(CONTENT), 1 << 17):
            wire.send(CONTENT[at : at + (1 << 17)])
            assert not wire.transport.reading
            await turns()
        assert b"".join(pieces) == CONTENT
        wire.send(SECOND)
        assert len(wire.transport.protocol.get_buffer(-1)) == OTHER

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_of_long_content_over_a_socket(loop: str, stream: bool) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")

    async def echo(exchange: Exchange) -> None:
        pieces = []
        while piece := await exchange.read():
            pieces.append(piece)
        await exchange.respond(200, [], b"".join(pieces))

    async def main() -> None:
        worker = Worker(Application(echo, Intake(stream=stream)), Settings(port=0))
        await worker.start()
        asked = asyncio.to_thread(_ask, worker.addresses[0], 4)
        try:
            assert await asked == [CONTENT, b""] * 4
        finally:
            worker.stop()
            await worker.wait_stopped()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_sends_a_long_answer_waits_for_a_client_that_does_not_read(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    sent: list[bool] = []

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, [], CONTENT * 32)
        sent.append(True)

    async def main() -> None:
        worker = Worker(Application(answer), Settings(port=0, graceful_timeout=0))
        await worker.start()
        with socket.create_connection(worker.addresses[0]) as client:
            client.sendall(SECOND)
            await until(lambda: any(one.output.paused for one in worker.state.connections))  # type: ignore[attr-defined]
            assert not sent
        worker.stop()
        await worker.wait_stopped()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())


def _ask(address: tuple[str, int], times: int) -> list[bytes]:
    found = []
    with socket.create_connection(address, timeout=20) as client, client.makefile("rb") as answers:
        for _ in range(times):
            for request, content in ((post(len(CONTENT)), CONTENT), (SECOND, b"")):
                client.sendall(request + content)
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.startswith(b"content-length:"):
                        length = int(line[15:])
                found.append(answers.read(length))
    return found
