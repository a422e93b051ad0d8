"""How content comes in: gathered, streamed or cut off, and what the client can make us keep."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import tempfile
import threading
from typing import Any

import pytest
from http1_wire import PARSERS, SECOND, Application, Wire, answer_ok, turns, until

from weebill.body import LARGE, Body
from weebill.errors import BodyTooLarge, ClientDisconnected, ProtocolError, ResponseError
from weebill.exchange import UNWANTED, Exchange, Intake
from weebill.server.http1 import HTTP1Connection

STREAM = Intake(stream=True)
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
GONE = Intake(cancel_on_disconnect=True)


def post(length: int, target: str = "/", more: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n".encode()


class Reader:
    """A program that streams: it reads when the test lets it, and remembers what it got."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.error: Exception | None = None
        self.may_read = asyncio.Semaphore(0)

    async def __call__(self, exchange: Exchange) -> None:
        try:
            while True:
                await self.may_read.acquire()
                piece = await exchange.read()
                self.pieces.append(piece)
                if not piece:
                    break
        except Exception as error:
            self.error = error
        await exchange.respond(200 if self.error is None else 400, [], b"")

    def let_read(self, count: int = 1) -> None:
        for _ in range(count):
            self.may_read.release()


# -- gathered


def test_long_content_is_spooled_to_a_file_and_read_back_whole() -> None:
    content = bytes(range(256)) * (3 << 12)  # 3 MiB

    async def main() -> None:
        for request in (post(len(content)), CHUNKED):
            wire = Wire()
            wire.send(request)
            most = 0
            for at in range(0, len(content), 65536):
                piece = content[at : at + 65536]
                await until(lambda wire=wire: wire.transport.reading)
                wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if request is CHUNKED else piece)
                if (exchange := wire.connection.exchange) is not None:
                    most = max(most, exchange.body._pending)
            if request is CHUNKED:
                wire.send(b"0\r\n\r\n")
            wire.send(SECOND)
            await until(lambda wire=wire: len(wire.app.seen) == 2)
            await turns()
            assert wire.app.seen[0].content == content
            assert [answer.status for answer in wire.answers()] == [200, 200]
            assert most <= (1 << 20) + 65536

    asyncio.run(main())


def test_content_that_finds_no_room_on_the_disk_is_507(monkeypatch: Any, caplog: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    async def main() -> None:
        wire = Wire(spool=10)
        wire.send(post(100))
        wire.send(b"x" * 50)
        await until(lambda: wire.transport.ended)
        (answer,) = wire.answers()
        assert answer.status == 507
        assert wire.app.seen == []

    asyncio.run(main())
    (record,) = caplog.records
    assert record.getMessage().startswith("content could not be written to a temporary file: ")


def test_many_tiny_chunks_take_time_in_proportion_to_their_number() -> None:
    import time

    async def taken(count: int) -> float:
        wire = Wire(max_body=1 << 22)
        wire.send(CHUNKED)
        data = b"1\r\nx\r\n" * count + b"0\r\n\r\n"
        started = time.process_time()
        wire.send(data)
        await until(lambda: wire.sent)
        spent = time.process_time() - started
        assert wire.answers()[0].status == 200
        assert wire.app.seen[0].content == b"x" * count
        return spent

    async def main() -> None:
        ratios = []
        for _ in range(5):
            small = await taken(20_000)
            assert small < 0.5
            ratios.append(await taken(40_000) / small)
        assert min(ratios) < 2.3

    asyncio.run(main())


@pytest.mark.parametrize("intake", [Intake(), Intake(stream=True)])
def test_others_have_their_turn_between_many_tiny_chunks(intake: Intake) -> None:
    async def read_all(exchange: Exchange) -> None:
        length = 0
        while piece := await exchange.read():
            length += len(piece)
        await exchange.respond(200, [], b"%d" % length)

    async def main() -> None:
        wire = Wire(Application(read_all, intake))
        other = Wire(state=wire.state)
        wire.send(CHUNKED + b"1\r\nx\r\n" * 20_000)
        assert not wire.transport.reading
        other.send(SECOND)
        await turns(5)
        assert other.answers()[0].status == 200
        await until(lambda: wire.transport.reading)
        wire.send(b"2\r\nxy\r\n" * 10_000 + b"0\r\n\r\n" + SECOND)
        await until(lambda: len(wire.answers()) == 2)
        first, second = wire.answers()
        assert (first.status, second.status) == (200, 200)
        assert first.content == b"40000"

    asyncio.run(main())


def test_content_of_line_ends_only_takes_no_longer_than_any_other() -> None:
    import time

    async def taken(content: bytes) -> float:
        wire = Wire()
        wire.send(CHUNKED)
        started = time.process_time()
        wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))
        spent = time.process_time() - started
        await turns()
        assert wire.app.seen[0].content == content
        return spent

    async def main() -> None:
        assert min([await taken(b"\r\n" * 250_000) for _ in range(3)]) < 0.05

    asyncio.run(main())


