"""Server-sent events, from an Event to a client that reads them, on every wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest
from http1_wire import until
from hypothesis import given
from hypothesis import strategies as st
from live_client import Server
from wires import LIVE

from weebill import (
    App,
    Event,
    EventStream,
    Request,
    Response,
    StreamingResponse,
    TestClient,
    abort,
    event_stream,
)
from weebill.errors import ClientDisconnected, ReturnValueError
from weebill.server.memory import MemoryExchange


@pytest.fixture(autouse=True)
def _opens_with_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a head goes out with the first event and not before it."""
    monkeypatch.setattr(event_stream, "OPENS_AFTER", 3600)


@pytest.fixture
def opens_at_once(monkeypatch: pytest.MonkeyPatch, _opens_with_an_event: None) -> None:
    """A head goes out before the first event of a silent source."""
    monkeypatch.setattr(event_stream, "OPENS_AFTER", 0)


def read_events(content: bytes) -> list[dict[str, str]]:
    """What a browser makes of a stream (WHATWG HTML, section 9.2.6)."""
    events: list[dict[str, str]] = []
    data: list[str] = []
    event: dict[str, str] = {}
    last_id = ""
    text = content.decode().replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                events.append({**event, "data": "\n".join(data), "id": last_id})
            event, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name in ("event", "retry"):
            event[name] = value
    return events


