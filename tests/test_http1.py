"""What a connection takes and refuses, where no case of the corpus (test_conformance.py) can say it.

Each goes through both parsers and comes three ways: whole, byte by byte, and with another request behind it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from http1_wire import PARSERS, WAYS, Application, Wire, talk, turns

pytestmark = [pytest.mark.parametrize("parser", PARSERS), pytest.mark.parametrize("way", WAYS)]

CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("size", [0, 1, 5, 255, 256, 4096])
def test_a_head_at_its_limits_is_taken_and_one_byte_more_is_not(size: int, parser: str, way: str) -> None:
    limits = {"max_request_line": 64 + size, "max_fields_size": 32 + size, "max_fields": 3}
    line = b"GET /" + b"a" * (64 + size - 14) + b" HTTP/1.1"
    fields = b"Host: b\r\nX: " + b"y" * (32 + size - 12)
    assert len(line) == limits["max_request_line"]
    assert len(fields) == limits["max_fields_size"]

    async def status(head: bytes) -> int:
        wire = await talk(head + b"\r\n\r\n", way, parser, **limits)
        return wire.answers()[0].status

    async def main() -> None:
        assert await status(line + b"\r\n" + fields) == 200
        assert await status(line.replace(b"/", b"/a") + b"\r\n" + fields) == 414
        assert await status(line + b"\r\n" + fields + b"y") == 431
        assert await status(b"GET / HTTP/1.1\r\n" + b"Host: b" + b"\r\na:b" * 2) == 200
        assert await status(b"GET / HTTP/1.1\r\n" + b"Host: b" + b"\r\na:b" * 3) == 431

    asyncio.run(main())


def test_a_head_without_an_end_is_refused_at_its_limit_and_not_kept(parser: str, way: str) -> None:
    async def main() -> None:
        for begin, status in ((b"GET /", 414), (b"GET / HTTP/1.1\r\nX: ", 431)):
            wire = Wire(parser=parser)
            piece = {"whole": 100_000, "byte by byte": 1, "with another behind it": 1000}[way]
            wire.send(begin)
            sent = 0
            while not wire.transport.ended and sent < 200_000:
                wire.send(b"a" * piece)
                sent += piece
            assert wire.answers()[0].status == status
            assert sent <= 100_000

    asyncio.run(main())


def test_many_requests_behind_one_another_are_answered_in_order(parser: str, way: str) -> None:
    async def answer_slowly(exchange: Any) -> None:
        for _ in range(len(exchange.target) % 3):
            await asyncio.sleep(0)
        await exchange.respond(200, [], exchange.target.encode() + exchange.body.read_all())

    async def main() -> None:
        kinds = (
            (b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", b""),
            (b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
            (b"PUT /%d HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n", b"def"),
            (b"\r\nDELETE /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b""),
        )
        stream = b"".join(kinds[n % 4][0] % n for n in range(40))
        wire = Wire(Application(answer_slowly), parser)
        if way == "byte by byte":
            await wire.send_in_bytes(stream)
        else:
            wire.send(stream)
        for _ in range(300):
            await asyncio.sleep(0)
        expected = [b"/%d" % n + kinds[n % 4][1] for n in range(40)]
        assert [answer.content for answer in wire.answers()] == expected

    asyncio.run(main())


def test_equal_requests_share_no_fields(parser: str, way: str) -> None:
    async def take_away(exchange: Any) -> None:
        count = len(exchange.fields)
        exchange.fields.clear()
        await exchange.respond(200, [], b"%d" % count)

    async def main() -> None:
        wire = Wire(Application(take_away), parser)
        for _ in range(3):
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n")
            await turns()
        assert [answer.content for answer in wire.answers()] == [b"2"] * 3

    asyncio.run(main())
