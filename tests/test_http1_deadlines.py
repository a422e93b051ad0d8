"""Deadlines, by a clock that the test moves: each is kept, none falls early, and no time of ours counts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from http1_wire import SECOND, Application, Wire, turns

from weebill.errors import ClientDisconnected
from weebill.exchange import UNWANTED, Exchange, Intake

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length


async def never(exchange: Exchange) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("begin", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n", b"\r\nGET"])
def test_a_head_has_ten_seconds_in_all_however_it_drips(
    begin: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(begin)
        for _ in range(10):
            await wire.pass_time(1)
            assert not wire.transport.ended
            if begin.strip():
                wire.send(b"x")
        await wire.pass_time(1)
        assert wire.transport.ended
        if begin.strip():
            (answer,) = wire.answers()
            assert (answer.status, answer.headers["connection"]) == (408, "close")
        else:
            assert wire.sent == b""

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(begin.strip())
    assert all(line.startswith("refused 192.0.2.7: 408 No complete head in 10 seconds.") for line in lines)


def test_the_time_of_a_head_counts_from_its_first_byte() -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(SECOND)
        await wire.pass_time(60)
        wire.send(b"GET /")
        await wire.pass_time(10)
        assert not wire.transport.ended
        wire.send(b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await turns()
        assert [answer.status for answer in wire.answers()] == [200, 200]
        wire.send(b"GET /")
        await wire.pass_time(11)
        assert wire.answers()[2].status == 408

    asyncio.run(main())


def test_the_time_of_a_pipelined_head_counts_from_the_answer_before_it() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def slow(exchange: Exchange) -> None:
            await go_on.wait()
            await exchange.respond(200, [], b"")

        wire = Wire(Application(slow))
        wire.send(SECOND + b"GET /")
        await wire.pass_time(100)
        go_on.set()
        await turns()
        await wire.pass_time(10)
        assert not wire.transport.ended
        await wire.pass_time(1)
        assert [answer.status for answer in wire.answers()] == [200, 408]

    asyncio.run(main())


@pytest.mark.parametrize("behind", [b"", b"\r\n"])
def test_an_idle_connection_is_closed_in_silence_after_75_seconds(
    behind: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        wire = Wire()
        for _ in range(3):
            wire.send(SECOND + behind)
            await turns()
            await wire.pass_time(75)
            assert not wire.transport.ended
        sent = wire.sent
        await wire.pass_time(1)
        assert wire.transport.shut
        assert wire.sent == sent

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert caplog.records == []


@pytest.mark.parametrize("head", [post(1 << 20), CHUNKED])
def test_content_that_stops_is_refused_after_its_grace(head: bytes) -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(head)
        await wire.pass_time(6)
        assert not wire.transport.ended
        await wire.pass_time(1)
        (answer,) = wire.answers()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b"240 bytes a second" in answer.content
        assert wire.transport.shut
        assert wire.app.seen == []

    asyncio.run(main())


def test_content_may_come_slowly_but_not_more_slowly_than_its_rate() -> None:
    async def main() -> None:
        for rate, stays in ((240, True), (300, True), (200, False), (1, False)):
            wire = Wire()
            wire.send(post(1 << 20))
            for _ in range(200):
                wire.send(b"x" * rate)
                await wire.pass_time(1)
            assert wire.transport.ended != stays, rate

    asyncio.run(main())


@pytest.mark.parametrize("at_once", [2000, 10_000, 1_000_000])
def test_a_fast_beginning_is_no_credit_for_a_stall(at_once: int) -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(post(1 << 23))
        wire.send(b"x" * at_once)
        await wire.pass_time(16)
        assert wire.answers()[0].status == 408

    asyncio.run(main())


def test_chunk_framing_is_no_content() -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(CHUNKED)
        for _ in range(7):
            wire.send(b"1;" + b"a" * 250 + b"\r\nx\r\n")
            await wire.pass_time(1)
        assert wire.answers()[0].status == 408

    asyncio.run(main())


def test_a_handler_that_streams_is_told_that_its_client_is_too_slow() -> None:
    async def main() -> None:
        raised: list[Any] = []

        async def program(exchange: Exchange) -> None:
            try:
                while await exchange.read():
                    pass
            except Exception as error:
                raised.append(error)
                raise

        wire = Wire(Application(program, Intake(stream=True)))
        wire.send(post(1000) + b"x" * 10)
        await wire.pass_time(7)
        assert raised[0].status_code == 408
        assert wire.transport.shut

    asyncio.run(main())


@pytest.mark.parametrize("answered", [False, True])
def test_content_that_nobody_wants_may_not_drip_either(answered: bool) -> None:
    async def main() -> None:
        wire = Wire(Application(intake=UNWANTED) if answered else Application(never, UNWANTED))
        wire.send(post(1000))
        await turns()
        assert (b"200 OK" in wire.sent) == answered
        await wire.pass_time(7)
        if answered:
            assert wire.transport.shut
            assert len(wire.answers()) == 1
        else:  # the answer that is to come will be the last
            assert not wire.connection.exchange.keep_alive

    asyncio.run(main())


def test_a_handler_has_all_the_time_of_the_world() -> None:
    async def main() -> None:
        for request in (SECOND, post(3) + b"abc"):
            wire = Wire(Application(never))
            wire.send(request)
            await wire.pass_time(500)
            assert not wire.transport.ended

    asyncio.run(main())


def test_a_client_that_reads_nothing_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start(200, [])
        while True:
            await exchange.write(b"x" * 1000)

    async def whole(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"x" * 100_000)

    async def main() -> None:
        for program, request in (
            (endless, SECOND),
            (whole, SECOND),
            (whole, SECOND.replace(b"b\r\n", b"b\r\nConnection: close\r\n")),
        ):
            wire = Wire(Application(program))
            wire.transport.stalled = True
            wire.send(request)
            await turns(200)
            await wire.pass_time(30)
            assert not wire.transport.ended
            await wire.pass_time(2)
            assert wire.transport.aborted
            assert [type(failure) for failure in wire.app.failures] == [ClientDisconnected]
            assert wire.app.cancelled == 0
            assert wire.state.connections == set()

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert {record.getMessage() for record in caplog.records} == {
        "cut off 192.0.2.7: it read nothing for 30s"
    }


def test_an_answer_that_waits_behind_its_end_is_not_waited_for_either() -> None:
    """What is left of an answer after the handler has ended counts too."""

    async def small(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"x" * 1000)

    async def main() -> None:
        for request in (SECOND, SECOND.replace(b"b\r\n", b"b\r\nConnection: close\r\n")):
            wire = Wire(Application(small))
            wire.transport.stalled = True
            wire.send(request)
            await wire.pass_time(30)
            assert not wire.transport.aborted
            await wire.pass_time(2)
            assert wire.transport.aborted

    asyncio.run(main())


def test_a_client_that_reads_slowly_is_served_whatever_the_buffer_looks_like_at_each_sweep() -> None:
    """It takes as much as is written in each second, so that the same number of bytes waits at each look."""

    async def steady(exchange: Exchange) -> None:
        await exchange.start(200, [(b"content-length", b"21000000")])
        for _ in range(300):
            await exchange.write(b"x" * 70_000)
        await exchange.finish()

    async def main() -> None:
        wire = Wire(Application(steady))
        wire.transport.stalled = True
        wire.send(SECOND)
        await turns(5)
        lying = set()
        for _ in range(200):
            wire.transport.take(70_000)
            await turns(5)
            lying.add(wire.transport.unsent)
            await wire.pass_time(1)
        assert len(lying) <= 2
        assert not wire.transport.ended
        # One byte in 30 seconds is progress.
        for _ in range(5):
            wire.transport.take(1)
            await wire.pass_time(29)
        assert not wire.transport.ended

    asyncio.run(main())


def test_a_client_that_does_not_close_is_waited_for_two_seconds() -> None:
    async def main() -> None:
        for request in (b"\0", SECOND.replace(b"b\r\n", b"b\r\nConnection: close\r\n")):
            wire = Wire()
            wire.send(request)
            await turns()
            assert wire.transport.shut
            await wire.pass_time(2)
            assert not wire.transport.closing
            await wire.pass_time(1)
            assert wire.transport.aborted
            assert wire.state.connections == set()

    asyncio.run(main())


def test_a_client_that_goes_on_talking_behind_the_end_is_heard_for_thirty_seconds() -> None:
    async def main() -> None:
        wire = Wire(max_body=0)
        wire.send(post(1 << 40))
        await turns()
        assert wire.answers()[0].status == 413
        for _ in range(30):
            wire.send(b"x" * 1000)
            await wire.pass_time(1)
            assert not wire.transport.closing
        wire.send(b"x")
        await wire.pass_time(1)
        assert wire.transport.aborted

    asyncio.run(main())


def test_time_in_which_the_loop_stood_still_counts_for_nobody() -> None:
    async def main() -> None:
        wires = [Wire()]
        state = wires[0].state
        for data in (b"GET /", SECOND, post(1000)):
            wires.append(Wire(wires[0].app, state=state))
            wires[-1].send(data)
        await turns()
        for _ in range(2):
            wires[0].clock.time += 3600
            state.tick()
        await turns()
        assert not any(wire.transport.ended for wire in wires)

    asyncio.run(main())


def test_a_deadline_of_zero_is_kept_at_the_next_sweep() -> None:
    async def main() -> None:
        wire = Wire(idle_timeout=0.0)
        wire.send(SECOND)
        await turns()
        await wire.pass_time(1)
        assert wire.transport.ended

    asyncio.run(main())


# -- the server stops


def test_when_the_server_stops_idle_connections_end_and_answers_are_the_last() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            if exchange.target == "/begun":
                await exchange.start(200, [])
            await go_on.wait()
            if exchange.target == "/begun":
                await exchange.finish()
            else:
                await exchange.respond(200, [], b"")

        fresh = Wire(Application(program))
        state = fresh.state
        wires = {"fresh": fresh}
        for name, data in {
            "idle": b"",
            "asked": SECOND,
            "begun": SECOND.replace(b"/second", b"/begun"),
            "piped": SECOND.replace(b"/second", b"/begun") + SECOND,
            "head": SECOND[:10],
            "content": post(3) + b"a",
        }.items():
            wires[name] = Wire(fresh.app, state=state)
            wires[name].send(data)
        await turns()
        state.stop()
        for wire in wires.values():
            wire.connection.shut_down()
        ended = {name for name, wire in wires.items() if wire.transport.ended}
        assert ended == {"fresh", "idle"}
        assert fresh.sent == b""
        wires["head"].send(SECOND[10:])
        wires["content"].send(b"bc")
        fresh.send(SECOND)  # it has crossed our end
        go_on.set()
        await turns(20)
        assert all(wire.transport.ended for wire in wires.values())
        assert fresh.sent == b""
        for name in ("asked", "head", "content"):
            (answer,) = wires[name].answers()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        (answer,) = wires["begun"].answers()
        assert answer.complete
        assert [answer.headers.get("connection") for answer in wires["piped"].answers()] == [None, "close"]
        assert state.stopping.is_set()
        # Nobody is waited for as long as otherwise.
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.wait_for(state.drained.wait(), 5)
        assert loop.time() - began < 1.5

    asyncio.run(main())
