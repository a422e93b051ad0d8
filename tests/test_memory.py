"""MemoryExchange: the rules of the HTTP/1 wire, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from weebill.errors import ClientDisconnected, ResponseError
from weebill.exchange import BUFFERED, UNWANTED, Exchange, Intake
from weebill.server.memory import MemoryExchange


class Application:
    """The smallest application: one function, and what it wants of the content."""

    def __init__(self, answer: Callable[[Exchange], Any], intake: Intake = BUFFERED) -> None:
        self.answer = answer
        self.intake = intake

    async def __startup__(self) -> None:
        pass

    async def __shutdown__(self) -> None:
        pass

    def __intake__(self, exchange: Exchange) -> Intake:
        return self.intake

    async def __exchange__(self, exchange: Exchange) -> None:
        await self.answer(exchange)


def served(
    answer: Callable[[Any], Any], method: str = "GET", intake: Intake = BUFFERED, **options: Any
) -> MemoryExchange:
    async def main() -> MemoryExchange:
        exchange = MemoryExchange(method, "/", **options)
        async with asyncio.timeout(10):
            await exchange.serve(Application(answer, intake))
        return exchange

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [("HEAD", 200, b"4"), ("GET", 204, None), ("GET", 304, None), ("GET", 200, b"4")],
)
def test_content_is_dropped_where_http_forbids_it(method: str, status: int, length: bytes | None) -> None:
    async def at_once(exchange: Exchange) -> None:
        await exchange.respond(status, [(b"x-a", b"1")], b"four")

    async def in_pieces(exchange: Exchange) -> None:
        await exchange.start(status, [])
        await exchange.write(b"four")
        await exchange.finish()

    whole, streamed = served(at_once, method), served(in_pieces, method)
    for exchange in (whole, streamed):
        assert exchange.complete
        assert exchange.status == status
        assert exchange.pieces == ([b"four"] if (method, status) == ("GET", 200) else [])
        assert b"date" in dict(exchange.answer_fields)
    assert dict(whole.answer_fields).get(b"content-length") == length
    assert b"content-length" not in dict(streamed.answer_fields)


def test_content_length_of_a_stream_is_held_to() -> None:
    async def too_much(exchange: Exchange) -> None:
        await exchange.start(200, [(b"Content-Length", b"3")])
        with pytest.raises(ResponseError, match="1 bytes more than Content-Length"):
            await exchange.write(b"four")

    async def too_little(exchange: Exchange) -> None:
        await exchange.start(200, [(b"Content-Length", b"5")])
        await exchange.write(b"four")
        with pytest.raises(ResponseError, match="1 bytes fewer than Content-Length"):
            await exchange.finish()

    async def at_once(exchange: Exchange) -> None:
        with pytest.raises(ResponseError, match="Content-Length says 5"):
            await exchange.respond(200, [(b"content-length", b"5")], b"four")
        assert not exchange.started
        await exchange.respond(200, [(b"content-length", b"4")], b"four")

    assert served(too_much).aborted
    assert served(too_little).aborted
    assert served(at_once).complete


@pytest.mark.parametrize(
    "field",
    [(b"a b", b"1"), (b"x", b"1\r\n"), (b"transfer-encoding", b"chunked"), (b"content-length", b"-1")],
)
def test_a_field_that_would_break_the_framing_is_refused(field: tuple[bytes, bytes]) -> None:
    async def answer(exchange: Exchange) -> None:
        for way in (exchange.respond, exchange.start):
            with pytest.raises(ResponseError):
                await way(200, [field])
        assert not exchange.started
        await exchange.respond(200, [])

    assert served(answer).complete


def test_an_answer_goes_through_its_states_in_order() -> None:
    async def answer(exchange: Exchange) -> None:
        for early in (exchange.write(b"x"), exchange.finish()):
            with pytest.raises(ResponseError):
                await early
        await exchange.start(200, [])
        with pytest.raises(ResponseError, match="begun already"):
            await exchange.respond(200, [])
        await exchange.finish()
        for late in (exchange.write(b"x"), exchange.finish(), exchange.start(200, [])):
            with pytest.raises(ResponseError):
                await late

    assert served(answer).complete


def test_no_answer_is_a_500_and_half_an_answer_is_broken() -> None:
    async def nothing(exchange: Exchange) -> None:
        pass

    async def half(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"half")

    async def aborted(exchange: Exchange) -> None:
        await exchange.start(200, [])
        exchange.abort()
        with pytest.raises(ResponseError):
            await exchange.write(b"x")

    assert served(nothing).status == 500
    for answer in (half, aborted):
        exchange = served(answer)
        assert exchange.aborted
        assert not exchange.complete


def test_a_client_that_goes_is_seen_by_reading_writing_and_waiting() -> None:
    async def answer(exchange: Any) -> None:
        waiting = asyncio.create_task(exchange.disconnected())
        assert await exchange.read() == b"first"
        await exchange.start(200, [])
        exchange.disconnect()
        await waiting
        for way in (exchange.read(), exchange.write(b"x")):
            with pytest.raises(ClientDisconnected):
                await way

    exchange = served(answer, "POST", Intake(stream=True), content=[b"first", b"second"])
    assert exchange.aborted


def test_a_client_that_has_gone_already_has_no_handler_started_that_would_be_cancelled() -> None:
    async def main() -> None:
        exchange = MemoryExchange("GET", "/")
        exchange.disconnect()
        began = asyncio.Event()

        async def answer(exchange: Exchange) -> None:
            began.set()
            await asyncio.Event().wait()

        async with asyncio.timeout(10):
            await exchange.serve(Application(answer, Intake(wanted=False, cancel_on_disconnect=True)))
        assert not began.is_set()
        assert exchange.aborted

    asyncio.run(main())


def test_disconnected_returns_when_the_answer_is_complete() -> None:
    async def answer(exchange: Any) -> None:
        waiting = asyncio.create_task(exchange.disconnected())
        await exchange.respond(200, [])
        await waiting

    assert served(answer).complete


def test_unwanted_content_is_not_taken() -> None:
    taken = []

    def pieces() -> Iterator[bytes]:
        taken.append(True)
        yield b"x"

    async def answer(exchange: Exchange) -> None:
        assert await exchange.read() == b""
        await exchange.respond(200, [])

    assert served(answer, "POST", UNWANTED, content=pieces()).complete
    assert taken == []
