"""weebill.dialects.tiny_listener. Annotations are real ones here, as in the programs it is for."""

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from wires import raw

from weebill import events
from weebill.dialects import tiny_listener
from weebill.dialects.tiny_listener import (
    Context,
    Data,
    Depends,
    Event,
    EventNotFound,
    HTTPListener,
    Listener,
    Param,
)
from weebill.errors import HTTPException
from weebill.responses import Response
from weebill.testing import TestClient

PROGRAM = Path(__file__).parent.parent / "examples" / "dialects" / "tiny_listener.py"
PARSERS = ["httptools", "h11"]

Serve = Callable[[Any], Any]


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until `condition()` is true, and give it back."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.002)
    return value


class Log(logging.Handler):
    """What "weebill" logs, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """Because the logger has a handler, `run` installs none that would outlive the test."""
    logger, handler = logging.getLogger("weebill"), Log()
    level = logger.level
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@contextmanager
def running(app: Any) -> Iterator[threading.Thread]:
    """`app.run()` in a thread of its own, stopped at the end of the block."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def remember() -> None:
        loops.append(asyncio.get_running_loop())

    app.add_startup_callback(remember)
    thread = threading.Thread(target=app.run)
    thread.start()
    loop = until(lambda: loops)[0]
    try:
        until(lambda: app.addresses)
        yield thread
    finally:
        asyncio.run_coroutine_threadsafe(app.graceful_shutdown(), loop)
        thread.join(15)
    assert not thread.is_alive()


