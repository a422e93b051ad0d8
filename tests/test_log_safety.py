"""What a peer sent does nothing to the log but stand in it: escaped, one line for each event, not too many.

CVE-2020-7694 (escape sequences that act on the terminal of whoever reads), and logs that peers can fill
(CVE-2025-69230 a line per bad cookie, CVE-2024-53981 a line per stray byte, CVE-2025-47287).
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

import pytest
from http1_wire import Application, Wire, turns, until

from weebill import App, HTTPException, Request
from weebill.bridges import adapt
from weebill.dialects.tiny_listener import HTTPListener, Param
from weebill.server.log import configure_logging
from weebill.testing import TestClient

CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

# A new line, a forged one of ours, a cleared screen, the one-byte form of ESC [, and text that is not ASCII.
EVIL = "a\r\nweebill: forged\x1b[2J\x9b2J\x85\x08\x7fé"
PATH = "a%0d%0aweebill:%20forged%1b%5b2J%c2%9b2J%c2%85%08%7f%c3%a9"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error, with our own log on it."""
    stream = io.StringIO()
    logger = logging.getLogger("weebill")
    was = logger.level, logger.propagate
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        configure_logging("debug")
    (handler,) = logger.handlers
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(was[0])
    logger.propagate = was[1]


class Messages(logging.Handler):
    """What a program's own handler is given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """The messages of a program that has set up the logger "weebill" itself."""
    logger, handler = logging.getLogger("weebill"), Messages()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    configure_logging("debug")
    assert logger.handlers == [handler]
    yield handler.texts
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


# -- applications that put what they were sent into the log


def failing_app() -> App:
    app = App(__name__)

    @app.route("/{text:path}", ("GET", "POST"))
    def fail(text: str) -> None:
        raise ValueError(text)

    return app


def breaking_app() -> App:
    app = App(__name__)

    @app.get("/{text:path}")
    async def stream(text: str) -> AsyncIterator[str]:
        yield "begun"
        raise ValueError(text)

    return app


def aborting_app() -> App:
    app = App(__name__)

    @app.get("/{text:path}")
    def refuse(text: str) -> None:
        raise HTTPException(400, text)

    return app


def wrong_app() -> App:
    """Its mistake is told in a sentence."""
    app = App(__name__)

    @app.get("/{text:path}")
    def split(text: str) -> Any:
        return "", 200, {"x": text}

    return app


def asgi_app() -> Any:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise ValueError(scope["path"])

    return adapt(fail, "asgi")


def wsgi_app() -> Any:
    def fail(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise ValueError(environ["PATH_INFO"])

    return adapt(fail, "wsgi")


def wsgi_app_that_logs() -> Any:
    def complain(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.errors"].write(f"no user {unquote(environ['REQUEST_URI'])!s}".replace("\n", " "))
        start_response("200 OK", [])
        return []

    return adapt(complain, "wsgi")


def handler_class() -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raise ValueError(unquote(self.path))

    return adapt(Handler, "http.server")


def handler_class_that_logs() -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.log_error("no user %s", unquote(self.path))
            self.send_response(200)
            self.end_headers()

    return adapt(Handler, "http.server")


def events() -> Any:
    app = HTTPListener()

    @app.on_event("GET:/{text:path}")
    async def fail(text: Param) -> None:
        raise ValueError(text)

    return app.application()


APPLICATIONS = {
    make.__name__: make
    for make in (
        *(failing_app, breaking_app, aborting_app, wrong_app, asgi_app),
        *(wsgi_app, wsgi_app_that_logs, handler_class, handler_class_that_logs, events),
    )
}

BAD_REQUESTS = [
    b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x9b2J HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x1b]0;title\x07",
    b"G\x1bT / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\x1b[2J\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\xc2\x9b2J\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\x1b: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x1b[2J\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\nweebill: forged\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x85\x9b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \x85\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\x1b\x9b\x85=\x07\r\na\r\n",
]


async def answered(application: Any, request: bytes, parser: str = "httptools") -> Wire:
    await application.__startup__()
    wire = Wire(application, parser, access_log=True)
    wire.send(request)
    await until(lambda: wire.sent and wire.connection.exchange is None)
    await turns()
    await application.__shutdown__()
    return wire


def check_lines(text: str, least: int = 0) -> None:
    """Each line of a log is one of ours, or a traceback's."""
    lines = text.splitlines(keepends=True)
    for line in lines:
        assert re.match(r"weebill: |    ", line), text
        assert not line.startswith("weebill: forged")
        assert line.endswith("\n")
        assert not CONTROLS.search(line[:-1]), repr(line)
    assert sum(line.startswith("weebill: ") for line in lines) >= least


