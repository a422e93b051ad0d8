"""A TestClient that does not lie: what passes with it passes on a socket, and what fails there fails here."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import multipart
import pytest

from weebill import App, Request, Response, abort
from weebill.errors import ConfigurationError
from weebill.headers import Headers
from weebill.settings import Settings
from weebill.testing import LiveServer, TestClient


def echo_app() -> App:
    app = App()

    @app.route("/{path:path}", methods=["GET", "POST", "OPTIONS", "PROPFIND"])
    async def echo(request: Request) -> dict[str, Any]:
        return {"target": request.target, "url": request.url, "text": request.text}

    return app


# -- the same as on a socket


def test_a_request_comes_from_an_address() -> None:
    app = App()
    app.get("/")(lambda request: [request.client, request.exchange.server, request.url])
    assert TestClient(app).get("/").json() == [["127.0.0.1", 50000], ["127.0.0.1", 80], "http://testserver/"]
    far = TestClient(app, "https://example.org", client=("2001:db8::1", 5)).get("/").json()
    assert far == [["2001:db8::1", 5], ["127.0.0.1", 443], "https://example.org/"]


LIMITS = {"max_request_line": 200, "max_fields_size": 500, "max_fields": 20, "max_body": 1000}

REQUESTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("GET", "/", []),
    ("PROPFIND", "/", []),
    ("UNKNOWN", "/", []),
    ("TRACE", "/", []),
    ("CONNECT", "/", []),
    ("BAD METHOD", "/", []),
    ("M" * 65, "/", []),
    ("GET", "/" + "a" * 200, []),
    ("GET", "/%zz", []),
    ("GET", "/%00", []),
    ("GET", "*", []),
    ("OPTIONS", "*", []),
    ("GET", "/", [("x", "a" * 500)]),
    ("GET", "/", [("x", "")] * 20),
    ("GET", "/", [("host", "a b")]),
    ("GET", "/", [("host", "user@example.org")]),
    ("GET", "/", [("host", "")]),
    ("GET", "/", [("host", "a"), ("host", "b")]),
    ("GET", "/", [("host", "[::1]:80")]),
    ("GET", "/", [("host", "example.org:99999")]),
    ("GET", "/", [("connection", "x, Close")]),
    ("GET", "/", [("X-Umlaut", "grün"), ("blank", "  a  ")]),
    ("POST", "/", [("content-length", "1x")]),
    ("POST", "/", [("content-length", "+0")]),
    ("POST", "/", [("content-length", "0"), ("content-length", "0")]),
    ("POST", "/", [("content-length", "1001")]),
    ("POST", "/", [("transfer-encoding", "gzip, chunked")]),
    ("POST", "/", [("transfer-encoding", "chunked"), ("content-length", "0")]),
    ("POST", "/", [("expect", "tea"), ("content-length", "0")]),
    ("GET", "/", [("expect", "100-continue")]),
    ("GET", "/", [("content-type", "text/plain; charset=utf-7")]),
]


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    with LiveServer(echo_app(), **LIMITS) as server:
        yield server


def on_socket(server: LiveServer, head: bytes) -> tuple[int, Headers, bytes]:
    """The answer to `head`, behind which the client shuts its side."""
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        sock.sendall(head)
        sock.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    block, _, content = data.partition(b"\r\n\r\n")
    line, *fields = block.split(b"\r\n")
    pairs = [(name, value) for name, _, value in (field.partition(b": ") for field in fields)]
    return int(line.split()[1]), Headers.from_raw(pairs), content


@pytest.mark.parametrize(("method", "target", "fields"), REQUESTS)
def test_a_request_is_judged_as_on_a_socket(
    live: LiveServer, method: str, target: str, fields: list[tuple[str, str]]
) -> None:
    client = TestClient(echo_app(), settings=Settings(**LIMITS))
    client.headers = {}
    host = [] if any(name == "host" for name, _ in fields) else [("Host", "testserver")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*host, *fields))
    status, headers, content = on_socket(live, f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
    answer = client.request(method, target, headers=fields)
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-type") == headers.get("content-type")
    assert answer.headers.get("content-length") == headers.get("content-length")
    if status >= 400:
        closes = [each.get("connection") for each in (answer.headers, headers)]
        assert status in (404, 405) or closes[0] == closes[1] or closes == [None, "close"]


def test_content_is_framed_by_what_the_test_says() -> None:
    client = TestClient(echo_app())
    assert client.post("/", content=iter([b"ab", b"", b"c"]), headers={"content-length": "3"}).json()["text"]
    chunked = client.post("/", content=b"abc", headers={"transfer-encoding": "chunked"})
    assert chunked.json()["text"] == "abc"
    short = client.post("/", content=b"abc", headers={"content-length": "4"})
    assert (short.status_code, short.text) == (400, "The content ended early.\n")
    assert short.headers["connection"] == "close"


@pytest.mark.parametrize("content", [b"abcd", iter([b"ab", b"cd"])])
def test_content_longer_than_its_length_is_the_tests_fault(content: Any) -> None:
    with pytest.raises(ValueError, match="longer than its Content-Length, 3 bytes"):
        TestClient(echo_app()).post("/", content=content, headers={"content-length": "3"})


def test_what_the_tests_own_content_raises_is_raised_in_the_test() -> None:
    app = App()

    @app.post("/stream", stream=True)
    async def stream(request: Request) -> int:
        return len([piece async for piece in request.stream()])

    app.post("/")(lambda request: request.body)

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise LookupError("no more")

    client = TestClient(app)
    for path in ("/", "/stream"):
        with pytest.raises(LookupError, match="no more"):
            client.post(path, content=broken())
        with pytest.raises(TypeError, match="pieces of bytes, not of str"):
            client.post(path, content=iter(["text"]))  # type: ignore[list-item]


# -- exceptions


def failing_app() -> App:
    app = App()

    def fail(kind: str = "handler") -> Any:
        raise ZeroDivisionError(kind)

    async def middleware(request: Request, call_next: Any) -> Response:
        if request.path == "/middleware":
            fail("middleware")
        response: Response = await call_next(request)
        return response

    app.middleware(middleware)
    app.get("/def")(lambda: fail())
    app.get("/middleware")(lambda: "never seen")
    app.get("/value")(lambda: object())
    app.get("/abort")(lambda: abort(418, "no coffee"))

    @app.get("/async")
    async def on_loop() -> None:
        fail()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "begun"
        fail("stream")

    @app.get("/handled")
    async def handled() -> None:
        raise LookupError("found by a handler")

    app.errorhandler(LookupError)(lambda error: (str(error), 404))
    app.errorhandler(500)(lambda error: "sorry")
    return app


PATHS = [
    ("/def", ZeroDivisionError, "handler"),
    ("/async", ZeroDivisionError, "handler"),
    ("/middleware", ZeroDivisionError, "middleware"),
    ("/stream", ZeroDivisionError, "stream"),
    ("/value", ConfigurationError, "returned object"),
]


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize(("path", "kind", "message"), PATHS)
def test_what_a_handler_raises_is_raised_into_the_test(
    path: str, kind: type[Exception], message: str, mounted: bool
) -> None:
    app = failing_app()
    if mounted:
        outer = App()
        outer.mount("/inner", app)
        outer.after_request(lambda response: response.headers.add("x-outer", "1"))
        app, path = outer, "/inner" + path
    with pytest.raises(kind, match=message):
        TestClient(app).get(path)


def test_or_it_is_answered_as_a_server_does() -> None:
    client = TestClient(failing_app(), raise_server_exceptions=False)
    for path in ("/def", "/async", "/middleware", "/value"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (500, "sorry")
    with pytest.raises(ConnectionError, match="broke off after 5 bytes"):
        client.get("/stream")


def test_what_is_an_answer_is_never_raised() -> None:
    client = TestClient(failing_app())
    assert client.get("/abort").json()["detail"] == "no coffee"
    assert client.get("/nowhere").status_code == 404
    assert client.post("/def").status_code == 405
    assert client.get("/handled").text == "found by a handler"


def test_exceptions_of_other_peoples_programs_are_raised_too() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("asgi")

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        raise ZeroDivisionError("wsgi")

    for app, message in ((asgi, "asgi"), (wsgi, "wsgi")):
        with pytest.raises(ZeroDivisionError, match=message):
            TestClient(app).get("/")
        assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500


# -- uploads and credentials


def form_app() -> App:
    app = App()

    @app.post("/")
    def form(request: Request) -> list[Any]:
        boundary = request.headers["content-type"].partition("boundary=")[2]
        assert request.headers["content-length"] == str(len(request.body))
        parts = multipart.MultipartParser(io.BytesIO(request.body), boundary)
        return [[part.name, part.filename, part.content_type, part.value] for part in parts]

    return app


def test_files_are_sent_with_the_fields_of_a_form(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("from disk")
    with path.open("rb") as opened:
        answer = TestClient(form_app()).post(
            "/",
            data={"title": "a ü", "tag": ["x", "y"], "n": 7},
            files={
                "plain": b"bytes",
                "named": ("a.png", b"png"),
                "typed": ("b.bin", io.BytesIO(b"\x00"), "image/x-own"),
                "many": [("1.txt", "eins"), ("2.txt", b"zwei")],
                "opened": opened,
            },
        )
    assert answer.json() == [
        ["title", None, "text/plain", "a ü"],
        ["tag", None, "text/plain", "x"],
        ["tag", None, "text/plain", "y"],
        ["n", None, "text/plain", "7"],
        ["plain", "plain", "application/octet-stream", "bytes"],
        ["named", "a.png", "image/png", "png"],
        ["typed", "b.bin", "image/x-own", "\0"],
        ["many", "1.txt", "text/plain", "eins"],
        ["many", "2.txt", "text/plain", "zwei"],
        ["opened", "notes.txt", "text/plain", "from disk"],
    ]


def test_a_name_cannot_break_out_of_its_part() -> None:
    files = [('a"; x="\r\nb', ('c".txt', b"x")), ("a", ("d", b"y"))]
    first, second = TestClient(form_app()).post("/", files=files).json()
    assert first[:2] == ['a"; x="\r\nb', 'c".txt']  # what was escaped is one name again
    assert second[:2] == ["a", "d"]


def test_an_empty_form_may_be_multipart_and_contents_exclude_each_other() -> None:
    client = TestClient(form_app())
    assert client.post("/", data={"a": "1"}, files={}).json() == [["a", None, "text/plain", "1"]]
    for options in ({"files": {}, "json": {}}, {"files": {}, "content": b""}, {"data": {}, "json": 1}):
        with pytest.raises(TypeError, match="exclude each other"):
            client.post("/", **options)


def test_user_and_password_are_sent_as_basic_credentials() -> None:
    app = App()
    app.get("/")(lambda request: request.headers["authorization"])
    assert TestClient(app).get("/", auth=("ü", "a:b")).text == "Basic w7w6YTpi"


def test_a_client_may_follow_redirects_by_default() -> None:
    app = App()
    app.get("/a")(lambda: Response(b"", 302, {"location": "/b"}))
    app.get("/b")(lambda: "there")
    client = TestClient(app, follow_redirects=True)
    assert client.get("/a").text == "there"
    assert client.get("/a", follow_redirects=False).status_code == 302


def test_a_redirect_leaves_behind_what_belongs_to_the_content_and_to_the_host() -> None:
    app = App()
    app.post("/a")(lambda: Response(b"", 303, {"location": "/b"}))
    app.get("/away")(lambda: Response(b"", 307, {"location": "http://elsewhere/b"}))
    app.get("/b")(lambda request: dict(request.headers))
    client = TestClient(app, follow_redirects=True)
    fields = client.post("/a", content=b"x", headers={"content-type": "a/b", "x-kept": "1"}).json()
    assert not {"content-type", "content-length"} & fields.keys()
    assert fields["x-kept"] == "1"
    near = client.get("/away", auth=("a", "b"), cookies={"c": "d"}, headers={"host": "testserver"}).json()
    assert near["host"] == "elsewhere"
    assert not {"authorization", "cookie"} & near.keys()


# -- LiveServer


def test_a_live_server_says_where_it_is_and_may_be_started_again() -> None:
    server = LiveServer(echo_app())
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.url
    for _ in range(2):
        with server:
            assert server.url == f"http://{server.host}:{server.port}"
            assert on_socket(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[0] == 200


def test_what_keeps_a_live_server_from_starting_is_raised_into_the_test() -> None:
    app = App()

    @app.on_startup
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"), LiveServer(app):
        raise AssertionError("the block is not entered")