def fetch(port: int, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# -- the names


def test_the_names_are_the_engines_own() -> None:
    for name in events.__all__:
        assert getattr(tiny_listener, name) is getattr(events, name)
    assert set(tiny_listener.__all__) >= {
        "ListenerError",
        "ContextAlreadyExists",
        "ContextNotFound",
        "DuplicateListener",
        "EventAlreadyDone",
        "EventAlreadyExists",
        "EventNotFound",
        "ListenerNotFound",
        "RouteError",
        "PathParamsError",
        "EventDataError",
        "get_current_running_listener",
    }
    assert all(hasattr(tiny_listener, name) for name in tiny_listener.__all__)


def test_a_program_of_the_first_generation_runs() -> None:
    seen = []

    class App(Listener):
        async def listen(self):  # type: ignore[no-untyped-def]
            ctx = self.new_ctx(scope={"greeting": "Hi"})
            for name in ("Alice", "Bob"):
                ctx.trigger_event(f"Say hi to {name}")
            ctx.trigger_event("enough")

    app = App()

    async def get_greeting(event: Event):  # type: ignore[no-untyped-def]
        return event.ctx.scope["greeting"]

    @app.on_event("Say hi to {name}")
    async def _(event: Event, greeting: str = Depends(get_greeting)):  # type: ignore[no-untyped-def]
        seen.append(f"{greeting}, {event.params['name']}")

    @app.on_event("enough")
    async def _():  # type: ignore[no-untyped-def]
        await app.graceful_shutdown(signal.SIGINT)

    app.run()
    assert seen == ["Hi, Alice", "Hi, Bob"]


def test_a_program_of_the_second_generation_runs() -> None:
    seen = []

    class App(Listener):
        async def listen(self):  # type: ignore[no-untyped-def]
            ctx = self.new_ctx()
            ctx.trigger_event("step 2: send email to alice@example.org")
            ctx.trigger_event("step 1: save Alice's data to database", data={"age": 35})

    app = App()

    @app.on_event("step 1: save {username}'s data to database")
    async def step_1(event: Event, username: Param):  # type: ignore[no-untyped-def]
        seen.append(f"saved {username}, {event.data['age']}")

    @app.on_event("step 2: send email to {email}")
    async def step_2(event: Event, email: Param):  # type: ignore[no-untyped-def]
        await event.wait_event_done("step_1")
        seen.append(f"mailed {email}")
        await app.graceful_shutdown(signal.SIGINT)

    app.run()
    assert seen == ["saved Alice, 35", "mailed alice@example.org"]


def test_a_chat_over_tcp_with_a_listen_of_its_own_runs() -> None:
    class App(Listener):
        def __init__(self) -> None:
            super().__init__()
            self.addresses: list[Any] = []
            self.over = False

        async def chat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                try:
                    self.trigger_event(line.strip().decode(), data={"writer": writer})
                except EventNotFound:
                    writer.write(b"Huh, go on.\n")
            writer.close()
            await writer.wait_closed()
            self.over = True

        async def listen(self) -> None:
            server = await asyncio.start_server(self.chat, "127.0.0.1", 0)  # and returns at once
            self.addresses = [server.sockets[0].getsockname()]
            self.server = server

    app = App()

    async def get_writer(event: Event) -> Any:
        return event.data["writer"]

    @app.on_event("{_}?")
    async def _(writer: asyncio.StreamWriter = Depends(get_writer)) -> None:
        writer.write(b"I am confused.\n")

    @app.on_event("{_}.")
    async def _(writer: Data) -> None:
        writer.write(b"Yes.\n")

    @app.shutdown
    async def close() -> None:
        app.server.close()

    with running(app):
        peer = socket.create_connection(app.addresses[0], timeout=10)
        answers = peer.makefile("rb")
        for said, answer in ((b"why?", b"I am confused."), (b"so it is.", b"Yes."), (b"!", b"Huh, go on.")):
            peer.sendall(said + b"\n")
            assert answers.readline() == answer + b"\n"
        answers.close()
        peer.close()
        until(lambda: app.over)


def test_real_annotations_of_every_kind_are_filled() -> None:
    class MyContext(Context):
        pass

    class App(Listener[MyContext]):
        pass

    app = App()

    @app.on_event("/{name}/{n:int}")
    async def handler(
        e: Event, f: Event[MyContext], c: Context, m: MyContext, name: Param, *, n: Param, d: Data
    ) -> Any:
        return [e is f, c is m is e.ctx, type(m), name, n, d]

    async def main() -> Any:
        return await app.trigger_event("/ann/7", data={"d": "data"})

    assert asyncio.run(main()) == [True, True, MyContext, "ann", 7, "data"]


# -- HTTP, on every wire


@dataclass
class Point:
    x: int
    y: int


class Shout:
    """A value that no handler may return."""


def make_app() -> HTTPListener:
    app = HTTPListener()
    app.seen = []  # type: ignore[attr-defined]

    @app.on_event("GET:/")
    async def home() -> str:
        return "Welcome!"

    @app.on_event("GET:/user/{username}")
    async def hello(username: Param) -> str:
        return f"Hello, {username}!"

    @app.on_event("GET:/number/{n:int}/{f:float}/{u:uuid}/{rest:path}")
    async def typed(event: Event) -> dict[str, Any]:
        assert isinstance(event.params["u"], UUID)
        return event.params

    @app.on_event("POST:/echo")
    async def echo(request: Data) -> bytes:
        return bytes(request.body)

    @app.on_event("GET:/request")
    async def about(request: Data) -> dict[str, Any]:
        return {"path": request.path, "q": request.query.get("q"), "x": request.headers.get("x-test")}

    @app.on_event("GET:/params/{a}")
    async def params_of_request(request: Data) -> Any:
        return request.params

    @app.on_event("GET:/kind/{kind}")
    async def kinds(kind: Param) -> Any:
        async def stream() -> Any:
            yield "a"
            yield "b"

        made: dict[str, Callable[[], Any]] = {
            "str": lambda: "text",
            "bytes": lambda: b"\x00\xff",
            "dict": lambda: {"a": 1},
            "list": lambda: [1, 2],
            "dataclass": lambda: Point(1, 2),
            "none": lambda: None,
            "tuple": lambda: ("made", 201),
            "headers": lambda: ("made", 201, {"x-more": "yes"}),
            "response": lambda: Response(b"own", 202, {"x-own": "1"}, "image/x-own"),
            "stream": stream,
            "wrong": Shout,
            "split": lambda: ("body", 200, {"x-bad": "a\r\nset-cookie: b"}),
        }
        return made[kind]()

    @app.on_event("GET:/boom/{kind}")
    async def boom(kind: Param) -> None:
        raise {"value": ValueError("kaputt"), "lookup": LookupError("lost"), "os": OSError("gone")}[kind]

    @app.on_event("GET:/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.on_event("PUT:/thing")
    async def put() -> str:
        return "put"

    @app.on_event("DELETE:/user/{username}")
    async def delete() -> str:
        return "gone"

    @app.on_event("GET:/wait")
    async def wait(event: Event) -> str:
        def finish() -> None:
            event.result = "at last"
            event.done()

        event.prevent_auto_done()
        asyncio.get_running_loop().call_later(0.01, finish)
        return "too early"

    @app.on_event("GET:/contexts")
    async def contexts(event: Event) -> list[int]:
        return [len(event.listener.ctxs)]

    @app.before_event
    async def before(request: Data, event: Event) -> None:
        if request.headers.get("x-token") == "wrong":
            raise HTTPException(401)

    @app.after_event
    async def after(event: Event) -> None:
        if event.result == "Welcome!":
            event.result = "Welcome, stranger!"

    @app.on_error(LookupError)
    async def lost(event: Event) -> None:
        event.result = {"error": str(event.error)}, 404

    @app.on_error(OSError)
    async def silent(event: Event) -> None:
        app.seen.append(str(event.error))  # type: ignore[attr-defined]

    return app


@pytest.fixture(params=("memory", *PARSERS), scope="module")
def wire(request: pytest.FixtureRequest) -> str:
    """The wires of HTTPListener: no server of others."""
    return str(request.param)


@pytest.fixture
def app() -> HTTPListener:
    return make_app()


@pytest.fixture
def client(serve: Serve, app: HTTPListener) -> Any:
    return serve(app.application())


def test_an_event_answers_a_request_with_its_result(client: Any) -> None:
    answer = client.get("/user/ann")
    assert (answer.status_code, answer.text) == (200, "Hello, ann!")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_hook_may_change_the_answer(client: Any) -> None:
    assert client.get("/").text == "Welcome, stranger!"


def test_parameters_come_converted(client: Any) -> None:
    given = "18baadd0-9225-4cc0-a13b-69098168689f"
    assert client.get(f"/number/-7/2.5/{given}/a/b").json() == {"n": -7, "f": 2.5, "u": given, "rest": "a/b"}
    assert client.get("/number/x/2.5/none/a").status_code == 404


def test_the_path_is_decoded_and_an_encoded_slash_splits_nothing(client: Any) -> None:
    assert client.get("/user/J%C3%BCrgen%20M").text == "Hello, Jürgen M!"
    assert raw(client, "GET", "/user/a%2Fb%252F").text == "Hello, a/b%2F!"
    assert raw(client, "GET", "/user/%zz").status_code == 400


def test_a_query_never_breaks_a_match(client: Any) -> None:
    assert client.get("/user/ann?x=/../{}&y=%3F").text == "Hello, ann!"
    assert client.get("/request?q=a%20b", headers={"x-test": "t"}).json() == {
        "path": "/request",
        "q": "a b",
        "x": "t",
    }
    assert client.get("/params/1").json() == {"a": "1"}


def test_content_of_any_size_is_binary_safe(client: Any) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB: beyond what stays in memory
    assert client.post("/echo", content=content).content == content


@pytest.mark.parametrize(
    ("kind", "status", "content", "media_type"),
    [
        ("str", 200, b"text", "text/plain; charset=utf-8"),
        ("bytes", 200, b"\x00\xff", "application/octet-stream"),
        ("dict", 200, b'{"a":1}', "application/json"),
        ("list", 200, b"[1,2]", "application/json"),
        ("dataclass", 200, b'{"x":1,"y":2}', "application/json"),
        ("none", 204, b"", None),
        ("tuple", 201, b"made", "text/plain; charset=utf-8"),
        ("headers", 201, b"made", "text/plain; charset=utf-8"),
        ("response", 202, b"own", "image/x-own"),
        ("stream", 200, b"ab", "text/plain; charset=utf-8"),
    ],
)
def test_a_handler_returns_anything_that_a_weebill_handler_may(
    client: Any, kind: str, status: int, content: bytes, media_type: str | None
) -> None:
    answer = client.get(f"/kind/{kind}")
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-type") == media_type
    assert answer.headers.get("x-more") == ("yes" if kind == "headers" else None)


def test_any_other_value_is_a_500_that_names_the_handler(client: Any, caplog: Any) -> None:
    assert client.get("/kind/wrong").status_code == 500
    assert re.search(r"kinds \(.*returned Shout", caplog.text)


def test_a_header_with_a_line_break_is_refused(client: Any, caplog: Any) -> None:
    answer = client.get("/kind/split")
    assert answer.status_code == 500
    assert "set-cookie" not in answer.headers
    assert len(caplog.records) == 1


def test_an_exception_is_a_500_and_one_log_line(client: Any, caplog: Any) -> None:
    answer = client.get("/boom/value")
    assert answer.status_code == 500
    assert "kaputt" not in answer.text
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["kaputt"]
    assert "boom (" in caplog.text
    assert client.get("/user/ann").status_code == 200


def test_an_error_hook_may_give_the_answer(client: Any, caplog: Any) -> None:
    answer = client.get("/boom/lookup")
    assert (answer.status_code, answer.json()) == (404, {"error": "lost"})
    assert not caplog.records


def test_an_error_hook_that_gives_none_leaves_a_500_and_a_log_line(
    client: Any, app: HTTPListener, caplog: Any
) -> None:
    assert client.get("/boom/os").status_code == 500
    assert app.seen == ["gone"]  # type: ignore[attr-defined]
    assert len(caplog.records) == 1


def test_an_http_exception_is_an_answer_and_no_failure(client: Any, caplog: Any) -> None:
    answer = client.get("/teapot")
    assert answer.status_code == 418
    assert "short and stout" in answer.text
    assert client.get("/user/ann", headers={"x-token": "wrong"}).status_code == 401
    assert not caplog.records


def test_what_no_event_answers_to_is_a_404(client: Any) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.get("/user/a/b").status_code == 404
    assert client.post("/user/").status_code == 404


def test_another_method_is_a_405_with_allow(client: Any) -> None:
    answer = client.post("/user/ann")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert client.get("/thing").headers["allow"] == "OPTIONS, PUT"


def test_head_is_answered_by_the_event_of_get_without_the_content(client: Any) -> None:
    answer = client.head("/user/ann")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "11"


def test_options_come_by_themselves(client: Any) -> None:
    answer = client.options("/user/ann")
    assert (answer.status_code, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")


def test_the_answer_waits_until_the_event_is_done(client: Any) -> None:
    assert client.get("/wait").text == "at last"


def test_each_request_has_a_context_that_goes_with_it(client: Any, app: HTTPListener) -> None:
    assert [client.get("/contexts").json() for _ in range(3)] == [[1], [1], [1]]
    assert not app.ctxs


def test_events_of_other_methods_and_of_options_can_be_had() -> None:
    app = HTTPListener()

    @app.on_event("PROPFIND:/x")
    async def find() -> str:
        return "found"

    @app.on_event("OPTIONS:/x")
    async def options() -> str:
        return "mine"

    with TestClient(app.application()) as client:
        assert client.request("PROPFIND", "/x").text == "found"
        assert client.options("/x").text == "mine"
        assert client.options("*").status_code == 200
        assert client.get("/x").headers["allow"] == "OPTIONS, PROPFIND"


def test_the_default_pattern_answers_any_method_and_path() -> None:
    app = HTTPListener()

    @app.on_event()
    async def everything(event: Event) -> str:
        return str(event.params["_"])

    with TestClient(app.application()) as client:
        assert client.post("/a/b").text == "POST:/a/b"
        assert client.options("/a").text == "OPTIONS:/a"
        assert client.options("*").status_code == 200


def test_a_request_without_an_event_is_refused_before_its_content_is_read() -> None:
    app = make_app()
    read = []

    def content() -> Iterator[bytes]:
        read.append(True)
        yield b"x"

    with TestClient(app.application()) as client:
        assert client.post("/nowhere/at/all", content=content()).status_code == 404
        assert client.post("/user/ann", content=content()).status_code == 405
        assert not read
        assert client.post("/echo", content=content()).content == b"x"


def test_templates_are_those_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "hello.html").write_text("<p>{{ name }}</p>")
    module = ModuleType("program_with_templates")
    module.__file__ = str(tmp_path / "program_with_templates.py")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = """
from weebill.dialects.tiny_listener import HTTPListener, Param
from weebill.templates import render_template

app = HTTPListener()

@app.on_event("GET:/{name}")
async def page(name: Param):
    return render_template("hello.html", name=name)
"""
    exec(source, vars(module))
    with TestClient(module.app.application()) as client:
        assert client.get("/%3Cann%3E").text == "<p>&lt;ann&gt;</p>"


# -- run


@pytest.mark.parametrize("parser", PARSERS)
def test_http_listener_serves_what_it_is_given_by_run(parser: str) -> None:
    app = make_app()
    app.options.update(port=0, http=parser)
    with running(app):
        host, port = app.addresses[0]
        assert host == "127.0.0.1"
        assert fetch(port, "GET", "/user/ann?x=1") == (200, b"Hello, ann!")
        assert fetch(port, "POST", "/echo", b"\r\n\x00") == (200, b"\r\n\x00")
        assert fetch(port, "GET", "/nowhere")[0] == 404
    assert not app.ctxs
    with pytest.raises(ConnectionRefusedError):
        fetch(port, "GET", "/")


@pytest.mark.parametrize("parser", PARSERS)
def test_what_is_in_flight_is_answered_before_the_shutdown_callbacks(parser: str) -> None:
    app, seen = HTTPListener(port=0, http=parser), []

    @app.on_event("GET:/slow")
    async def slow() -> str:
        started.set()
        await app.wait_for_shutdown()
        seen.append("answered")
        return "finished"

    @app.shutdown
    async def bye() -> None:
        seen.append("shutdown")

    started = threading.Event()
    answers: list[Any] = []
    with running(app):
        port = app.addresses[0][1]
        asking = threading.Thread(target=lambda: answers.append(fetch(port, "GET", "/slow")))
        asking.start()
        assert started.wait(10)
    asking.join(10)
    assert answers == [(200, b"finished")]
    assert seen == ["answered", "shutdown"]


def test_a_handler_that_does_not_end_is_cut_after_the_graceful_timeout() -> None:
    app, seen = HTTPListener(port=0, graceful_timeout=0.1), []
    started = threading.Event()

    @app.on_event("GET:/endless")
    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    @app.shutdown
    async def bye() -> None:
        seen.append("shutdown")

    with running(app), socket.create_connection(app.addresses[0], timeout=10) as peer:
        peer.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert started.wait(10)
    assert seen == ["cancelled", "shutdown"]


def test_a_second_stop_cuts_what_is_in_flight_at_once(log: Log) -> None:
    app, seen = HTTPListener(port=0, graceful_timeout="1h"), []
    started = threading.Event()

    @app.on_event("GET:/endless")
    async def endless() -> None:
        started.set()
        await app.wait_for_shutdown()
        await app.graceful_shutdown()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    @app.shutdown
    async def bye() -> None:
        seen.append("shutdown")

    with running(app), socket.create_connection(app.addresses[0], timeout=10) as peer:
        peer.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert started.wait(10)
    assert seen == ["cancelled", "shutdown"]
    assert "cutting 1 connections" in log.lines


def test_a_port_in_use_is_one_sentence_and_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app = HTTPListener(port=taken.getsockname()[1])
        with pytest.raises(SystemExit) as exit_:
            app.run()
    assert exit_.value.code == 3
    error = capsys.readouterr().err
    assert error.startswith("weebill: ")
    assert error.count("\n") == 1
    assert str(app.settings.port) in error


# -- the example program


@contextmanager
def example(*arguments: str, command: tuple[str, ...] = (str(PROGRAM),), **environ: str) -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, *command, *arguments],
        env={**os.environ, "PORT": "0", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                process.port = int(found[1])  # type: ignore[attr-defined]
                break
        else:
            raise AssertionError("the example did not start")
        yield process
        process.communicate(timeout=15)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [((), {"WEEBILL_HTTP": "httptools"}), ((), {"WEEBILL_HTTP": "h11"}), (("by-hand",), {})],
    ids=["httptools", "h11", "by-hand"],
)
def test_the_example_program_runs(arguments: tuple[str, ...], environ: dict[str, str]) -> None:
    as_json = not arguments

    def same(content: bytes, value: Any) -> bool:
        text = content.decode()
        return text.replace('"', "'").replace(" ", "").lower() == str(value).replace(" ", "").lower()

    with example(*arguments, **environ) as process:
        port = process.port
        assert fetch(port, "GET", "/?q=1")[1].startswith(b"Welcome to the tea shop!")
        assert same(fetch(port, "GET", "/tea/green")[1], {"tea": "green", "price": 300})
        assert fetch(port, "GET", "/tea/oolong")[0] == 404
        receipt = {"customer": "ann", "receipt": "no. 1 of 1: 3 cups", "bill": 1200}
        status, content = fetch(port, "POST", "/orders/ann/3", b"jasmine")
        assert (status, same(content, receipt)) == (201, True)
        assert b"no. 2 of 2: 1 cups" in fetch(port, "POST", "/orders/ann/1", b"green")[1]
        assert b"get_receipt_book" in fetch(port, "GET", "/orders/ann")[1]
        assert fetch(port, "GET", "/orders/bob")[0] == 404
        assert same(fetch(port, "DELETE", "/orders/ann")[1], {"left": True, "here": False})
        assert fetch(port, "GET", "/orders/ann")[0] == 404
        assert b"300" in fetch(port, "GET", "/retry")[1]
        assert fetch(port, "GET", "/nap") == (200, b"I overslept.")
        assert fetch(port, "GET", "/free-tea")[0] == 404
        if as_json:
            kettle: list[Any] = []
            waiting = threading.Thread(target=lambda: kettle.append(fetch(port, "GET", "/kettle")))
            waiting.start()
            until(lambda: fetch(port, "POST", "/kettle/whistle")[1] == b"1 kettles")
            waiting.join(10)
            assert kettle[0][0] == 200
        assert fetch(port, "POST", "/close") == (200, b"Good night.")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_example_program_ends_well_on_a_signal(number: int) -> None:
    with example() as process:
        assert fetch(process.port, "GET", "/")[0] == 200
        process.send_signal(number)
        output, _ = process.communicate(timeout=15)
        assert output.splitlines()[0] == "The doors are open."
        assert output.splitlines()[-1] == "The doors are locked."
    assert process.returncode == 0


def test_weebill_run_starts_a_listener_by_module_and_name() -> None:
    command = ("-m", "weebill", "run", "tiny_listener:app", "--app-dir", str(PROGRAM.parent), "--port", "0")
    with example(command=command) as process:
        assert fetch(process.port, "GET", "/tea/black")[0] == 200
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