@pytest.mark.parametrize("application", APPLICATIONS)
def test_our_log_escapes_what_a_program_was_sent(application: str, log: io.StringIO) -> None:
    request = f"GET /{PATH}?{PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    asyncio.run(answered(APPLICATIONS[application](), request))
    check_lines(log.getvalue(), least=2)  # the connection, and the access log
    tells_of_it = application not in ("aborting_app", "wrong_app")
    assert ("\\x1b[2J" in log.getvalue()) is tells_of_it


@pytest.mark.parametrize("application", APPLICATIONS)
def test_a_programs_own_handler_is_given_messages_without_controls(
    application: str, messages: list[str]
) -> None:
    request = f"GET /{PATH}?{PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    asyncio.run(answered(APPLICATIONS[application](), request))
    assert len(messages) >= 2
    assert [message for message in messages if CONTROLS.search(message)] == []


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("request_", BAD_REQUESTS)
def test_a_refused_request_is_one_line_without_controls(
    request_: bytes, parser: str, log: io.StringIO
) -> None:
    asyncio.run(answered(failing_app(), request_, parser))
    check_lines(log.getvalue())
    refusals = [line for line in log.getvalue().splitlines() if "refused 192.0.2.7: " in line]
    assert len(refusals) == 1
    assert re.match(r"weebill: refused 192.0.2.7: [45]\d\d .+ b['\"]", refusals[0])


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("request_", BAD_REQUESTS)
def test_a_refused_request_is_one_message_without_controls(
    request_: bytes, parser: str, messages: list[str]
) -> None:
    asyncio.run(answered(failing_app(), request_, parser))
    assert len([message for message in messages if message.startswith("refused ")]) == 1
    assert [message for message in messages if CONTROLS.search(message)] == []


def test_an_answer_that_its_client_breaks_off_is_one_message(messages: list[str]) -> None:
    app = App(__name__)

    @app.post("/{text:path}", stream=True)
    async def echo(request: Request) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            yield piece

    head = f"POST /{PATH} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    bad = b"1\r\na\r\n\x1b\x9b\r\n\r\n"

    async def main() -> None:
        wire = Wire(app)  # type: ignore[arg-type]
        wire.send(head.encode() + b"1\r\na\r\n")
        await turns()
        wire.send(bad)
        await until(lambda: wire.transport.ended)

    asyncio.run(main())
    assert [message.partition(" The")[0] for message in messages[1:]] == ["refused 192.0.2.7: 400"]
    assert [message for message in messages if CONTROLS.search(message)] == []