# -- streamed


@pytest.mark.parametrize("parser", PARSERS)
def test_a_handler_that_streams_begins_before_the_content_and_gets_it_as_it_comes(parser: str) -> None:
    async def main() -> None:
        for head, packets in (
            (post(6), [b"ab", b"c", b"def" + SECOND]),
            (CHUNKED, [b"2\r\nab\r\n", b"1\r\nc", b"\r\n3\r\ndef\r\n0\r\n\r\n" + SECOND]),
        ):
            reader = Reader()
            wire = Wire(Application(reader, STREAM), parser)
            reader.let_read(10)
            wire.send(head)
            await turns()
            assert len(wire.app.seen) == 1
            for packet in packets:
                wire.send(packet)
                await turns()
            assert reader.pieces[:4] == [b"ab", b"c", b"def", b""]
            assert [answer.status for answer in wire.answers()] == [200, 200]

    asyncio.run(main())


def test_a_handler_that_does_not_read_makes_its_client_wait() -> None:
    async def main() -> None:
        reader = Reader()
        wire = Wire(Application(reader, STREAM))
        wire.send(post(1 << 20))
        await turns()
        sent = 0
        while wire.transport.reading:
            wire.send(b"x" * 16384)
            sent += 16384
        assert sent <= 65536 + 16384
        await wire.pass_time(100)  # to be waited for is no fault of the client's
        reader.let_read()
        await turns()
        assert wire.transport.reading
        assert len(reader.pieces[0]) == sent
        while wire.transport.reading:
            wire.send(b"x" * 16384)
            sent += 16384
        await wire.pass_time(100)
        assert not wire.transport.ended
        reader.let_read(100)
        while sent < 1 << 20:
            await turns()
            assert wire.transport.reading
            wire.send(b"x" * 16384)
            sent += 16384
        await turns()
        assert sum(map(len, reader.pieces)) == 1 << 20
        assert wire.answers()[0].status == 200

    asyncio.run(main())


def test_a_handler_that_streams_asks_for_the_content_by_reading() -> None:
    async def main() -> None:
        reader = Reader()
        wire = Wire(Application(reader, STREAM))
        wire.send(post(2, more="Expect: 100-continue\r\n"))
        await wire.pass_time(20)  # it is the handler that is slow, and not the client
        assert wire.sent == b""
        reader.let_read(3)
        await turns()
        assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.pass_time(4)
        wire.send(b"ab")
        await turns()
        assert reader.pieces == [b"ab", b""]
        (answer,) = wire.answers()
        assert (answer.status, answer.interim) == (200, [100])
        assert not wire.transport.ended

    asyncio.run(main())


def test_a_handler_that_answers_without_reading_gets_no_content_and_its_client_no_100() -> None:
    async def main() -> None:
        async def refuse(exchange: Exchange) -> None:
            await exchange.start(401, [])
            reading = asyncio.ensure_future(exchange.read())
            await turns()
            assert not reading.done()
            await exchange.finish()
            reading.cancel()

        wire = Wire(Application(refuse, STREAM))
        wire.send(post(2, more="Expect: 100-continue\r\n"))
        await turns(40)
        (answer,) = wire.answers()
        assert (answer.status, answer.interim) == (401, [])
        assert answer.headers["connection"] == "close"
        assert wire.transport.shut

    asyncio.run(main())


