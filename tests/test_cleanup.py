"""The end of what dependencies have opened: what they are told, and that it comes, whatever happens."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from live_client import Server
from wires import BROKEN

from weebill import App, Depends, HTTPException, Request
from weebill.errors import QueueFull
from weebill.settings import Settings
from weebill.testing import LiveServer, TestClient
from weebill.threads import run_in_thread


class Transactions:
    """Two resources, one in the other, and what came of them."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.over = threading.Event()

    async def outer(self) -> AsyncIterator[str]:
        try:
            yield "outer"
        except BaseException as error:
            self.ends.append(f"outer undone: {type(error).__name__}")
            raise
        else:
            self.ends.append("outer done")
        finally:
            self.over.set()

    def inner(self) -> Iterator[str]:
        try:
            yield "inner"
        except BaseException as error:
            self.ends.append(f"inner undone: {type(error).__name__}")
            raise
        else:
            self.ends.append("inner done")

    def undone_by(self, name: str) -> bool:
        assert self.over.wait(10)
        return self.ends == [f"inner undone: {name}", f"outer undone: {name}"]


@pytest.fixture
def opened() -> Transactions:
    return Transactions()


def handled(opened: Transactions, handler: Callable[[], Any], **options: Any) -> App:
    app = App()

    @app.get("/", **options)
    async def answer(a: str = Depends(opened.outer), b: str = Depends(opened.inner)) -> Any:
        return await handler()

    return app


async def forever() -> None:
    await asyncio.Event().wait()


def test_a_handler_that_is_cut_short_by_the_server_is_not_taken_for_done(opened: Transactions) -> None:
    with TestClient(handled(opened, forever), settings=Settings(handler_timeout=5)) as client:
        with client.stream("GET", "/") as answer:
            client.travel(5)
            assert answer.status_code == 503
        assert opened.undone_by("CancelledError")


def test_a_handler_that_ends_with_its_client_is_not_taken_for_done(opened: Transactions) -> None:
    begun = threading.Event()

    async def begin() -> None:
        begun.set()
        await forever()

    with Server(handled(opened, begin, cancel_on_disconnect=True)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert begun.wait(10)
        assert opened.undone_by("CancelledError")


@pytest.mark.parametrize("wire", ["httptools", "h11"])  # other servers, and a test, end with it
def test_a_handler_that_ends_the_program_is_not_taken_for_done(
    opened: Transactions, serve: Callable[[App], Any]
) -> None:
    async def exits() -> None:
        sys.exit(3)

    assert serve(handled(opened, exits)).get("/").status_code == 500
    assert opened.undone_by("SystemExit")


def test_a_handler_that_waits_for_what_is_cancelled_fails_like_any_other(
    opened: Transactions, serve: Callable[[App], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def waits() -> None:
        task = asyncio.ensure_future(forever())
        task.cancel()
        await task

    client = serve(handled(opened, waits))
    assert client.get("/", headers={"accept": "application/json"}).json()["status"] == 500
    assert "something that it waited for was cancelled" in caplog.text
    assert opened.undone_by("RuntimeError")


def test_what_breaks_a_stream_is_told_to_what_it_used(
    opened: Transactions, serve: Callable[[App], Any]
) -> None:
    async def breaks() -> AsyncIterator[str]:
        yield "a piece"
        raise LookupError("there is no more")

    async def stream() -> Any:
        return breaks()

    with pytest.raises((*BROKEN, LookupError)):
        serve(handled(opened, stream)).get("/")
    assert opened.undone_by("LookupError")


def test_an_exception_keeps_its_traceback_through_the_clean_up(opened: Transactions) -> None:
    async def find_the_nest() -> None:
        raise LookupError("no nest")

    try:
        TestClient(handled(opened, find_the_nest)).get("/")
    except LookupError as error:
        frames = traceback.extract_tb(error.__traceback__)
        assert frames[-1].name == "find_the_nest"
    assert opened.undone_by("LookupError")


def test_an_http_exception_is_told_as_well(opened: Transactions) -> None:
    async def refuse() -> None:
        raise HTTPException(409)

    assert TestClient(handled(opened, refuse)).get("/").status_code == 409
    assert opened.undone_by("HTTPException")


# -- threads


def test_a_full_queue_keeps_nothing_from_being_closed_or_done() -> None:
    app, gate, closed, ends = App(), threading.Event(), threading.Event(), []

    async def fill_the_queue() -> None:
        with suppress(QueueFull):
            while True:
                run_in_thread(gate.wait, 10)

    def resource() -> Iterator[str]:
        yield "resource"
        ends.append("closed")
        closed.set()

    def pieces() -> Iterator[str]:
        try:
            yield "a"
            asyncio.run_coroutine_threadsafe(fill_the_queue(), loop).result(10)
            gate.set()
            yield "b"
        finally:
            ends.append("stream closed")

    @app.get("/")
    async def handler(request: Request, a: str = Depends(resource)) -> str:
        nonlocal loop
        loop = asyncio.get_running_loop()
        request.background(ends.append, "letter sent")
        await fill_the_queue()
        return "done"

    @app.get("/stream")
    def stream() -> Iterator[str]:
        return pieces()

    loop: Any = None
    with LiveServer(app, threads=1, thread_queue=1) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/").text == "done"
        gate.set()
        assert closed.wait(10)
        gate.clear()
        assert client.get("/stream").text == "ab"
    assert ends == ["letter sent", "closed", "stream closed"]


def test_what_a_def_handler_uses_is_closed_when_its_thread_has_done_with_it() -> None:
    app, ends = App(), []
    begun, gate, cancelled, closed = (threading.Event() for _ in range(4))

    async def outermost(request: Request) -> Any:
        request.background(cancelled.set)  # before anything is closed

    async def resource() -> AsyncIterator[str]:
        try:
            yield "resource"
        finally:
            ends.append("closed")
            closed.set()

    @app.get("/", cancel_on_disconnect=True)
    def handler(a: str = Depends(resource), b: None = Depends(outermost)) -> str:
        begun.set()
        gate.wait(10)
        ends.append("handler left")
        return a

    with Server(app) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert begun.wait(10)
        assert cancelled.wait(10)
        gate.set()
        assert closed.wait(10)
    assert ends == ["handler left", "closed"]
