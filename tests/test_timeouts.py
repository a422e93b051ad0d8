"""How long a handler may take: `timeout=` of a route, on every wire, and the server's `handler_timeout`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from http1_wire import SECOND, Application, Wire, turns, until
from wires import WIRES, connected

from weebill import App, Request, Response, Router
from weebill.errors import ClientDisconnected, ConfigurationError, HandlerTimeout
from weebill.exchange import Exchange, Intake
from weebill.server.memory import MemoryExchange

SHORT = 0.05  # seconds, where a test waits for a real clock


class TravelLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be moved."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def asked(app: App, seconds: float, target: str = "/") -> MemoryExchange:
    """The answer of `app` when this time passes behind the request."""

    async def main() -> MemoryExchange:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TravelLoop)
        exchange = MemoryExchange("GET", target)
        serving = asyncio.ensure_future(exchange.serve(app))
        await turns()
        loop.ahead += seconds
        await serving
        return exchange

    with asyncio.Runner(loop_factory=TravelLoop) as runner:
        return runner.run(main())


def slow_app(events: list[str], **options: Any) -> App:
    app = App(__name__)

    @app.get("/", timeout=5, **options)
    async def slow() -> str:
        try:
            await asyncio.sleep(7)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        return "at last"

    return app


def test_an_async_handler_is_cancelled_when_its_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []
    exchange = asked(slow_app(events), 5)
    assert (exchange.status, events) == (503, ["cancelled"])
    assert b"no answer within 5 seconds" in b"".join(exchange.pieces)
    (record,) = caplog.records
    assert "failed in slow" in record.getMessage()
    assert record.exc_info is None


def test_a_handler_that_is_in_time_is_let_be() -> None:
    app = App(__name__)

    @app.get("/", timeout=5)
    async def slow() -> str:
        await asyncio.sleep(4)
        return "in time"

    exchange = asked(app, 4)
    assert (exchange.status, exchange.pieces) == (200, [b"in time"])


@pytest.mark.parametrize("wire", WIRES)
def test_a_def_handler_is_left_alone_and_its_client_answered(wire: str) -> None:
    app, go_on, ended = App(__name__), threading.Event(), threading.Event()

    @app.get("/", timeout=0.3)  # in which it gets a thread on a busy machine too
    def slow() -> str:
        go_on.wait(10)
        ended.set()
        return "too late"

    @app.get("/other", timeout=10)
    def other() -> str:
        return "ok"

    with connected(app, wire) as client:
        assert client.get("/").status_code == 503
        assert client.get("/other").text == "ok"
        go_on.set()
        assert ended.wait(10)
        assert client.get("/other").text == "ok"


def test_a_timeout_takes_the_path_of_every_error() -> None:
    events: list[str] = []
    app = slow_app(events)
    api = Router()

    @api.get("/api", timeout=5)
    async def slow() -> str:
        await asyncio.sleep(7)
        return ""

    @api.errorhandler(HandlerTimeout)
    def too_slow(error: HandlerTimeout) -> tuple[str, int]:
        return f"not in {error.seconds:g}s", 504

    @app.before_request
    async def begin() -> None:
        events.append("before")

    @app.after_request
    def end(response: Response) -> None:
        response.headers["x-after"] = "yes"

    app.include(api)
    for target, status in (("/", 503), ("/api", 504)):
        exchange = asked(app, 6, target)
        assert exchange.status == status
        assert (b"x-after", b"yes") in exchange.answer_fields
    assert exchange.pieces == [b"not in 5s"]


def test_a_timeout_error_of_the_handlers_own_is_an_error_like_any_other() -> None:
    app, taken = App(__name__), []

    @app.get("/", timeout=5)
    async def fail() -> None:
        raise TimeoutError("of a database")

    @app.errorhandler(TimeoutError)
    def take(error: TimeoutError) -> tuple[str, int]:
        taken.append(str(error))
        return "", 502

    assert asked(app, 0).status == 502
    assert taken == ["of a database"]


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    app = App(__name__)
    with pytest.raises(ConfigurationError, match=r"handler .+ is .+; it is a number of seconds above 0"):

        @app.get("/x", timeout=timeout)
        async def handler() -> None: ...


def test_a_timeout_of_a_generator_is_refused() -> None:
    app = App(__name__)
    with pytest.raises(ConfigurationError, match=r"stream .+ at '/x' is a generator, which has no timeout"):

        @app.get("/x", timeout=1)
        async def stream() -> AsyncIterator[str]:
            yield ""


# -- the server's own


async def never(exchange: Exchange) -> None:
    await asyncio.Event().wait()


def test_the_server_answers_for_an_application_that_does_not_begin_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        wire = Wire(Application(never), handler_timeout=3)
        wire.send(SECOND + SECOND)
        await wire.pass_time(3)
        assert wire.sent == b""
        await wire.pass_time(1)
        (answer,) = wire.answers()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert answer.content == b"There was no answer within 3 seconds.\n"
        assert wire.app.cancelled == 1
        assert wire.transport.shut

    asyncio.run(main())


def test_the_time_of_a_handler_begins_when_its_request_is_complete() -> None:
    async def main() -> None:
        wire = Wire(Application(never), handler_timeout=3)
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n")
        for _ in range(4):
            wire.send(b"x" * 1000)
            await wire.pass_time(1)
        await wire.pass_time(2)
        assert wire.sent == b""
        await wire.pass_time(1)
        assert wire.answers()[0].status == 503

    asyncio.run(main())


def test_an_answer_that_has_begun_may_last() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await never(exchange)

    async def main() -> None:
        wire = Wire(Application(begin), handler_timeout=3)
        wire.send(SECOND)
        await wire.pass_time(100)
        assert not wire.transport.ended

    asyncio.run(main())


def test_an_application_that_answers_although_it_was_cancelled_is_heard() -> None:
    async def stubborn(exchange: Exchange) -> None:
        try:
            await never(exchange)
        except asyncio.CancelledError:
            await exchange.respond(504, [], b"sorry")

    async def main() -> None:
        wire = Wire(Application(stubborn), handler_timeout=3)
        wire.send(SECOND)
        await wire.pass_time(4)
        (answer,) = wire.answers()
        assert (answer.status, answer.content) == (504, b"sorry")
        await wire.pass_time(10)
        wire.send(SECOND)
        await wire.pass_time(4)
        assert [answer.status for answer in wire.answers()] == [504, 504]

    asyncio.run(main())


def test_a_handler_that_runs_out_of_time_before_it_has_begun_is_answered_for() -> None:
    async def main() -> None:
        wire = Wire(Application(never), handler_timeout=1)
        wire.send(SECOND + SECOND)  # the second of them is begun in a later turn, whatever Python this is
        wire.clock.time += 3  # something blocked the loop, and the sweep is in the turn of the request
        wire.state.tick()
        await turns()
        (answer,) = wire.answers()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert wire.transport.shut
        assert wire.connection.exchange is None

    asyncio.run(main())


def test_the_servers_own_limit_holds_for_an_app_too() -> None:
    app, cancelled = App(__name__), []

    @app.get("/second")
    async def slow(request: Request) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(request.path)
        return ""

    async def main() -> None:
        wire = Wire(app, handler_timeout=3)  # type: ignore[arg-type]
        wire.send(SECOND)
        await until(lambda: wire.connection._task is not None)
        await wire.pass_time(4)
        assert wire.answers()[0].status == 503
        assert cancelled == ["/second"]

    asyncio.run(main())


# -- a client that goes in the middle


@pytest.mark.parametrize("wire", ["httptools", "h11"])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_stream_that_waits_is_ended_when_its_client_goes(wire: str, is_async: bool, caplog: Any) -> None:
    from live_client import Server

    app, ended, go_on = App(__name__), threading.Event(), threading.Event()

    @app.get("/async")
    async def stream() -> AsyncIterator[str]:
        try:
            yield "begun"
            await asyncio.Event().wait()
        finally:
            ended.set()

    @app.get("/def")
    def stream_in_thread() -> Any:
        try:
            yield "begun"
            go_on.wait(10)
            yield "more"
        finally:
            ended.set()

    with caplog.at_level(logging.INFO), Server(app, http=wire) as server:
        client = server.client()
        client.ask("/async" if is_async else "/def")
        assert b"200 OK" in client.file.readline()
        client.reset()
        server.until(lambda: not server.connections)
        go_on.set()
        assert ended.wait(10)
    assert [r for r in caplog.records if r.levelno > logging.INFO or r.exc_info] == []


def test_a_stream_whose_client_has_shut_its_side_goes_on_while_it_says_something() -> None:
    async def chat(exchange: Exchange) -> None:
        await exchange.start(200, [])
        while not exchange.stopping.is_set():
            await exchange.write(b".")
            await said.wait()
            said.clear()

    async def main() -> None:
        nonlocal said
        said = asyncio.Event()
        wire = Wire(Application(chat), write_timeout=5)
        wire.send(SECOND)
        wire.send_eof()
        for _ in range(10):
            await wire.pass_time(4)
            said.set()
            await turns()
        assert not wire.transport.ended
        await wire.pass_time(6)
        assert not wire.transport.ended
        await wire.pass_time(1)
        assert wire.transport.aborted
        said.set()
        await turns()
        assert [type(failure) for failure in wire.app.failures] == [ClientDisconnected]

    said: asyncio.Event
    asyncio.run(main())


def test_a_silent_stream_whose_client_listens_may_be_silent_for_ever() -> None:
    async def main() -> None:
        wire = Wire(Application(never), write_timeout=5)
        wire.send(SECOND)
        await wire.pass_time(1000)
        assert not wire.transport.ended

    asyncio.run(main())


def test_a_handler_that_thinks_long_is_waited_for_although_its_client_has_shut_its_side() -> None:
    async def main() -> None:
        thought = asyncio.Event()

        async def think(exchange: Exchange) -> None:
            await thought.wait()
            await exchange.respond(200, [], b"ok")

        for intake in (Intake(), Intake(stream=True)):
            thought.clear()
            wire = Wire(Application(think, intake), write_timeout=5)
            wire.send(SECOND)
            wire.send_eof()
            await wire.pass_time(100)
            thought.set()
            await turns()
            assert wire.answers()[0].content == b"ok"

    asyncio.run(main())


@pytest.mark.parametrize("behind", [b"x" * 200_000, b"x", b""])
def test_a_client_that_keeps_its_content_back_does_not_prolong_the_time_of_a_handler(behind: bytes) -> None:
    async def main() -> None:
        wire = Wire(Application(never, Intake(stream=True)), handler_timeout=3, body_rate=0)
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + behind)
        await wire.pass_time(3)
        assert wire.sent == b""
        await wire.pass_time(1)
        assert wire.answers("POST")[0].status == 503
        assert wire.app.cancelled == 1

    asyncio.run(main())


def test_a_client_that_has_shut_its_side_is_asked_whether_it_still_listens() -> None:
    async def main() -> None:
        for gone in (True, False):
            go_on = asyncio.Event()

            async def think(exchange: Exchange, go_on: asyncio.Event = go_on) -> None:
                await go_on.wait()
                await exchange.respond(200, [], b"ok")

            wire = Wire(Application(think), write_timeout=5)
            wire.send(SECOND)
            wire.send_eof()
            await wire.pass_time(5)
            assert wire.sent == b""
            await wire.pass_time(1)
            assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
            if gone:
                wire.transport.reset()
                assert wire.state.connections == set()
            await wire.pass_time(6)
            go_on.set()
            await turns()
            if not gone:
                assert wire.answers()[0].interim == [100, 100]
                assert wire.answers()[0].content == b"ok"

    asyncio.run(main())


def test_a_client_of_1_0_gets_no_interim_answer_for_that() -> None:
    async def main() -> None:
        wire = Wire(Application(never), write_timeout=5)
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        wire.send_eof()
        await wire.pass_time(100)
        assert wire.sent == b""

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_handler_that_waits_for_its_client_to_go_is_told_of_a_plain_close(loop: str) -> None:
    from live_client import Programs, Server

    told = threading.Event()

    async def watch(exchange: Exchange) -> None:
        await exchange.disconnected()
        told.set()

    with Server(Programs(watch=watch), loop=loop, write_timeout=0.0) as server:
        with server.client() as client:
            client.ask("/watch")
            server.until(lambda: server.connections and server.connections[0].exchange)
        assert told.wait(10)
        server.until(lambda: not server.connections)


def test_limits_of_a_route_may_be_written_as_in_the_settings() -> None:
    app = App(__name__)

    @app.post("/", max_body="1KiB", timeout="5s")
    async def handler() -> str:
        return "ok"

    (route,) = app.routes
    assert (route.intake.max_body, route.timeout) == (1024, 5.0)
    for options, words in (({"max_body": "much"}, "'much' is no size"), ({"timeout": "long"}, "no duration")):
        with pytest.raises(ConfigurationError, match=words):
            app.get("/x", **options)(handler)


def test_content_that_is_streamed_is_not_empty_by_mistake(caplog: pytest.LogCaptureFixture) -> None:
    app = App(__name__)

    @app.post("/", stream=True)
    async def read(request: Request) -> bytes:
        return request.body

    with connected(app, "memory") as client:
        assert client.post("/", content=b"abc").status_code == 500
    assert "request.body is not gathered on a route with stream=True" in caplog.text
