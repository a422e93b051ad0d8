"""Requests that come at once: their answers go out together, and nothing else of one reaches the next."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest
from http1_wire import PARSERS, SECOND, Application, MemoryTransport, Wire, turns

from weebill.exchange import Exchange, Intake
from weebill.server.http1 import HTTP1Connection


class CountingTransport(MemoryTransport):
    """Keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))
        super().write(data)


class CountingWire(Wire):
    """A client whose writes are counted."""

    def __init__(self, application: Application, parser: str = "httptools") -> None:
        super().__init__(application, parser)
        self.counted = self.transport = CountingTransport()
        self.connection = HTTP1Connection(self.state)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)


def gets(count: int) -> bytes:
    return b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(count))


@pytest.mark.parametrize("parser", PARSERS)
def test_the_answers_to_requests_that_came_at_once_go_out_at_once(parser: str) -> None:
    async def main() -> None:
        wire = CountingWire(Application(), parser)
        wire.send(gets(16))
        await turns(40)
        assert [answer.content for answer in wire.answers()] == [b"/%d" % n for n in range(16)]
        assert len(wire.counted.writes) == 1

    asyncio.run(main())


def test_long_answers_do_not_collect() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            await exchange.respond(200, [], b"x" * 3000)

        wire = CountingWire(Application(program))
        wire.send(gets(16))
        await turns(40)
        assert len(wire.answers()) == 16
        assert max(map(len, wire.counted.writes)) < 20_000

    asyncio.run(main())


@pytest.mark.parametrize(
    "behind", [gets(1), b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx"]
)
def test_an_answer_does_not_wait_for_one_that_takes_time(behind: bytes) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            if exchange.target != "/second":
                await go_on.wait()
            await exchange.respond(200, [], exchange.target.encode())

        wire = CountingWire(Application(program))
        wire.send(SECOND * 2 + behind)
        await turns(8)
        assert [answer.content for answer in wire.answers()] == [b"/second"] * 2
        assert len(wire.counted.writes) == 1

    asyncio.run(main())


def test_an_answer_behind_which_the_program_works_on_does_not_wait_for_the_next() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            if exchange.target == "/second":
                await exchange.respond(200, [], exchange.target.encode())
            await go_on.wait()
            if exchange.target != "/second":
                await exchange.respond(200, [], exchange.target.encode())

        wire = CountingWire(Application(program))
        wire.send(SECOND + gets(2))
        await turns(12)
        assert [answer.content for answer in wire.answers()] == [b"/second"]
        go_on.set()
        await turns(12)
        assert [answer.content for answer in wire.answers()] == [b"/second", b"/0", b"/1"]

    asyncio.run(main())


def test_programs_that_work_on_behind_their_answers_hold_up_nobody() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            await exchange.respond(200, [], exchange.target.encode())
            if exchange.target == "/second":
                await go_on.wait()

        wire = CountingWire(Application(program))
        wire.send(SECOND * 3 + gets(2))
        await turns(5)
        assert [answer.content for answer in wire.answers()] == [b"/second"] * 3 + [b"/0", b"/1"]
        go_on.set()
        await turns(2)

    asyncio.run(main())


@pytest.mark.parametrize("is_second_slow", [False, True])
def test_what_takes_some_turns_is_gone_on_from_when_it_is_answered(is_second_slow: bool) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            await turns(8)
            if is_second_slow and exchange.target == "/0":
                await go_on.wait()
            await exchange.respond(200, [], exchange.target.encode())
            await go_on.wait()

        wire = CountingWire(Application(program))
        wire.send(SECOND + gets(1))
        await turns(30)
        assert [answer.content for answer in wire.answers()] == [b"/second", b"/0"][: 2 - is_second_slow]
        go_on.set()
        await turns(4)
        assert [answer.content for answer in wire.answers()] == [b"/second", b"/0"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError, SystemExit])
def test_an_application_that_fails_before_its_task_is_answered_for_and_holds_up_nobody_else(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Application):
        def __intake__(self, exchange: Exchange) -> Intake:
            if exchange.target == "/bad":
                raise kind("a bug")
            return super().__intake__(exchange)

    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            await exchange.respond(200, [], exchange.target.encode())
            await go_on.wait()

        one = Wire(Failing(program))
        two = Wire(one.app, state=one.state)
        one.send(SECOND + b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND)
        two.send(gets(3))
        await turns(30)
        assert [answer.status for answer in one.answers()] == [200, 500]
        assert one.transport.ended
        assert [answer.content for answer in two.answers()] == [b"/0", b"/1", b"/2"]
        go_on.set()
        await turns(2)

    asyncio.run(main())
    assert "failed to look at GET '/bad'" in caplog.text
    assert "a bug" in caplog.text


