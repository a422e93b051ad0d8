"""The client's side of a request that takes its time: streams, leaving, and the clock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from weebill import App, Request, StreamingResponse
from weebill.errors import ClientDisconnected
from weebill.settings import Settings
from weebill.testing import TestClient

# -- streams


def test_pieces_arrive_while_the_handler_still_runs() -> None:
    app, wanted = App(), threading.Semaphore(0)

    @app.get("/")
    def numbers() -> Iterator[str]:
        for number in range(3):
            assert wanted.acquire(timeout=10)
            yield f"{number}\n"

    with TestClient(app).stream("GET", "/") as answer:
        wanted.release()
        assert answer.status_code == 200
        assert answer.reason_phrase == "OK"
        assert answer.headers["transfer-encoding"] == "chunked"
        pieces = answer.iter_bytes()
        assert next(pieces) == b"0\n"
        wanted.release()
        assert next(pieces) == b"1\n"
        wanted.release()
        assert list(pieces) == [b"2\n"]


def test_text_lines_and_events_are_put_together_across_pieces() -> None:
    app = App()

    @app.post("/", stream=True)
    async def echo(request: Request) -> StreamingResponse:
        return StreamingResponse(request.stream(), media_type="text/event-stream; charset=utf-8")

    def ask(content: str, size: int = 1) -> Any:
        data = content.encode()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        return TestClient(app).stream("POST", "/", content=iter(pieces))

    with ask("grün") as answer:
        assert "".join(answer.iter_text()) == "grün"
    with ask("one\r\ntwo\rthree\n\nlast") as answer:
        assert list(answer.iter_lines()) == ["one", "two", "three", "", "last"]
    with ask("one\r") as answer:
        assert list(answer.iter_lines()) == ["one"]
    content = ": ping\n\ndata: a\ndata:b\nevent: new\nid: 7\nretry: 100\n\nretry: x\ndata\n\ndata: lost"
    with ask(content, 5) as answer:
        first, second = answer.iter_events()
    assert (first.data, first.event, first.id, first.retry) == ("a\nb", "new", "7", 100)
    assert (second.data, second.event, second.id, second.retry) == ("", "message", "7", None)


def test_the_rest_of_a_stream_is_a_result() -> None:
    app = App()
    app.get("/")(lambda: {"a": 1})
    with TestClient(app).stream("GET", "/") as answer:
        result = answer.read()
    assert (result.status_code, result.json(), result.url) == (200, {"a": 1}, "http://testserver/")


def test_a_handler_does_not_run_far_ahead_of_the_test() -> None:
    app, made = App(), 0

    @app.get("/")
    async def much() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield bytes(1 << 14)

    client = TestClient(app)
    with client.stream("GET", "/") as answer:
        client.travel(0)  # when this returns, the handler rests
        assert made == 5
        assert len(next(answer.iter_bytes())) == 1 << 14


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_client_that_leaves_early_ends_the_stream(kind: str) -> None:
    app, closed = App(), threading.Event()

    @app.get("/async")
    async def on_loop() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(3600)
        finally:
            closed.set()

    @app.get("/thread")
    def in_thread() -> Iterator[str]:
        try:
            while True:
                yield "x" * 100_000
        finally:
            closed.set()

    with TestClient(app).stream("GET", f"/{kind}") as answer:
        assert next(answer.iter_bytes()).startswith(b"x")
        assert not closed.is_set()
    assert closed.wait(0 if kind == "async" else 10)  # a thread may be on its way to the end


def test_a_handler_is_told_that_its_client_has_left() -> None:
    app = App()
    log: list[str | bytes] = []
    gone, first_is_read = threading.Event(), threading.Semaphore(0)

    @app.get("/wait")
    async def wait(request: Request) -> str:
        await request.exchange.disconnected()
        log.append("told")
        return "nobody reads it"

    @app.get("/cancel", cancel_on_disconnect=True)
    async def cancel() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        return "too late"

    @app.post("/read", stream=True)
    async def read(request: Request) -> str:
        log.append(await request.exchange.read())
        with pytest.raises(ClientDisconnected):
            await request.exchange.read()
        log.append("told too")
        return "nobody reads it"

    def content() -> Iterator[bytes]:
        yield b"first"
        first_is_read.release()
        gone.wait(10)
        yield b"second"

    client = TestClient(app)
    with client.stream("GET", "/wait") as answer:
        client.travel(0)
    with client.stream("GET", "/cancel"):
        client.travel(0)
    with client.stream("POST", "/read", content=content()):
        assert first_is_read.acquire(timeout=10)
    gone.set()
    assert log == ["told", "cancelled", b"first", "told too"]
    with pytest.raises(ConnectionError, match="GET http://testserver/wait broke off"):
        _ = answer.status_code


def test_a_handler_that_stays_when_its_client_has_left_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weebill.testing_results.LEAVING", 0.05)
    app = App()

    @app.get("/")
    async def stubborn() -> None:
        await asyncio.sleep(3600)

    answer = TestClient(app).stream("GET", "/")
    with pytest.raises(TimeoutError, match="GET http://testserver/ is still at work"):
        answer.close()


def test_a_client_that_ends_takes_its_streams_with_it() -> None:
    app, log = App(), []
    app.on_shutdown(lambda: log.append("shutdown"))

    @app.get("/")
    async def endless(request: Request) -> AsyncIterator[str]:
        try:
            yield "x"
            await request.stopping.wait()
            log.append("stopping")
            yield "y"
        finally:
            log.append("closed")

    with TestClient(app) as client:
        answer = client.stream("GET", "/")
        assert next(answer.iter_bytes()) == b"x"
    assert log in (["stopping", "closed", "shutdown"], ["closed", "shutdown"])


def test_cookies_of_a_stream_are_kept() -> None:
    app = App()
    app.get("/")(lambda: ("", 200, {"set-cookie": "a=1"}))
    client = TestClient(app)
    with client.stream("GET", "/") as answer:
        assert answer.cookies == {"a": "1"}
    assert client.cookies.get("a") == "1"


# -- exceptions in streams


def test_what_a_handler_raises_is_raised_where_the_test_reads() -> None:
    app = App()

    @app.get("/at-once")
    async def at_once() -> str:
        raise ZeroDivisionError("at once")

    @app.get("/later")
    async def later() -> AsyncIterator[str]:
        yield "some"
        raise ZeroDivisionError("later")

    @app.get("/leaving")
    async def leaving() -> AsyncIterator[str]:
        try:
            yield "some"
            await asyncio.sleep(3600)
        finally:
            raise ZeroDivisionError("leaving")

    client = TestClient(app)
    with pytest.raises(ZeroDivisionError, match="at once"), client.stream("GET", "/at-once") as answer:
        _ = answer.status_code
    with client.stream("GET", "/later") as answer:
        assert answer.status_code == 200
        with pytest.raises(ZeroDivisionError, match="later"):
            answer.read()
    client.raise_server_exceptions = False
    with pytest.raises(ConnectionError, match="after 4 bytes"):
        client.stream("GET", "/later").read()
    assert client.stream("GET", "/at-once").status_code == 500
    client.raise_server_exceptions = True
    answer = client.stream("GET", "/leaving")
    assert next(answer.iter_bytes()) == b"some"
    with pytest.raises(ZeroDivisionError, match="leaving"):
        answer.close()


# -- the clock


def test_time_travels_to_the_limit_of_a_route() -> None:
    app = App()

    @app.get("/loop", timeout="5s")
    async def loop() -> str:
        await asyncio.sleep(3600)
        return "late"

    release = threading.Event()

    @app.get("/thread", timeout="5s")
    def thread() -> str:
        release.wait(10)
        return "late"

    began = time.monotonic()
    client = TestClient(app)
    for path in ("/loop", "/thread"):
        with client.stream("GET", path) as answer:
            client.travel(4.9)
            assert not answer.is_complete
            client.travel(0.1)
            assert answer.is_complete
            assert (answer.status_code, answer.read().json()["status"]) == (503, 503)
    release.set()
    assert time.monotonic() - began < 4  # nobody has waited five seconds


def test_timers_fire_in_order_each_at_its_time_and_what_they_wake_comes_to_rest() -> None:
    app, log = App(), []

    async def ticking(name: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(3):
            await asyncio.sleep(seconds)
            await asyncio.sleep(0)
            log.append((name, round(loop.time() - began)))

    @app.get("/")
    async def index() -> str:
        await asyncio.gather(ticking("a", 10), ticking("b", 15))
        return "done"

    client = TestClient(app)
    with client.stream("GET", "/") as answer:
        client.travel(29)
        assert log == [("a", 10), ("b", 15), ("a", 20)]
        client.travel(1000)
        assert log[3:] == [("b", 30), ("a", 30), ("b", 45)] or log[3:] == [("a", 30), ("b", 30), ("b", 45)]
        assert answer.read().text == "done"


def test_time_waits_for_threads_that_come_to_an_end() -> None:
    app = App()
    app.before_request(lambda: time.sleep(0.02))

    @app.get("/", timeout=5)
    async def index() -> str:
        await asyncio.sleep(3600)
        return "late"

    client = TestClient(app)
    with client.stream("GET", "/") as answer:
        client.travel(5)
        assert answer.is_complete
        assert answer.status_code == 503


def test_the_servers_limit_on_handlers_is_kept_too() -> None:
    app = App()

    @app.get("/{way}")
    async def index(way: str) -> Any:
        if way == "stream":
            return StreamingResponse(slowly())
        await asyncio.sleep(3600)
        return "late"

    async def slowly() -> AsyncIterator[str]:
        yield "begun"
        await asyncio.sleep(100)
        yield " and done"

    client = TestClient(app, settings=Settings(handler_timeout=7))
    with client.stream("GET", "/wait") as answer:
        client.travel(7)
        assert answer.status_code == 503
        assert answer.headers["connection"] == "close"
        assert answer.read().text == "There was no answer within 7 seconds.\n"
    with client.stream("GET", "/stream") as answer:
        client.travel(100)
        assert answer.read().text == "begun and done"


def test_time_goes_forward_only_and_not_from_inside() -> None:
    app = App()
    client = TestClient(app, raise_server_exceptions=True)

    @app.get("/")
    async def index() -> None:
        client.travel(1)

    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError, match="forward only"):
            client.travel(seconds)
    with pytest.raises(RuntimeError, match="travel from the test"):
        client.get("/")


def test_two_threads_may_travel() -> None:
    client = TestClient(App())
    threads = [threading.Thread(target=client.travel, args=(10,)) for _ in range(4)]
    before = client._running().loop.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert client._running().loop.time() - before >= 40
