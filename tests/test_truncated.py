"""Content that ends early is never handed over as complete, and it is the server that says so: 400.

Whatever kind of application runs. What a program does with its half is its own affair, but the client of a
broken request is told that the request was broken, not that the server was.
"""

from __future__ import annotations

import asyncio
import logging

import pytest
from http1_wire import PARSERS, Wire, until
from kinds import KINDS, PATH, make
from live_client import Server

from weebill.exchange import Application
from weebill.testing import TestClient

POST = b"POST /m HTTP/1.1\r\nHost: a\r\n"
LENGTH = POST + b"Content-Length: 10\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# Each is followed by the client's FIN.
CUT = {
    "no byte": LENGTH,
    "a part": LENGTH + b"abc",
    "no chunk": CHUNKED,
    "a part of a chunk": CHUNKED + b"a\r\nabc",
    "a chunk": CHUNKED + b"3\r\nabc\r\n",
    "no empty line": CHUNKED + b"3\r\nabc\r\n0\r\n",
}
# Each is bad whatever follows.
BAD = {
    "a bad size": CHUNKED + b"3\r\nabc\r\nx\r\n",
    "more than the size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "a bare LF": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "a bad trailer": CHUNKED + b"3\r\nabc\r\n0\r\nx y\r\n\r\n",
}

every_kind = pytest.mark.parametrize("kind", KINDS)


async def answered(app: Application, parser: str, pieces: list[bytes], fin: bool) -> Wire:
    await app.__startup__()
    wire = Wire(app, parser)  # type: ignore[arg-type]
    for piece in pieces:
        wire.send(piece)
        await asyncio.sleep(0)
    if fin:
        wire.send_eof()
    await until(lambda: wire.transport.ended or wire.sent.endswith(b"\r\n\r\nwhole!"))
    await app.__shutdown__()
    return wire


@every_kind
@pytest.mark.parametrize("parser", PARSERS)
def test_a_cut_content_is_400_from_the_server_itself(
    kind: str, parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        for name, request in (CUT | BAD).items():
            for pieces in ([request], [request[: -len(b"c\r\n")], request[-len(b"c\r\n") :]]):
                seen: list[bytes] = []
                wire = await answered(make(kind, seen), parser, pieces, name in CUT)
                assert [answer.status for answer in wire.answers()] == [400], name
                assert wire.answers()[0].headers["connection"] == "close"
                assert seen == [], name

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info] == []


@every_kind
def test_a_whole_content_is_handed_over(kind: str) -> None:
    async def main() -> None:
        for request in (
            POST + b"Content-Length: 6\r\n\r\nwhole!",
            CHUNKED + b"2\r\nwh\r\n4\r\nole!\r\n0\r\nX: y\r\n\r\n",
        ):
            seen: list[bytes] = []
            wire = await answered(make(kind, seen), "httptools", [request], fin=True)
            assert [answer.status for answer in wire.answers()] == [200]
            assert seen == ([b""] if kind == "MyFlask" else [b"whole!"])

    asyncio.run(main())


@every_kind
def test_content_that_stops_coming_is_408_from_the_server_itself(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        seen: list[bytes] = []
        app = make(kind, seen)
        await app.__startup__()
        wire = Wire(app)  # type: ignore[arg-type]
        wire.send(LENGTH + b"abc")
        await wire.pass_time(20)
        await until(lambda: wire.transport.ended)
        assert [answer.status for answer in wire.answers()] == [408]
        assert seen == []
        await app.__shutdown__()

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info] == []


@every_kind
def test_a_reset_in_the_middle_of_content_is_nobodys_error(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bytes] = []
    with caplog.at_level(logging.INFO, "weebill"), Server(make(kind, seen)) as server:
        for request in (*CUT.values(), LENGTH + b"abc"):
            client = server.client()
            client.send(request)
            server.until(lambda: server.connections)
            client.reset()
            server.until(lambda: not server.connections)
    assert seen == []
    assert [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info] == []


@every_kind
@pytest.mark.parametrize("content", [b"", b"abc"])
def test_the_client_of_tests_cuts_content_like_the_wire(kind: str, content: bytes) -> None:
    seen: list[bytes] = []
    with TestClient(make(kind, seen)) as client:
        answer = client.post(PATH, content=content, headers={"content-length": "10"})
    assert answer.status_code == 400
    assert seen == []