def test_a_refusal_logs_no_more_than_the_beginning_of_what_was_sent(messages: list[str]) -> None:
    asyncio.run(answered(failing_app(), b"GET /" + b"\xff" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"))
    (refusal,) = (message for message in messages if message.startswith("refused "))
    assert len(refusal) < 500


SECRET = b"correct-horse"
WITH_SECRETS = [
    b"GET /x HTTP/1.1\r\nAuthorization: Bearer %b\r\nHost: a b\r\n\r\n" % SECRET,
    b"GET /x HTTP/1.1\r\nCookie: session=%b\x01\r\nHost: a\r\n\r\n" % SECRET,
    b"GET /x HTTP/1.1\r\nCookie session=%b\r\nHost: a\r\n\r\n" % SECRET,
    b"GET /x HTTP/1.1\nCookie: %b\nHost: a\n\n" % SECRET,
    b"GET /x HTTP/1.1\rCookie: %b\r\r" % SECRET + b"\n",
    b"GET /x HTTP/2.0\r\nCookie: %b\r\n\r\n" % SECRET,
    b"\r\nGET /x HTTP/1.1\r\nCookie: %b\r\n" % SECRET,
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % SECRET,
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na%b" % SECRET,
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n%b" % SECRET,
    b"POST /x HTTP/1.1\r\nHost: a\r\nCookie: %b\r\nContent-Length: 13\r\n\r\n%b" % (SECRET, SECRET),
]


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("request_", WITH_SECRETS)
def test_no_field_and_no_content_is_in_the_log(request_: bytes, parser: str, messages: list[str]) -> None:
    """Neither of what was refused nor of what a program failed on."""
    app = App(__name__)

    @app.post("/x")
    def fail(request: Request) -> None:
        request.text, request.cookies, request.headers["host"]
        raise ValueError("no")

    async def main() -> None:
        await app.__startup__()
        wire = Wire(app, parser, access_log=True)  # type: ignore[arg-type]
        wire.send(request_)
        wire.send_eof()
        await until(lambda: wire.sent and wire.connection.exchange is None)
        await app.__shutdown__()

    asyncio.run(main())
    assert any("/x" in message for message in messages)
    assert [message for message in messages if SECRET.decode() in message] == []


def test_a_flood_of_bad_requests_is_a_few_lines_and_their_number(messages: list[str]) -> None:
    async def main() -> None:
        wire = Wire()
        state = wire.state
        for _ in range(1000):
            other = Wire(state=state)
            other.send(b"\xff")
            assert other.transport.shut
        assert len([m for m in messages if m.startswith("refused ")]) <= 20
        await wire.pass_time(1)
        assert any("980 more" in message for message in messages)

    asyncio.run(main())


def test_a_flood_of_broken_contents_is_a_few_lines_and_their_number(messages: list[str]) -> None:
    """As the flood above, but the handlers have begun, and it is they who are told."""
    app = App(__name__)

    @app.post("/", stream=True)
    async def echo(request: Request) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            yield piece

    async def listen(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"too late"})

    async def main() -> None:
        for application in (app, adapt(listen, "asgi")):
            messages.clear()
            logging.getLogger("weebill").setLevel(logging.INFO)
            wire = Wire(application)  # type: ignore[arg-type]
            for _ in range(200):
                other = Wire(application, state=wire.state)  # type: ignore[arg-type]
                other.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                await turns(5)
                other.send(b"x\r\n")
                await until(lambda other=other: other.transport.ended)  # type: ignore[misc]
            assert 1 <= len(messages) <= 20

    asyncio.run(main())


def test_what_is_wrong_inside_a_good_request_is_not_logged(messages: list[str]) -> None:
    app = App(__name__)

    @app.post("/")
    def look(request: Request) -> Any:
        return [len(request.cookies), len(request.query), request.headers.get("accept"), request.json()]

    client = TestClient(app)
    for headers in (
        {"cookie": "; ".join(["=a", "b", "c=\x1f\x80".replace("\x1f", ""), '"', "d=;=e"] * 200)},
        {"accept": ";q=x,,;;=,\x80" * 100, "accept-encoding": "gzip;q=9,;"},
        {"content-type": "application/json; charset; =; charset=\x9b"},
    ):
        for target in ("/", "/?%", "/?%ff=%zz&&&=&;", "/?" + "&" * 2000):
            for content in (b"", b"{", b"\xff", b"[1]"):
                assert client.post(target, headers=headers, content=content).status_code in (200, 400, 415)
    assert messages == []


def test_the_access_log_is_one_line_for_each_answer(messages: list[str]) -> None:
    async def main() -> None:
        wire = Wire(Application(), access_log=True)
        wire.send(f"GET /{PATH}?{PATH}\x22%22 HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 3)
        await turns(30)

    asyncio.run(main())
    lines = [message for message in messages if " 200 " in message]
    assert len(lines) == 3
    assert [line for line in lines if CONTROLS.search(line)] == []