def test_content_left_unread_is_nobody_elses() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            content = b"" if exchange.target == "/unread" else await exchange.read()
            await exchange.respond(200, [], content)

        wire = Wire(Application(program, STREAM))
        for size in (3, 3000):
            wire.send(post(size, "/unread") + b"x" * size)
            await turns()
            wire.send(SECOND)
            await turns()
            wire.send(post(2) + b"ok")
            await turns()
            wire.send(post(size, "/unread"))
            await turns()
            wire.send(b"x" * size + post(2) + b"ok")
            await turns()
        assert [a.content for a in wire.answers()] == [b"", b"", b"ok", b"", b"ok"] * 2

    asyncio.run(main())


def test_an_exchange_that_is_over_reads_nothing_more() -> None:
    async def main() -> None:
        kept: list[Exchange] = []

        async def program(exchange: Exchange) -> None:
            kept.append(exchange)
            await exchange.respond(200, [], b"")

        wire = Wire(Application(program, STREAM))
        wire.send(post(3) + b"abc")
        await turns()
        wire.send(post(6) + b"def")
        assert await kept[0].read() == b""

    asyncio.run(main())


def test_streamed_content_beyond_its_limit_raises_and_ends_the_connection() -> None:
    async def main() -> None:
        for head, packet, limit in (
            (CHUNKED, b"5\r\nabcde\r\n" * 3, None),
            (CHUNKED, b"f\r\nabcdefghijklmno\r\n0\r\n\r\n" + SECOND, None),
            (CHUNKED, b"5\r\nabcde\r\n" * 3, 10),
        ):
            reader = Reader()
            reader.let_read(10)
            wire = Wire(
                Application(reader, Intake(stream=True, max_body=limit)), max_body=20 if limit else 10
            )
            wire.send(head)
            await turns()
            wire.send(packet)
            await turns()
            assert isinstance(reader.error, BodyTooLarge)
            (answer,) = wire.answers()
            assert answer.headers["connection"] == "close"
            assert wire.transport.shut

    asyncio.run(main())


@pytest.mark.parametrize("parser", PARSERS)
def test_malformed_chunks_in_the_middle_reach_the_handler_as_an_error(parser: str) -> None:
    async def main() -> None:
        reader = Reader()
        wire = Wire(Application(reader, STREAM), parser)
        wire.send(CHUNKED + b"2\r\nab\r\n")
        await turns()
        wire.send(b"zz\r\n" + SECOND)
        reader.let_read(3)
        await turns()
        assert reader.pieces == [b"ab"]
        assert isinstance(reader.error, ProtocolError)
        assert reader.error.status_code == 400
        (answer,) = wire.answers()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert wire.transport.shut
        assert len(wire.app.seen) == 1

    asyncio.run(main())


def test_malformed_chunks_behind_an_answer_that_goes_on_end_the_connection_without_a_second_answer() -> None:
    """The answer promised to keep the connection before the fault was seen."""

    async def main() -> None:
        ended = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            await exchange.start(200, [])
            await ended.wait()
            await exchange.finish()

        for intake in (STREAM, UNWANTED):
            ended.clear()
            wire = Wire(Application(program, intake))
            wire.send(post(10))  # small: the connection is kept
            await turns()
            assert b"connection" not in wire.sent
            wire.send_eof()
            await turns()
            ended.set()
            await turns()
            (answer,) = wire.answers()
            assert answer.complete
            assert wire.transport.closing

    asyncio.run(main())


# -- half-closed clients