# -- one event


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_arrives_as_it_was_whatever_is_in_it(text: str) -> None:
    [event] = read_events(Event(text, id="7", comment=text).encode())
    assert event == {"data": text.replace("\r\n", "\n").replace("\r", "\n"), "id": "7"}


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (Event("a\r\nb\rc\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (Event("a\n"), "data: a\ndata: \n\n"),
        (Event(""), "data: \n\n"),
        (Event("a\x0bb\u2028c\x85d"), "data: a\x0bb\u2028c\x85d\n\n"),
        (Event({"a": [1, None, "é\n"]}), 'data: {"a":[1,null,"é\\n"]}\n\n'),
        (Event(7), "data: 7\n\n"),
        (Event(False), "data: false\n\n"),
        (Event("x", event="seen", id=3, retry=1000, comment="hm"),
         ": hm\nevent: seen\nid: 3\nretry: 1000\ndata: x\n\n"),
        (Event(comment="a\nb: c"), ": a\n: b: c\n\n"),
        (Event(id=""), "id: \n\n"),
        (Event(retry=0), "retry: 0\n\n"),
    ],
)  # fmt: skip
def test_an_event_is_written_as_the_format_has_it(event: Event, lines: str) -> None:
    assert event.encode().decode() == lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": "x", "event": "a\nb"}, "name 'a\\\\nb' of an event holds a line end"),
        ({"data": "x", "event": "a\rdata: b"}, "line end"),
        ({"data": "x", "id": "1\n2"}, "line end or a NUL"),
        ({"data": "x", "id": "1\0"}, "line end or a NUL"),
        ({"data": "x", "retry": -1}, "whole number of milliseconds"),
        ({"data": "x", "retry": 1.5}, "whole number of milliseconds"),
        ({"data": "x", "retry": True}, "whole number of milliseconds"),
        ({"data": b"x"}, "not bytes"),
        ({}, "an event of nothing"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Event(**arguments)


@pytest.mark.parametrize("options", [{"ping": 0}, {"ping": -1.0}, {"retry": -5}, {"retry": "1s"}])
def test_a_stream_with_a_senseless_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it is a"):
        EventStream([], **options)


# -- streams that end, on every wire


async def three() -> AsyncIterator[Any]:
    yield Event("one", id=1)
    yield {"two": 2}
    yield "three\nlines"


def three_in_threads() -> Iterator[Any]:
    yield Event("one", id=1)
    assert threading.current_thread().name.startswith("weebill-worker")
    yield {"two": 2}
    yield "three\nlines"


@dataclass
class Stream:
    """A handler that cannot be hashed."""

    name: str

    async def __call__(self) -> AsyncIterator[Event]:
        yield Event(self.name)


def test_an_object_may_be_the_handler_of_a_stream() -> None:
    app = App()
    app.add_route("/", Stream("weebill"))
    answer = TestClient(app).get("/")
    assert (answer.headers["content-type"], answer.text) == ("text/event-stream", "data: weebill\n\n")


def app_of_streams() -> App:
    app = App(__name__)

    @app.get("/annotated")
    async def annotated() -> AsyncIterator[Event]:
        async for value in three():
            yield value if isinstance(value, Event) else Event(value)

    @app.get("/annotated-in-thread")
    def annotated_in_thread() -> Iterator[Event | str]:
        yield from three_in_threads()

    @app.get("/bare")
    async def bare():  # type: ignore[no-untyped-def]
        async for value in three():
            yield value

    app.get("/async")(lambda: EventStream(three()))
    app.get("/plain")(lambda: EventStream(three_in_threads()))
    app.get("/tuple")(lambda: (EventStream(three()), 200, {"x-more": "yes"}))
    return app


def test_every_way_to_make_a_stream_gives_the_same_stream(serve: Callable[[App], Any]) -> None:
    client = serve(app_of_streams())
    for path in ("/annotated", "/annotated-in-thread", "/bare", "/async", "/plain", "/tuple"):
        answer = client.get(path)
        assert answer.content == b'id: 1\ndata: one\n\ndata: {"two":2}\n\ndata: three\ndata: lines\n\n', path
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == "text/event-stream"
    assert client.get("/tuple").headers["x-more"] == "yes"


def test_fields_of_its_own_go_before_those_of_the_kind(serve: Callable[[App], Any]) -> None:
    app = App()
    app.get("/")(lambda: EventStream(["x"], 202, {"Cache-Control": "private"}, retry=2000))
    answer = serve(app).get("/")
    assert (answer.status_code, answer.headers["cache-control"]) == (202, "private")
    assert answer.content == b"retry: 2000\n\ndata: x\n\n"


def test_a_stream_of_nothing_is_an_empty_answer(serve: Callable[[App], Any]) -> None:
    app = App()
    app.get("/")(lambda: EventStream([]))
    answer = serve(app).get("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream"


def test_an_error_before_the_first_event_is_a_proper_answer(serve: Callable[[App], Any]) -> None:
    app = App()

    @app.get("/")
    async def guarded() -> AsyncIterator[Event]:
        await asyncio.sleep(0)
        abort(403, "Not for you.")
        yield Event("never")

    client = serve(app)
    assert client.get("/").json() == {"title": "Forbidden", "status": 403, "detail": "Not for you."}
    assert client.head("/").status_code == 403


@pytest.mark.parametrize("value", [None, b"data: x", object()])
def test_what_is_no_event_breaks_the_stream_off(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.get("/first")(lambda: EventStream([value]))
    app.get("/later")(lambda: EventStream(["x", value]))
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/first").status_code == 500
    with pytest.raises(ConnectionError):
        client.get("/later")
    assert len([r for r in caplog.records if r.name == "weebill"]) == 2


def test_events_and_bare_pieces_do_not_mix() -> None:
    async def mixed() -> AsyncIterator[Any]:
        yield "text first"
        yield Event("x")

    exchange = MemoryExchange("GET", "/")
    with pytest.raises(ReturnValueError, match="a stream gave Event; pieces are str or bytes"):
        asyncio.run(StreamingResponse(mixed()).send(exchange))


@pytest.mark.parametrize(("sent", "read"), [("7", "7"), ("ü".encode().decode("latin-1"), "ü"), (None, None)])
def test_the_last_event_that_a_client_had_is_known(sent: str | None, read: str | None) -> None:
    app, seen = App(), []
    app.get("/")(lambda request: seen.append(request.last_event_id))
    TestClient(app).get("/", headers={} if sent is None else {"Last-Event-ID": sent})
    assert seen == [read]


# -- streams that go on


def test_a_source_runs_in_the_context_and_the_task_of_its_request() -> None:
    app, seen = App(), ContextVar("seen", default="nothing")
    tasks = set()

    @app.get("/")
    async def stream() -> AsyncIterator[Event]:
        token = seen.set("set")
        for _ in range(3):
            tasks.add(asyncio.current_task())
            async with asyncio.timeout(10):
                yield Event(seen.get())
        seen.reset(token)

    assert TestClient(app).get("/").text == "data: set\n\n" * 3
    assert len(tasks) == 1


@pytest.mark.usefixtures("opens_at_once")
@pytest.mark.parametrize("wire", LIVE)
@pytest.mark.parametrize("is_async", [True, False])
def test_a_silent_stream_opens_and_pings_and_loses_nothing(
    serve: Callable[[App], Any], is_async: bool
) -> None:
    app, go_on, closed = App(), threading.Event(), threading.Event()

    async def source() -> AsyncIterator[str]:
        try:
            await asyncio.to_thread(go_on.wait, 10)
            yield "at last"
        finally:
            closed.set()

    def source_in_thread() -> Iterator[str]:
        try:
            go_on.wait(10)
            yield "at last"
        finally:
            closed.set()

    app.get("/")(lambda: EventStream(source() if is_async else source_in_thread(), ping=0.005))
    with serve(app).stream("GET", "/") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)] == [":", "", ":", ""]
        go_on.set()
        assert "data: at last" in list(lines)
    assert closed.wait(10)


@pytest.mark.usefixtures("opens_at_once")
@pytest.mark.parametrize("wire", LIVE)
def test_a_silent_source_is_closed_when_its_client_goes(serve: Callable[[App], Any]) -> None:
    app, ended = App(), threading.Event()

    async def silent() -> AsyncIterator[Event]:
        try:
            yield Event("begun")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # it may take its time to end well
            ended.set()

    app.get("/")(lambda: EventStream(silent(), ping=0.005))
    with serve(app).stream("GET", "/") as answer:
        assert next(line for line in answer.iter_lines() if line not in (":", "")) == "data: begun"
    assert ended.wait(10)


@pytest.mark.usefixtures("opens_at_once")
def test_a_source_that_never_speaks_is_closed_when_its_client_goes() -> None:
    async def main() -> None:
        exchange, closed = MemoryExchange("GET", "/"), asyncio.Event()

        async def silent() -> AsyncIterator[str]:
            try:
                await asyncio.Event().wait()
                yield "never"
            finally:
                closed.set()

        sending = asyncio.ensure_future(EventStream(silent()).send(exchange))
        await until(lambda: exchange.started)
        exchange.disconnect()
        with pytest.raises(ClientDisconnected):
            await sending
        assert closed.is_set()

    asyncio.run(main())


@pytest.mark.usefixtures("opens_at_once")
def test_head_waits_for_no_event() -> None:
    async def silent() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "never"

    app = App()
    app.get("/")(lambda: EventStream(silent()))
    head = TestClient(app).head("/")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_stream_ends_well_when_the_server_stops(http: str, stubborn: bool) -> None:
    app, ended = App(), threading.Event()

    @app.get("/")
    async def stream() -> AsyncIterator[Event]:
        try:
            while True:
                yield Event("begun")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if not stubborn:
                        raise
        finally:
            ended.set()

    with Server(app, http=http) as server, server.client() as client:
        client.ask("/")
        for line in iter(client.file.readline, b"data: begun\n"):
            assert line
        server.begin_stop()
        assert client.file.read().endswith(b"0\r\n\r\n")  # the end of the content, and then of the connection
        assert ended.wait(10)


def test_a_plain_source_that_is_in_a_thread_is_left_behind_when_the_server_stops() -> None:
    app, go_on, closed = App(), threading.Event(), threading.Event()

    @app.get("/")
    def stream() -> Iterator[Event]:
        try:
            yield Event("begun")
            go_on.wait(10)
            yield Event("too late")
        finally:
            closed.set()

    with Server(app) as server, server.client() as client:
        client.ask("/")
        for line in iter(client.file.readline, b"data: begun\n"):
            assert line
        server.begin_stop()
        rest = client.file.read()
        assert rest.endswith(b"0\r\n\r\n")
        assert b"too late" not in rest
        go_on.set()
        assert closed.wait(10)


def test_a_handlers_own_dependencies_on_the_request_work_in_a_stream() -> None:
    app = App()

    @app.get("/from/{first:int}")
    async def count(request: Request, first: int) -> AsyncIterator[Event]:
        start = int(request.last_event_id or first)
        for number in range(start, start + 2):
            yield Event(number, id=number)

    client = TestClient(app)
    assert [e["id"] for e in read_events(client.get("/from/3").content)] == ["3", "4"]
    again = client.get("/from/3", headers={"last-event-id": "9"}).content
    assert [e["data"] for e in read_events(again)] == ["9", "10"]


def test_a_stream_that_turns_out_to_be_of_events_keeps_each_cookie() -> None:
    app = App()

    @app.get("/")
    async def events() -> Any:
        yield Event("a")

    @app.after_request
    def remember(response: Response) -> None:
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")

    answer = TestClient(app).get("/")
    assert answer.headers["content-type"] == "text/event-stream"
    assert [line.partition(";")[0] for line in answer.headers.getlist("set-cookie")] == ["a=1", "b=2"]
