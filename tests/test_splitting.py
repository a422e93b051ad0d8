"""No door leads a line break into the head of an answer: response splitting, CVE-2018-1000164, CVE-2020-7695.

Each door is a way in which a program says a field. What goes through it here may have come from a peer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from http1_wire import Application, Wire, until

from weebill import (
    App,
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    StreamingResponse,
    abort,
    redirect,
)
from weebill.bridges import adapt
from weebill.dialects import tiny_flask
from weebill.dialects.my_flask import MyFlask
from weebill.dialects.pymicrohttp import Server
from weebill.dialects.tiny_listener import HTTPListener
from weebill.exchange import Exchange
from weebill.server import worker

# Characters beyond latin-1 whose low byte is CR or LF: cut to a byte each, they would be line breaks.
CUT_TO_LINE_BREAKS = "a\u010d\u010aEvil: 1"
BREAKS = {
    "CR LF": "a\r\nEvil: 1",
    "LF": "a\nEvil: 1",
    "CR": "a\rEvil: 1",
    "two lines": "a\r\n\r\n<script>Evil",
    "a folded line": "a\r\n Evil",
    "NUL": "a\0Evil",
    "ESC": "a\x1b[31mEvil",
    "at the end": "Evil\r\n",
    "beyond latin-1": CUT_TO_LINE_BREAKS,
}
NAMES = {
    "CR LF": "X\r\nEvil",
    "LF": "X\nEvil",
    "a whole line": "Evil: 1\r\nX",
    "a blank": "Evil X",
    "a colon": "Evil:X",
    "nothing but a NUL": "\0Evil",
    "beyond latin-1": "Evil\u010a",
}

IN_LATIN_1 = [fault for fault in BREAKS if fault != "beyond latin-1"]
NAMES_IN_LATIN_1 = [fault for fault in NAMES if fault != "beyond latin-1"]

Door = Callable[[str, str], Any]


async def sent_by(application: Any) -> tuple[bytes, int]:
    """All that one GET brings onto the wire, and its status as h11 reads it."""
    await application.__startup__()
    wire = Wire(application)
    wire.send(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: wire.connection.exchange is None)
    answers = wire.answers()
    assert len(answers) == 1
    await application.__shutdown__()
    return wire.sent, answers[0].status


def check(application: Any, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "weebill"):
        sent, answered = asyncio.run(sent_by(application))
    assert b"evil" not in sent.lower()
    assert answered == status
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == (1 if status == 500 else 0), errors


# -- the doors of App: what a handler may return or do


def evil_cookie(name: str, value: str) -> Response:
    response = PlainTextResponse("")
    response.headers.add("Set-Cookie", f"{name}={value}; Path=/")
    return response


def changed(change: Callable[[Response], object]) -> Response:
    response = PlainTextResponse("")
    change(response)
    return response


async def pieces() -> AsyncIterator[str]:
    yield "piece"


HANDLERS: dict[str, Door] = {
    "Response": lambda name, value: Response(b"", headers={name: value}),
    "HTMLResponse": lambda name, value: HTMLResponse("", 200, {name: value}),
    "JSONResponse": lambda name, value: JSONResponse({}, headers={name: value}),
    "StreamingResponse": lambda name, value: StreamingResponse(pieces(), headers={name: value}),
    "FileResponse": lambda name, value: FileResponse(Path(__file__), headers={name: value}),
    "a tuple": lambda name, value: ("", 200, {name: value}),
    "a tuple of a stream": lambda name, value: (pieces(), 200, {name: value}),
    "headers[]": lambda name, value: changed(lambda r: r.headers.__setitem__(name, value)),
    "headers.add": lambda name, value: changed(lambda r: r.headers.add(name, value)),
    "headers.setdefault": lambda name, value: changed(lambda r: r.headers.setdefault(name, value)),
    "headers.update": lambda name, value: changed(lambda r: r.headers.update({name: value})),
    "abort": lambda name, value: abort(401, headers={name: value}),
}
BYTES: dict[str, Door] = {
    "raw_headers": lambda name, value: changed(lambda r: r.raw_headers.append(in_bytes(name, value))),
    "raw_headers of a stream": lambda name, value: in_a_stream(*in_bytes(name, value)),
}
VALUES: dict[str, Callable[[str], Any]] = {
    "media_type": lambda value: Response(b"", media_type=value),
    "a cookie's value": lambda value: evil_cookie("a", value),
    "a cookie's name": lambda value: evil_cookie(value, "a"),
    "redirect": lambda value: redirect(f"/{value}"),
    "redirect to a host": lambda value: redirect(f"https://example.org/{value}", allowed_hosts="*"),
}


def in_bytes(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("latin-1"), value.encode("latin-1")


def in_a_stream(name: bytes, value: bytes) -> Response:
    response = StreamingResponse(pieces())
    response.raw_headers.append((name, value))
    return response


def app_of(answer: Callable[[], Any]) -> App:
    app = App(__name__)

    @app.get("/evil")
    def handler() -> Any:
        return answer()

    return app


@pytest.mark.parametrize("door", HANDLERS)
@pytest.mark.parametrize("fault", BREAKS)
def test_no_value_breaks_out_of_a_handlers_answer(
    door: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(app_of(lambda: HANDLERS[door]("X", BREAKS[fault])), 500, caplog)


@pytest.mark.parametrize("door", HANDLERS)
@pytest.mark.parametrize("fault", NAMES)
def test_no_name_breaks_out_of_a_handlers_answer(
    door: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(app_of(lambda: HANDLERS[door](NAMES[fault], "1")), 500, caplog)


@pytest.mark.parametrize("door", BYTES)
@pytest.mark.parametrize("fault", IN_LATIN_1)
def test_no_bytes_break_out_of_a_handlers_answer(
    door: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(app_of(lambda: BYTES[door]("X", BREAKS[fault])), 500, caplog)


@pytest.mark.parametrize("door", VALUES)
@pytest.mark.parametrize("fault", BREAKS)
def test_no_type_cookie_or_location_breaks_out_of_a_handlers_answer(
    door: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    if door.startswith("redirect") and fault == "beyond latin-1":
        # A location is text of any kind, and percent-encoded as UTF-8.
        location = VALUES[door](f"a{CUT_TO_LINE_BREAKS[1:3]}").headers["location"]
        assert location.endswith("/a%C4%8D%C4%8A")
        return
    check(app_of(lambda: VALUES[door](BREAKS[fault])), 500, caplog)


@pytest.mark.parametrize("fault", BREAKS)
def test_no_value_breaks_out_of_what_stands_around_a_handler(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = BREAKS[fault]

    def with_hook(app: App) -> None:
        @app.after_request
        def after(response: Response) -> None:
            response.headers["X"] = value

    def with_early_answer(app: App) -> None:
        @app.before_request
        def before() -> Any:
            return "", 200, {"X": value}

    def with_middleware(app: App) -> None:
        @app.middleware
        async def around(request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers["X"] = value
            return response

    def with_error_handler(app: App) -> None:
        @app.errorhandler(404)
        def missing() -> Any:
            return "", 404, {"X": value}

    for add in (with_hook, with_early_answer, with_middleware):
        caplog.clear()
        app = app_of(lambda: "fine")
        add(app)
        check(app, 500, caplog)
    caplog.clear()
    app = App(__name__)
    with_error_handler(app)
    check(app, 500, caplog)


def test_a_name_for_downloads_cannot_break_out(caplog: pytest.LogCaptureFixture) -> None:
    name = 'a"\r\nX: 1\0\u010d\u010a\\.txt'
    app = app_of(lambda: FileResponse(Path(__file__), filename=name))
    with caplog.at_level(logging.WARNING, "weebill"):
        sent, status = asyncio.run(sent_by(app))
    assert status == 200
    line = next(line for line in sent.split(b"\r\n") if line.startswith(b"content-disposition"))
    assert line == (
        b'content-disposition: attachment; filename="a___X: 1____.txt"; '
        b"filename*=UTF-8''a%22%0D%0AX%3A%201%00%C4%8D%C4%8A%5C.txt"
    )
    assert caplog.records == []


# -- the doors below App


@pytest.mark.parametrize("fault", IN_LATIN_1)
@pytest.mark.parametrize("way", ["respond", "start"])
def test_no_value_breaks_out_of_an_exchange(way: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(exchange: Exchange) -> None:
        await getattr(exchange, way)(200, [in_bytes("X", BREAKS[fault])])

    check(Application(answer), 500, caplog)


def asgi(name: bytes, value: bytes, more: bool) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(name, value)]})
            await send({"type": "http.response.body", "body": b"piece", "more_body": more})

    return adapt(app, "asgi")


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("fault", IN_LATIN_1)
def test_no_value_breaks_out_of_an_asgi_application(
    fault: str, more: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check(asgi(*in_bytes("X", BREAKS[fault]), more), 500, caplog)


@pytest.mark.parametrize("fault", NAMES_IN_LATIN_1)
def test_no_name_breaks_out_of_an_asgi_application(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    check(asgi(*in_bytes(NAMES[fault], "1"), False), 500, caplog)


def wsgi(status: str, name: str, value: str) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(status, [(name, value)])
        return [b"content"]

    return adapt(app, "wsgi")


@pytest.mark.parametrize("fault", BREAKS)
def test_no_value_breaks_out_of_a_wsgi_application(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    check(wsgi("200 OK", "X", BREAKS[fault]), 500, caplog)


@pytest.mark.parametrize("fault", NAMES)
def test_no_name_breaks_out_of_a_wsgi_application(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    check(wsgi("200 OK", NAMES[fault], "1"), 500, caplog)


@pytest.mark.parametrize("fault", BREAKS)
def test_no_phrase_breaks_out_of_a_wsgi_application(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    breaks_a_line = "\r" in BREAKS[fault] or "\n" in BREAKS[fault]
    check(wsgi(f"200 {BREAKS[fault]}", "X", "1"), 500 if breaks_a_line else 200, caplog)


def handler_class(say: Callable[[BaseHTTPRequestHandler], object]) -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            say(self)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    return adapt(Handler, "http.server")


@pytest.mark.parametrize("fault", BREAKS)
def test_no_value_and_no_phrase_break_out_of_a_handler_class(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    def say_field(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("X", BREAKS[fault])

    check(handler_class(say_field), 500, caplog)
    caplog.clear()
    check(handler_class(lambda handler: handler.send_response(200, BREAKS[fault])), 200, caplog)


@pytest.mark.parametrize("fault", NAMES)
def test_no_name_breaks_out_of_a_handler_class(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header(NAMES[fault], "1")

    check(handler_class(say), 500, caplog)


# -- the doors of the dialects


def in_tiny_flask(say: Callable[[tiny_flask.Response], object]) -> App:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "importing", True)  # as `weebill run` has it: the program does not listen
        app = tiny_flask.HTTPServer(0)

    @app.route("/evil")
    def evil(request: tiny_flask.Request) -> tiny_flask.Response:
        response = tiny_flask.Response()
        say(response)
        return response

    return app


def in_pymicrohttp(name: str, value: str) -> App:
    app = Server()
    app.register_handler("GET /evil", lambda request: ("", 200, {name: value}))
    return app


def in_my_flask(name: str, value: str) -> App:
    app = MyFlask(__name__)
    app.route("/evil")(lambda: ("", 200, {name: value}))
    return app


def in_tiny_listener(name: str, value: str) -> App:
    app = HTTPListener()

    @app.on_event("GET:/evil")
    async def evil() -> Any:
        return "", 200, {name: value}

    return app.application()


DIALECTS: dict[str, Door] = {
    "TinyFlask, add_header": lambda n, v: in_tiny_flask(lambda r: r.add_header(n, v)),
    "TinyFlask, headers": lambda n, v: in_tiny_flask(lambda r: setattr(r, "headers", {n: v})),
    "TinyFlask, headers[]": lambda n, v: in_tiny_flask(lambda r: r.headers.__setitem__(n, v)),
    "PyMicroHTTP": in_pymicrohttp,
    "MyFlask": in_my_flask,
    "tiny-listener": in_tiny_listener,
}


@pytest.mark.parametrize("door", DIALECTS)
@pytest.mark.parametrize("fault", BREAKS)
def test_no_value_breaks_out_of_a_dialect(door: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    check(DIALECTS[door]("X", BREAKS[fault]), 500, caplog)


@pytest.mark.parametrize("door", DIALECTS)
@pytest.mark.parametrize("fault", NAMES)
def test_no_name_breaks_out_of_a_dialect(door: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    check(DIALECTS[door](NAMES[fault], "1"), 500, caplog)


@pytest.mark.parametrize("fault", BREAKS)
def test_no_status_breaks_out_of_tiny_flask(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    evil = BREAKS[fault]
    check(in_tiny_flask(lambda response: setattr(response, "status_code", f"200 {evil}")), 500, caplog)
    for attribute in ("reason", "version"):
        caplog.clear()
        app = in_tiny_flask(lambda response, name=attribute: setattr(response, name, evil))  # type: ignore[misc]
        check(app, 200, caplog)