def test_what_is_wrong_with_the_third_is_said_behind_the_answers_to_the_others() -> None:
    async def main() -> None:
        wire = CountingWire(Application())
        wire.send(SECOND * 2 + b"GET / HTTP/1.1\r\n\r\n")
        await turns(20)
        assert [answer.status for answer in wire.answers()] == [200, 200, 400]
        assert wire.transport.ended

    asyncio.run(main())


def test_a_stream_comes_behind_the_answers_before_it() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            if exchange.target == "/second":
                await exchange.respond(200, [], b"whole")
                return
            await exchange.start(200, [])
            await exchange.write(b"in ")
            await exchange.write(b"pieces")
            await exchange.finish()

        wire = CountingWire(Application(program))
        wire.send(SECOND + gets(1) + SECOND)
        await turns(20)
        assert [answer.content for answer in wire.answers()] == [b"whole", b"in pieces", b"whole"]

    asyncio.run(main())


def test_the_last_request_before_the_client_shuts_its_side_is_the_last_answer() -> None:
    async def main() -> None:
        wire = CountingWire(Application())
        wire.send(gets(3))
        wire.send_eof()
        await turns(20)
        assert [answer.content for answer in wire.answers()] == [b"/0", b"/1", b"/2"]
        assert [answer.headers.get("connection") for answer in wire.answers()] == [None, None, "close"]

    asyncio.run(main())


def test_a_request_sees_no_variable_of_the_one_before_it() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            found = user.get()
            user.set(exchange.target)
            await asyncio.sleep(0)
            await exchange.respond(200, [], found.encode())

        wire = CountingWire(Application(program))
        wire.send(gets(3))
        await turns(40)
        wire.send(gets(2))
        await turns(40)
        assert [answer.content for answer in wire.answers()] == [b"nobody"] * 5

    asyncio.run(main())


def test_nor_of_one_that_has_let_the_client_go_on_sending() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    async def program(exchange: Exchange) -> None:
        found = user.get()
        user.set(exchange.target)
        await asyncio.sleep(0.01)  # meanwhile so much comes that reading pauses
        while await exchange.read():
            pass
        await exchange.respond(200, [], found.encode())

    async def main() -> None:
        # On asyncio's own loop: there, what comes is handed on in the context of who has resumed reading.
        wire = Wire(Application(program, Intake(stream=True)))
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: HTTP1Connection(wire.state), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for size in (3_000_000, 0):
            head = b"POST /me HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            writer.write(head + bytes(size))
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.read(100) == b"nobody"
        writer.close()
        server.close()

    asyncio.run(main())


def test_an_answer_that_waits_for_others_does_not_wait_for_the_client() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            await exchange.respond(200, [], b"")
            if exchange.target == "/0":
                wire.connection.pause_writing()
            await go_on.wait()

        wire = CountingWire(Application(program))
        wire.send(gets(2))
        await turns()
        assert len(wire.answers()) == 1
        wire.connection.resume_writing()
        await wire.pass_time(1)
        assert len(wire.answers()) == 2
        go_on.set()
        await turns()

    asyncio.run(main())


def test_a_task_of_its_own_is_what_a_handler_runs_in() -> None:
    async def main() -> None:
        tasks: list[asyncio.Task[None] | None] = []

        async def program(exchange: Exchange) -> None:
            tasks.append(asyncio.current_task())
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            await exchange.respond(200, [], b"")

        wire = CountingWire(Application(program))
        for _ in range(2):
            wire.send(gets(2))
            await turns(20)
        assert len(set(tasks)) == 4
        assert None not in tasks

    asyncio.run(main())


def test_a_request_behind_a_handler_that_works_on_waits_for_the_client_and_no_longer() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            if exchange.target == "/second":
                await exchange.respond(200, [], b"second")
                return
            answer = asyncio.ensure_future(exchange.respond(200, [], b"x" * 100_000))
            await asyncio.Event().wait()
            await answer

        wire = CountingWire(Application(program))
        wire.transport.stalled = True
        wire.send(gets(1) + SECOND)
        await turns(20)
        assert len(wire.app.seen) == 1
        wire.transport.take()
        await turns(20)
        assert [len(answer.content) for answer in wire.answers()] == [100_000, 6]
        wire.connection.cut()
        await turns(5)

    asyncio.run(main())
