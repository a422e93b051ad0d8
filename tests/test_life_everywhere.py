"""The life of an application and of its connections, on every wire."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from wires import LIVE, connected

from weebill import App

# -- the life of an application


def test_startup_and_shutdown_run_in_their_order(wire: str) -> None:
    order: list[str] = []
    app, inner = App(), App()

    @app.lifespan
    async def lifespan(app: App) -> AsyncIterator[None]:
        order.append("lifespan begins")
        yield
        order.append("lifespan ends")

    for name in ("a", "b"):
        app.on_startup(lambda name=name: order.append(f"startup {name}"))
        app.on_shutdown(lambda name=name: order.append(f"shutdown {name}"))

    @inner.on_startup
    async def inner_startup() -> None:
        order.append("inner startup")

    @inner.on_shutdown
    async def inner_shutdown() -> None:
        order.append("inner shutdown")

    @app.get("/")
    async def index() -> str:
        order.append("request")
        return ""

    app.mount("/inner", inner)
    with connected(app, wire) as client:
        client.get("/")
    assert order == [
        "inner startup",
        "lifespan begins",
        "startup a",
        "startup b",
        "request",
        "shutdown b",
        "shutdown a",
        "lifespan ends",
        "inner shutdown",
    ]


def test_a_lifespan_begins_and_ends_in_one_context(wire: str) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[Any] = []

    async def lifespan(app: App) -> AsyncIterator[None]:
        task, token = asyncio.current_task(), variable.set("open")
        yield
        seen.append(asyncio.current_task() is task)
        seen.append(variable.get())
        variable.reset(token)
        seen.append("closed")

    app = App()
    app.lifespan(lifespan)
    with connected(app, wire) as client:
        assert client.get("/").status_code == 404
    assert seen == [True, "open", "closed"]


@pytest.mark.parametrize("decorated", [False, True])
def test_a_lifespan_may_be_given_to_the_app_and_be_decorated_already(decorated: bool) -> None:
    seen: list[Any] = []

    async def lifespan(app: App) -> AsyncIterator[None]:
        seen.append(app)
        yield
        seen.append("end")

    given: Any = asynccontextmanager(lifespan) if decorated else lifespan
    first, second = App(lifespan=given), App()
    second.lifespan(given)
    for app in (first, second):
        with connected(app, "memory"):
            assert seen == [app]
        assert seen.pop() == "end"
        seen.clear()


def test_routes_and_hooks_may_come_after_the_start(serve: Callable[[App], Any]) -> None:
    app = App()
    client = serve(app)
    assert client.get("/late").status_code == 404
    app.get("/late")(lambda: "late")
    assert client.get("/late").text == "late"

    @app.after_request
    def stamp(response: Any) -> None:
        response.headers["x-late"] = "yes"

    assert client.get("/late").headers["x-late"] == "yes"
    assert client.get("/nowhere").headers["x-late"] == "yes"


# -- on real sockets; test_memory.py has the like for MemoryExchange


@pytest.mark.parametrize("wire", LIVE)
def test_each_piece_of_a_stream_comes_before_the_next_is_made(serve: Callable[[App], Any]) -> None:
    app, arrived = App(), threading.Event()

    @app.get("/slow")
    def slow() -> Iterator[str]:
        yield "first"
        yield "second" if arrived.wait(10) else "too late"

    with serve(app).stream("GET", "/slow") as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "first"
        arrived.set()
        assert list(pieces) == ["second"]


@pytest.mark.parametrize("wire", LIVE)
def test_a_stream_is_closed_when_its_client_goes(serve: Callable[[App], Any]) -> None:
    app, closed = App(), threading.Event()

    @app.get("/endless")
    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.set()

    with serve(app).stream("GET", "/endless") as answer:
        assert next(answer.iter_raw())
    assert closed.wait(10)


@pytest.mark.parametrize("wire", LIVE)
def test_a_handler_is_cancelled_when_its_client_goes_if_it_says_so(serve: Callable[[App], Any]) -> None:
    app, began, cancelled = App(), threading.Event(), threading.Event()

    @app.get("/long", cancel_on_disconnect=True)
    async def long() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    url = serve(app).base_url
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert began.wait(10)
    assert cancelled.wait(10)
