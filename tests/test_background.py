"""Work that is done when the answer has been sent."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from live_client import Server
from wires import LIVE

from weebill import App, Request, Response, TestClient, abort


def entries(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "weebill" and r.levelno >= logging.ERROR]


def test_work_is_done_in_its_order_on_the_loop_and_in_threads(serve: Callable[[App], Any]) -> None:
    app, done, last = App(), [], threading.Event()

    async def on_loop(name: str, *, more: str) -> None:
        await asyncio.sleep(0)
        done.append((name, more, threading.current_thread().name.startswith("weebill-worker")))

    def in_thread(name: str, *, more: str) -> None:
        done.append((name, more, threading.current_thread().name.startswith("weebill-worker")))

    @app.get("/")
    def handler(request: Request) -> str:
        request.background(on_loop, "first", more="a")
        request.background(in_thread, "second", more="b")
        request.background(last.set)
        return "answered"

    assert serve(app).get("/").text == "answered"
    assert last.wait(10)
    assert done == [("first", "a", False), ("second", "b", True)]


@pytest.mark.parametrize("wire", LIVE)
@pytest.mark.parametrize("kind", ["whole", "stream", "head"])
@pytest.mark.parametrize("blocks", [True, False])
def test_the_client_has_its_answer_and_the_next_while_the_work_goes_on(
    serve: Callable[[App], Any], kind: str, blocks: bool
) -> None:
    app, go_on, done = App(), threading.Event(), threading.Event()

    async def waits() -> None:
        await asyncio.to_thread(go_on.wait, 10)
        done.set()

    def waits_in_thread() -> None:
        go_on.wait(10)
        done.set()

    @app.get("/whole")
    async def whole(request: Request) -> str:
        request.background(waits_in_thread if blocks else waits)
        return "answered"

    @app.get("/stream")
    async def stream(request: Request) -> AsyncIterator[str]:
        yield "ans"
        request.background(waits_in_thread if blocks else waits)
        yield "wered"

    app.get("/next")(lambda: "next")
    client = serve(app)
    if kind == "head":
        assert client.head("/whole").content == b""
    else:
        assert client.get(f"/{kind}").text == "answered"
    assert client.get("/next").text == "next"
    assert not done.is_set()
    go_on.set()
    assert done.wait(10)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /stream HTTP/1.0\r\n\r\n",
        b"GET /whole HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\nGET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=["ended by the connection", "with close", "with another behind it"],
)
def test_the_end_of_an_answer_is_not_late_because_work_goes_on(request_: bytes) -> None:
    app, go_on, done = App(), threading.Event(), threading.Event()

    def waits() -> None:
        go_on.wait(10)
        done.set()

    @app.get("/whole")
    async def whole(request: Request) -> str:
        request.background(waits)
        return "whole"

    @app.get("/stream")
    async def stream(request: Request) -> AsyncIterator[str]:
        request.background(waits)
        yield "stream"

    app.get("/last")(lambda: "last")
    with Server(app) as server, server.client() as client:
        # No sweep helps: the deadlines are looked at once a second only.
        server.on_loop(lambda: server.worker._sweeping.cancel())
        client.send(request_)
        content = client.file.read()
        assert content.endswith((b"stream", b"whole", b"last"))
        assert not done.is_set()
        go_on.set()
        assert done.wait(10)


def test_a_graceful_stop_waits_for_the_work() -> None:
    app, go_on, done = App(), threading.Event(), []

    async def waits() -> None:
        await asyncio.to_thread(go_on.wait, 10)
        done.append("work")

    @app.get("/")
    async def handler(request: Request) -> str:
        request.background(waits)
        return "answered"

    app.on_shutdown(lambda: done.append("shutdown"))
    with Server(app) as server:
        with server.client() as client:
            assert client.get("/").content == b"answered"
        server.until(lambda: not server.connections)
        server.begin_stop()
        server.until(lambda: server.worker.state.is_stopping)
        assert done == []
        go_on.set()
        server.wait()
    assert done == ["work", "shutdown"]


def test_what_fails_is_one_entry_and_keeps_nothing_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    app, done = App(), []

    def fails() -> None:
        raise ValueError("in the background")

    @app.get("/")
    async def handler(request: Request) -> str:
        request.background(fails)
        request.background(done.append, "the next")
        return "answered"

    assert TestClient(app).get("/").text == "answered"
    assert done == ["the next"]
    [entry] = entries(caplog)
    assert "the background work" in entry
    assert "fails (" in entry
    assert caplog.records[-1].exc_info is not None


@pytest.mark.parametrize("kind", ["abort", "failure", "redirected by a hook"])
def test_work_is_done_whatever_the_answer_is(kind: str) -> None:
    app, done = App(), []

    @app.get("/")
    def handler(request: Request) -> str:
        request.background(done.append, "noted")
        if kind == "abort":
            abort(403)
        if kind == "failure":
            raise ValueError
        return "answered"

    if kind == "redirected by a hook":
        app.after_request(lambda response: Response(b"", 303, {"location": "/"}))
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/").status_code in (403, 500, 303)
    assert done == ["noted"]


@pytest.mark.parametrize("wire", LIVE)
def test_work_is_done_although_the_client_has_gone(serve: Callable[[App], Any]) -> None:
    app, begun, gone, done = App(), threading.Event(), threading.Event(), threading.Event()

    @app.get("/")
    async def stream(request: Request) -> AsyncIterator[bytes]:
        request.background(done.set)
        try:
            while True:
                begun.set()
                yield b"x" * 100
                await asyncio.sleep(0)
        finally:
            gone.set()

    with serve(app).stream("GET", "/"):
        assert begun.wait(10)
    assert gone.wait(10)
    assert done.wait(10)


@pytest.mark.parametrize("wire", LIVE)
def test_work_is_not_cut_short_where_the_client_may_leave_its_handler(serve: Callable[[App], Any]) -> None:
    app, begun, go_on, ends = App(), threading.Event(), threading.Event(), []
    over = threading.Event()

    async def waits() -> None:
        begun.set()
        try:
            await asyncio.to_thread(go_on.wait, 10)
            ends.append("done")
        finally:
            over.set()

    @app.get("/", cancel_on_disconnect=True)
    async def handler(request: Request) -> str:
        request.background(waits)
        return "answered"

    url = serve(app).base_url
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(10)
    go_on.set()
    assert over.wait(10)
    assert ends == ["done"]


def test_work_sees_the_context_of_its_request() -> None:
    app, name, seen = App(), ContextVar("name", default="nobody"), []

    def in_thread() -> None:
        seen.append(name.get())

    async def on_loop() -> None:
        seen.append(name.get())

    @app.get("/{who}")
    async def handler(request: Request, who: str) -> str:
        name.set(who)
        request.background(in_thread)
        request.background(on_loop)
        return who

    client = TestClient(app)
    client.get("/ada")
    client.get("/bob")
    assert seen == ["ada", "ada", "bob", "bob"]


def test_middleware_and_hooks_may_leave_work_too() -> None:
    app, done = App(), []

    @app.middleware
    async def watch(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        request.background(done.append, f"answered {response.status_code}")
        return response

    @app.before_request
    def note(request: Request) -> None:
        request.background(done.append, "asked")

    TestClient(app).get("/nowhere")
    assert done == ["asked", "answered 404"]
