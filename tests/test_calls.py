"""How many Python calls one request costs in our own code, and which.

A hop that does nothing for a request creeps in easily and is never seen again; here it is. Run pytest with
`-s` to see the path.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from http1_wire import PARSERS, MemoryTransport, turns

import weebill
from weebill import App
from weebill.exchange import Application
from weebill.server.http1 import HTTP1Connection
from weebill.server.state import State
from weebill.server.worker import parser_factory
from weebill.settings import Settings

OURS = str(Path(weebill.__file__).parent)
MOST = 30

PLAIN = b"GET %b HTTP/1.1\r\nHost: example.org\r\n\r\n"
BROWSER = (
    b"GET %b HTTP/1.1\r\nHost: example.org\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nDNT: 1\r\n"
    b"Connection: keep-alive\r\nCookie: a=b; c=d\r\nUpgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n"
    b"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n"
)


def make_app() -> App:
    app = App(__name__)

    @app.get("/")
    async def index() -> str:
        return "hello"

    @app.get("/user/{name}")
    async def user(name: str) -> str:
        return f"hello {name}"

    @app.get("/item/{id:int}")
    async def item(id: int) -> dict[str, int]:  # noqa: A002
        return {"id": id}

    return app


class Counter:
    """The calls of functions that are ours or the test's, from the first to the transport's write."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.written = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event != "call" or self.written:
            return
        if code is MemoryTransport.write.__code__:
            self.written = True
        elif code.co_filename.startswith(OURS) or code.co_filename == __file__:
            place = Path(code.co_filename).name
            self.path.append(f"{code.co_qualname} ({place}:{frame.f_lineno})")


def calls(
    application: Application, request: bytes, parser: str, before: bytes = b""
) -> tuple[list[str], bytes]:
    """The path of one request on a connection that has had some before, the same or `before`, and the
    answer."""

    async def main() -> tuple[list[str], bytes]:
        await application.__startup__()
        state = State(application, Settings(), asyncio.get_running_loop(), parser_factory(parser))
        connection, transport = HTTP1Connection(state), MemoryTransport()
        transport.protocol = connection
        connection.connection_made(transport)
        for _ in range(3):
            connection.data_received(before or request)
            await turns()
        transport.sent.clear()
        counter = Counter()
        sys.setprofile(counter)
        try:
            connection.data_received(request)
            await asyncio.sleep(0)
        finally:
            sys.setprofile(None)
        assert counter.written
        return counter.path, bytes(transport.sent)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "content"), [("/", b"hello"), ("/user/ada", b"hello ada"), ("/item/7", b'{"id":7}')]
)
@pytest.mark.parametrize("before", [b"", PLAIN.replace(b"org", b"com") % b"/"])
@pytest.mark.parametrize("parser", PARSERS)
def test_a_warm_get_takes_few_calls(path: str, content: bytes, before: bytes, parser: str) -> None:
    found, answer = calls(make_app(), PLAIN % path.encode(), parser, before)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n" + content)
    print(f"\nGET {path} with {parser}: {len(found)} calls")
    print("\n".join(f"{n:4} {call}" for n, call in enumerate(found, 1)))
    assert len(found) <= MOST, f"{len(found)} calls:\n" + "\n".join(found)


def test_a_field_more_is_one_call_more_and_no_other() -> None:
    app = make_app()
    other = PLAIN.replace(b"org", b"com") % b"/user/ada"
    for _ in range(2):  # the first time, names and hosts are new
        plain, _ = calls(app, PLAIN % b"/user/ada", "httptools", other)
        browser, _ = calls(app, BROWSER % b"/user/ada", "httptools", other)
        judge, _ = calls(app, BROWSER % b"/user/ada", "h11", other)
    fields = BROWSER.count(b"\r\n") - PLAIN.count(b"\r\n")
    for_fields = [call for call in browser if "on_header" in call]
    assert len(for_fields) == fields + 1
    others = len(browser) - len(for_fields) - (len(plain) - 1)
    print(f"\na browser's request: {len(browser)} calls, {others} besides those for its {fields + 1} fields")
    assert others <= 8  # Connection and Accept-Encoding are read
    assert len(judge) <= MOST


def test_the_same_fields_once_more_are_no_call_more() -> None:
    app = make_app()
    plain, _ = calls(app, PLAIN % b"/user/ada", "httptools")
    browser, _ = calls(app, BROWSER % b"/user/ada", "httptools")
    assert len(browser) == len(plain)
