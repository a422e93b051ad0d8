"""103 ahead of the answer (RFC 8297)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bridge_helpers import Peer, scope_of
from http1_wire import PARSERS, Wire, turns

from weebill import App, Request, TestClient
from weebill.bridges.asgi import serve_scope
from weebill.errors import ResponseError
from weebill.server.memory import MemoryExchange

STYLE = "</style.css>; rel=preload; as=style"
SCRIPT = "</app.js>; rel=preload; as=script"


def app_that_hints(fields: Any = (("Link", STYLE), ("link", SCRIPT))) -> App:
    app = App(__name__)

    @app.get("/")
    async def home(request: Request) -> str:
        await request.early_hints(fields)
        return "the page"

    @app.get("/late")
    async def late(request: Request) -> AsyncIterator[str]:
        yield "begun"
        await request.early_hints(fields)

    @app.get("/thread")
    def in_thread(request: Request) -> str:
        request.early_hints(fields)
        return "never"

    return app


async def talk(request: bytes, parser: str = "httptools", **options: Any) -> Wire:
    wire = Wire(app_that_hints(**options), parser)  # type: ignore[arg-type]
    wire.send(request)
    await turns()
    return wire


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_hints_go_out_ahead_of_the_answer(parser: str, method: str) -> None:
    wire = asyncio.run(talk(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode(), parser))
    interim, _, final = wire.sent.partition(b"\r\n\r\n")
    lines = [b"HTTP/1.1 103 Early Hints", b"Link: " + STYLE.encode(), b"link: " + SCRIPT.encode()]
    assert interim.split(b"\r\n") == lines
    assert final.startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_answer_is_read_as_if_there_had_been_no_hints() -> None:
    async def main() -> None:
        wire = await talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        for answer in wire.answers():
            assert (answer.interim, answer.status, answer.content) == ([103], 200, b"the page")
        assert len(wire.answers()) == 2

    asyncio.run(main())


def test_a_client_of_http_1_0_gets_none() -> None:
    wire = asyncio.run(talk(b"GET / HTTP/1.0\r\n\r\n"))
    assert wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")


def test_hints_behind_the_beginning_of_the_answer_are_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConnectionError):
        TestClient(app_that_hints(), raise_server_exceptions=False).get("/late")
    assert "behind the beginning of the final one" in caplog.text
    caplog.clear()
    wire = asyncio.run(talk(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert b"103" not in wire.sent
    assert "behind the beginning of the final one" in caplog.text


def test_a_handler_in_a_thread_is_told_that_it_cannot(caplog: pytest.LogCaptureFixture) -> None:
    assert TestClient(app_that_hints(), raise_server_exceptions=False).get("/thread").status_code == 500
    assert "it is for `async def` handlers" in caplog.text


@pytest.mark.parametrize(
    "fields",
    [
        {"link": "</a>\r\nset-cookie: b"},
        {"a b": "c"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"connection": "close"},
    ],
)
def test_a_field_that_would_break_the_stream_is_refused(
    fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    wire = asyncio.run(talk(request, fields=fields))
    assert wire.sent.startswith(b"HTTP/1.1 500 ")
    assert TestClient(app_that_hints(fields), raise_server_exceptions=False).get("/").status_code == 500


@pytest.mark.parametrize("status", [99, 100, 101, 200])
def test_a_status_that_is_no_interim_one_is_refused(status: int) -> None:
    with pytest.raises(ResponseError, match="no status of an interim answer"):
        asyncio.run(MemoryExchange("GET", "/").inform(status, []))


def test_the_wire_of_tests_keeps_them() -> None:
    async def main() -> None:
        app = app_that_hints({"link": STYLE})
        exchange, old = MemoryExchange("GET", "/"), MemoryExchange("GET", "/", http_version="1.0")
        await exchange.serve(app)
        await old.serve(app)
        assert exchange.interim == [(103, [(b"link", STYLE.encode())])]
        assert old.interim == []

    asyncio.run(main())


@pytest.mark.parametrize("extensions", [{"http.response.early_hint": {}}, {}, None])
def test_on_another_server_they_are_told_to_one_that_knows_of_them(extensions: Any) -> None:
    async def main() -> list[Any]:
        peer = Peer()
        scope = scope_of("/", extensions=extensions)
        await serve_scope(app_that_hints(), scope, peer.receive, peer.send)
        return peer.answer.messages

    first, *rest = asyncio.run(main())
    if extensions:
        assert first == {"type": "http.response.early_hint", "links": [STYLE.encode(), SCRIPT.encode()]}
        first = rest[0]
    assert (first["type"], first["status"]) == ("http.response.start", 200)