@pytest.mark.parametrize("parser", PARSERS)
def test_who_has_asked_and_shut_his_side_is_answered(parser: str) -> None:
    async def answer_later(exchange: Exchange) -> None:
        await asyncio.sleep(0)  # an answer that is quicker than the end cannot know of it
        await answer_ok(exchange)

    async def main() -> None:
        for requests, count in (
            (SECOND, 1),
            (SECOND + SECOND, 2),
            (post(3) + b"abc", 1),
            (SECOND + post(3) + b"abc" + SECOND, 3),
            (CHUNKED + b"1\r\nx\r\n0\r\n\r\n", 1),
        ):
            wire = Wire(Application(answer_later), parser)
            wire.send(requests)
            wire.send_eof()
            await turns(30)
            answers = wire.answers()
            assert [answer.status for answer in answers] == [200] * count
            assert [a.headers.get("connection") for a in answers] == [None] * (count - 1) + ["close"]
            assert wire.transport.closing
            assert not wire.transport.aborted

    asyncio.run(main())


@pytest.mark.parametrize("parser", PARSERS)
def test_a_request_that_ends_early_is_refused_and_never_handed_over(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        for begin in (
            *(b"G", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\nGET /"),
            *(post(3), post(3) + b"ab", CHUNKED, CHUNKED + b"3\r\nab", CHUNKED + b"3\r\nabc\r\n0\r\n"),
        ):
            for before in (b"", SECOND):
                caplog.clear()
                wire = Wire(parser=parser)
                wire.send(before + begin)
                wire.send_eof()
                await turns(30)
                answers = wire.answers()
                assert [answer.status for answer in answers] == ([200, 400] if before else [400]), begin
                assert b"ended early" in answers[-1].content
                assert answers[-1].headers["connection"] == "close"
                assert len(wire.app.seen) == len(answers) - 1
                assert wire.transport.closing
                assert len(caplog.records) == 1

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())


def test_who_asks_nothing_and_shuts_his_side_is_closed_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        for nothing in (b"", SECOND, SECOND + b"\r\n"):
            wire = Wire()
            wire.send(nothing)
            await turns()
            sent = wire.sent
            wire.send_eof()
            await turns()
            assert wire.transport.closing
            assert wire.sent == sent

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert caplog.records == []


def test_streamed_content_that_ends_early_reaches_the_handler_as_an_error() -> None:
    async def main() -> None:
        reader = Reader()
        wire = Wire(Application(reader, STREAM))
        wire.send(post(3) + b"ab")
        await turns()
        wire.send_eof()
        reader.let_read(3)
        await turns()
        assert reader.pieces == [b"ab"]
        assert isinstance(reader.error, ProtocolError)
        (answer,) = wire.answers()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert wire.transport.closing

    asyncio.run(main())


# -- clients that go away


def test_a_handler_whose_route_says_so_is_cancelled_when_its_client_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wait(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        for leave in (lambda wire: wire.transport.reset(), lambda wire: wire.send_eof()):
            wire = Wire(Application(wait, GONE))
            wire.send(SECOND)
            await turns()
            leave(wire)
            await turns()
            assert wire.app.cancelled == 1
            assert wire.sent == b""
            assert wire.state.connections == set()

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert caplog.records == []


def test_a_handler_that_is_cancelled_before_it_has_begun_leaves_no_file_behind() -> None:
    async def main() -> None:
        wire = Wire(Application(intake=GONE), spool=10)
        wire.send(post(100) + b"x" * 95)
        await until(lambda: wire.transport.reading)
        exchange = wire.connection.exchange
        wire.send(b"x" * 5)  # which makes its task
        wire.transport.reset()
        await turns()
        assert wire.app.seen == []
        assert exchange.body.on_disk
        with pytest.raises(ValueError, match="closed file"):
            exchange.body.read_all()

    asyncio.run(main())


def test_any_other_handler_goes_on_and_is_told_when_it_writes(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        gone = asyncio.Event()
        raised: list[str] = []

        async def program(exchange: Exchange) -> None:
            if exchange.target == "/started":
                await exchange.start(200, [])
            await gone.wait()
            for answer in (
                exchange.respond(200, [], b""),
                exchange.start(200, []),
                exchange.write(b"x"),
                exchange.finish(),
            ):
                try:
                    await answer
                except (ClientDisconnected, ResponseError) as error:
                    raised.append(type(error).__name__)
            raise ClientDisconnected

        for target in ("/started", "/"):
            gone.clear()
            wire = Wire(Application(program))
            wire.send(SECOND.replace(b"/second", target.encode()))
            await turns()
            wire.transport.reset()
            gone.set()
            await turns()
            assert wire.app.cancelled == 0
        assert raised == [
            *("ResponseError", "ResponseError", "ClientDisconnected", "ClientDisconnected"),
            *("ClientDisconnected", "ClientDisconnected", "ResponseError", "ResponseError"),
        ]

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert caplog.records == []


def test_reading_and_draining_end_when_the_client_goes() -> None:
    async def main() -> None:
        errors: list[Exception] = []

        async def read(exchange: Exchange) -> None:
            try:
                await exchange.read()
            except ClientDisconnected as error:
                errors.append(error)

        async def write(exchange: Exchange) -> None:
            await exchange.start(200, [])
            try:
                while True:
                    await exchange.write(b"x" * 1000)
            except ClientDisconnected as error:
                errors.append(error)

        for program in (read, write):
            wire = Wire(Application(program, STREAM))
            wire.transport.stalled = True
            wire.send(post(3))
            await turns()
            wire.transport.reset()
            await turns()
        assert len(errors) == 2

    asyncio.run(main())


def test_content_that_had_come_is_read_although_its_client_has_gone() -> None:
    async def main() -> None:
        reader = Reader()
        wire = Wire(Application(reader, STREAM))
        wire.send(post(3) + b"abc")
        await turns()
        wire.transport.reset()
        reader.let_read(2)
        await turns()
        assert reader.pieces == [b"abc", b""]

    asyncio.run(main())


def test_disconnected_returns_when_the_client_goes_and_when_the_answer_is_complete() -> None:
    async def main() -> None:
        told: list[str] = []

        async def program(exchange: Exchange) -> None:
            async def listen() -> None:
                await exchange.disconnected()
                told.append(exchange.target)

            listening = asyncio.create_task(listen())
            await turns(3)
            assert not listening.done()
            if exchange.target == "/respond":
                await exchange.respond(200, [], b"")
            elif exchange.target == "/stream":
                await exchange.start(200, [])
                await turns(3)
                assert not listening.done()
                await exchange.finish()
            await listening

        wire = Wire(Application(program))
        for target in (b"/respond", b"/stream", b"/wait"):
            wire.send(SECOND.replace(b"/second", target))
            await turns(20)
        assert told == ["/respond", "/stream"]
        wire.transport.reset()
        await turns()
        assert told == ["/respond", "/stream", "/wait"]

    asyncio.run(main())


# -- back-pressure


def test_an_answer_waits_for_a_client_that_does_not_read() -> None:
    async def main() -> None:
        written: list[int] = []

        async def program(exchange: Exchange) -> None:
            await exchange.start(200, [])
            for n in range(100):
                await exchange.write(b"x" * 10_000)
                written.append(n)
            await exchange.finish()

        wire = Wire(Application(program))
        wire.transport.stalled = True
        wire.send(SECOND)
        await turns(200)
        assert len(written) == 1
        assert wire.transport.unsent < 30_000
        wire.transport.take(1000)
        await turns()
        assert len(written) == 1
        while len(written) < 100:
            wire.transport.take()
            await turns(20)
        wire.transport.take()
        await turns(20)
        assert len(wire.answers()[0].content) == 1_000_000

    asyncio.run(main())


def test_the_next_request_waits_until_the_answer_before_it_was_taken() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            await exchange.respond(200, [], b"x" * 100_000)

        wire = Wire(Application(program))
        wire.transport.stalled = True
        wire.send(SECOND * 5)
        await turns(100)
        assert len(wire.app.seen) == 1
        wire.transport.take()
        await turns(100)
        assert len(wire.app.seen) == 2

    asyncio.run(main())


def test_pipelined_requests_wait_as_bytes_up_to_a_bound() -> None:
    async def main() -> None:
        go_on = asyncio.Semaphore(0)

        async def program(exchange: Exchange) -> None:
            await go_on.acquire()
            await exchange.respond(200, [], exchange.target.encode())

        wire = Wire(Application(program), max_pipelined=1000)
        sent = 0
        while wire.transport.reading:
            wire.send(b"GET /%03d HTTP/1.1\r\nHost: a\r\n\r\n" % sent)
            sent += 1
        assert 1000 < sent * len(SECOND) < 1400
        assert len(wire.connection._buffer) < 1100
        for n in range(sent):
            await turns()
            assert len(wire.app.seen) == n + 1
            go_on.release()
            await turns(20)
        assert [answer.content for answer in wire.answers()] == [b"/%03d" % n for n in range(sent)]
        assert wire.transport.reading

    asyncio.run(main())


@pytest.mark.parametrize("intake", [Intake(), STREAM, UNWANTED])
def test_content_behind_many_pipelined_requests_is_read_on(intake: Intake) -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            content = b""
            while piece := await exchange.read():
                content += piece
            await exchange.respond(200, [], b"%d" % len(content))

        wire = Wire(Application(program, intake), max_pipelined=1000)
        wire.send(SECOND + post(5000) + b"x" * 2000)
        assert not wire.transport.reading
        await turns(20)
        assert wire.transport.reading
        wire.send(b"x" * 3000 + SECOND)
        await turns(20)
        expected = [b"0", b"0" if intake is UNWANTED else b"5000", b"0"]
        assert [answer.content for answer in wire.answers()] == expected

    asyncio.run(main())


# -- nothing is left


def connections() -> set[HTTP1Connection]:
    """All that are alive."""
    return {o for o in gc.get_objects() if isinstance(o, HTTP1Connection)}


def test_a_connection_that_is_lost_leaves_nothing_behind() -> None:
    before = connections()

    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            if exchange.target == "/wait":
                await exchange.disconnected()
            elif exchange.target == "/read":
                await exchange.read()
            else:
                await exchange.respond(200, [], b"x" * 100_000)

        wire = Wire(Application(program, STREAM), spool=10)
        for intake in (STREAM, Intake(), GONE, UNWANTED):
            wire.app.intake = intake
            for data in (
                *(
                    b"",
                    b"GET /",
                    SECOND,
                    SECOND * 3,
                    b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND,
                    b"\0",
                ),
                *(
                    post(3),
                    post(3) + b"ab",
                    post(300, "/read") + b"x" * 50,
                    CHUNKED + b"3\r\nab",
                    post(1 << 40),
                ),
            ):
                for stalled in (False, True):
                    other = Wire(wire.app, state=wire.state)
                    other.transport.stalled = stalled
                    other.send(data)
                    await turns(5)
                    if other.transport.protocol is not None:
                        other.transport.reset()
                    await turns(5)
                    del other
        await until(lambda: len(asyncio.all_tasks()) == 1)
        wire.app.failures.clear()  # which hold their tracebacks
        gc.collect()
        assert connections() - before == {wire.connection}
        assert wire.state.connections == {wire.connection}

    asyncio.run(main())


def test_a_connection_in_its_usual_life_needs_no_garbage_collector() -> None:
    before = connections()

    async def main() -> None:
        wires = [Wire() for _ in range(3)]
        wires[1].send(SECOND)
        wires[2].send(post(3) + b"abc")
        await turns()
        gc.collect()
        gc.disable()
        try:
            for wire in wires:
                wire.transport.reset()
            await turns()
            wires.clear()
            del wire
            await turns()
            assert connections() - before == set()
        finally:
            gc.enable()

    asyncio.run(main())


def test_a_large_file_is_freed_in_a_thread() -> None:
    closed_by: list[str] = []

    class Noting(io.BytesIO):
        def close(self) -> None:
            closed_by.append(threading.current_thread().name)
            super().close()

    async def main() -> None:
        for size in (LARGE, LARGE + 1):
            body = Body()
            body._file, body.size = Noting(b"x"), size
            body.close()
            body.close()
            with pytest.raises(ValueError, match="closed file"):
                body.read_all()
        await until(lambda: len(closed_by) == 2)
        assert closed_by[0] == threading.current_thread().name
        assert closed_by[1].startswith("weebill-file-")

    asyncio.run(main())
