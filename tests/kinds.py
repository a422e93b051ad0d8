"""Every kind of application that the server runs: each reads the content of its request and echoes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import Any

import flask
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse

from weebill import App, Request
from weebill.bridges import adapt
from weebill.dialects import tiny_flask
from weebill.dialects.my_flask import MyFlask
from weebill.dialects.pymicrohttp import Server
from weebill.dialects.tiny_listener import Event, HTTPListener
from weebill.exchange import Application
from weebill.server import worker

METHODS = ("GET", "POST")
PATH = "/m"  # that every kind answers at

# The contents that programs have taken for whole.
Seen = list[bytes]


def _plain(seen: Seen) -> Any:
    app = App(__name__)

    @app.route("/{file:path}", METHODS)
    def echo(request: Request) -> bytes:
        seen.append(request.body)
        return request.body

    return app


def _async(seen: Seen) -> Any:
    app = App(__name__)

    @app.route("/{file:path}", METHODS)
    async def echo(request: Request) -> bytes:
        seen.append(request.body)
        return request.body

    return app


def _stream(seen: Seen) -> Any:
    app = App(__name__)

    @app.route("/{file:path}", METHODS, stream=True)
    async def echo(request: Request) -> bytes:
        content = b"".join([piece async for piece in request.stream()])
        seen.append(content)
        return content

    return app


def _mounted(seen: Seen) -> Any:
    app = App(__name__)
    app.mount(PATH, _stream(seen))
    return app


def _asgi(seen: Seen) -> Any:
    """As people write it: whatever has no more_body is taken for the end."""

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})
        seen.append(content)

    return echo


def _asgi_that_listens(seen: Seen) -> Any:
    """Its client's going is the end of its work, and it answers all the same."""

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        content = b""
        while (message := await receive())["type"] != "http.disconnect":
            content += message["body"]
            if not message["more_body"]:
                seen.append(content)
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    return echo


def _starlette(seen: Seen) -> Any:
    app = Starlette()

    async def echo(request: StarletteRequest) -> StarletteResponse:
        content = await request.body()
        seen.append(content)
        return StarletteResponse(content)

    app.add_route("/{file:path}", echo, list(METHODS))
    return app


def _wsgi(seen: Seen) -> Any:
    def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        content: bytes = environ["wsgi.input"].read()
        seen.append(content)
        start_response("200 OK", [])
        return [content]

    return echo


def _flask(seen: Seen) -> Any:
    app = flask.Flask(__name__)

    @app.route("/", methods=METHODS, defaults={"file": ""})
    @app.route("/<path:file>", methods=METHODS)
    def echo(file: str) -> bytes:
        seen.append(flask.request.get_data())
        return flask.request.get_data()

    return app


def _http_server(seen: Seen) -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(content)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

    return Handler


def _tiny_flask(seen: Seen) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "importing", True)  # as `weebill run` has it: the program does not listen
        app = tiny_flask.HTTPServer(0)

    @app.route("/{file:path}", METHODS)
    def echo(request: tiny_flask.Request, file: str) -> str:
        seen.append(request.raw_body)
        return request.body

    return app


def _pymicrohttp(seen: Seen) -> Any:
    app = Server()

    def echo(request: dict[str, Any]) -> Any:
        content = request["body"].encode("utf-8", "surrogateescape")
        seen.append(content)
        return content

    for method in METHODS:
        app.register_handler(f"{method} /", echo)
        app.register_handler(f"{method} /:file", echo)
    return app


def _my_flask(seen: Seen) -> Any:
    """Its functions see no content, but are called for whole requests only."""
    app = MyFlask(__name__)

    @app.route("/", METHODS)
    @app.route("/<path:file>", METHODS)
    def echo(file: str = "") -> str:
        seen.append(b"")
        return ""

    return app


def _my_flask_class(seen: Seen) -> Any:
    return MyFlask(_http_server(seen))


def _tiny_listener(seen: Seen) -> Any:
    app = HTTPListener()

    async def echo(event: Event) -> bytes:
        content: bytes = event.data["request"].body
        seen.append(content)
        return content

    for method in METHODS:
        app.on_event(f"{method}:/{{file:path}}")(echo)
    return app.application()


KINDS: dict[str, Callable[[Seen], Any]] = {
    "App, def": _plain,
    "App, async def": _async,
    "App, stream": _stream,
    "App, mounted": _mounted,
    "ASGI": _asgi,
    "ASGI, listening": _asgi_that_listens,
    "Starlette": _starlette,
    "WSGI": _wsgi,
    "Flask": _flask,
    "http.server": _http_server,
    "TinyFlask": _tiny_flask,
    "PyMicroHTTP": _pymicrohttp,
    "MyFlask": _my_flask,
    "MyFlask, class": _my_flask_class,
    "tiny-listener": _tiny_listener,
}


def make(kind: str, seen: Seen) -> Application:
    """An application of this kind; `seen` gets the contents that it takes for whole."""
    program = KINDS[kind](seen)
    return program if isinstance(program, App) else adapt(program)
