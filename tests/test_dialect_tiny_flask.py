"""weebill.dialects.tiny_flask: each sentence of what it promises, over real sockets, under both parsers."""

import contextlib
import gzip
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from dialect_helpers import EXAMPLES, PARSERS, Client, Log, logged, program, read_answer, until
from processes import Running, environment

from weebill.dialects.tiny_flask import HTTPServer, Request, Response
from weebill.errors import ConfigurationError, DuplicateRoute, PatternError, SignatureError
from weebill.testing import TestClient

STOPPED_BY = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("WEEBILL_") or name in ("HOST", "PORT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WEEBILL_HTTP", request.param)
    return request.param


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    with logged() as log:
        yield log


@pytest.fixture
def app(parser: str) -> Iterator[HTTPServer]:
    app = HTTPServer(0)
    yield app
    app.stop_server()


@pytest.fixture
def client(app: HTTPServer) -> Client:
    assert app.port is not None
    return Client(app.port)


# -- the server


def test_it_listens_from_the_constructor_on_and_takes_routes_later(app: HTTPServer, client: Client) -> None:
    connection = client.connect()
    assert client.ask("GET", "/late", connection=connection).status == 404

    @app.route("/late")
    def late(request: Request) -> str:
        return "here"

    # The request that came too early has lost neither its answer nor its connection.
    answer = client.ask("GET", "/late", connection=connection)
    assert (answer.status, answer.content) == (200, b"here")
    connection.close()


def test_it_listens_on_localhost_only(app: HTTPServer) -> None:
    assert app._server is not None
    hosts = {host for host, _ in app._server.worker.addresses}
    assert hosts <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in hosts


def test_no_request_is_lost_while_routes_are_registered(app: HTTPServer, client: Client, log: Log) -> None:
    done = threading.Event()
    seen: list[int] = []

    def ask() -> None:
        connection = client.connect()
        while not done.is_set():
            target = f"/route/{len(seen) % 200}/x" if len(seen) % 2 else f"/{len(seen) % 200}"
            seen.append(client.ask("GET", target, connection=connection).status)
        connection.close()

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for number in range(200):
        app.route(f"/{number}")(lambda request: "static")
        app.route(f"/route/{number}/{{name}}", ["GET", "POST"])(lambda request, name: name)
    until(lambda: len(seen) > 300)
    done.set()
    for thread in asking:
        thread.join(20)
    assert set(seen) <= {200, 404}
    assert not log.errors
    assert client.get("/199").text == "static"
    assert client.get("/route/199/x").text == "x"


def test_the_idle_timeout_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[tuple[HTTPServer, HTTPConnection]] = []
    for parser in PARSERS:  # both at once, for a deadline is looked at once a second
        monkeypatch.setenv("WEEBILL_HTTP", parser)
        app = HTTPServer(0)
        assert app.port is not None
        connection = Client(app.port).connect()
        assert Client(app.port).ask("GET", "/", connection=connection).status == 404
        assert app.client_time_out == 120
        app.client_time_out = 0.1
        assert app.client_time_out == 0.1
        running.append((app, connection))
    for app, connection in running:
        assert connection.sock.recv(1) == b""  # closed long before 120 seconds
        connection.close()
        app.stop_server()
        with pytest.raises(ValueError, match="client_time_out is a number of seconds above 0, not 0"):
            app.client_time_out = 0


def test_stop_server_ends_it_and_may_be_called_again(parser: str) -> None:
    app = HTTPServer(0)
    assert app.port is not None
    client = Client(app.port)
    assert client.get("/").status == 404
    app.stop_server()
    with pytest.raises(ConnectionRefusedError):
        client.get("/")
    app.stop_server()


def test_stop_server_in_a_handler_still_gives_its_answer(parser: str) -> None:
    app = HTTPServer(0)
    assert app.port is not None

    @app.route("/stop")
    def stop(request: Request) -> str:
        app.stop_server()
        return "bye"

    answer = Client(app.port).get("/stop")
    assert (answer.content, answer.headers["connection"]) == (b"bye", "close")
    app.stop_server()
    with pytest.raises(ConnectionRefusedError):
        Client(app.port).get("/stop")


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_3(
    app: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.port is not None
    with pytest.raises(SystemExit) as exit_:
        HTTPServer(app.port)
    assert exit_.value.code == 3
    error = capsys.readouterr().err
    assert error.startswith(f"weebill: port {app.port} on ")
    assert error.count("\n") == 1


# -- routes


def test_a_segment_arrives_as_keyword_argument(app: HTTPServer, client: Client) -> None:
    @app.route("/echo/{string}")
    def echo(request: Request, string: str) -> str:
        return string

    @app.route("/{a}/then/{b}")
    def both(request: Request, b: str, **rest: str) -> str:
        return f"{rest} {b}"

    assert client.get("/echo/abc").text == "abc"
    assert client.get("/echo/a/b").status == 404
    assert client.get("/echo").status == 404
    assert client.get("/1/then/2").text == "{'a': '1'} 2"


def test_paths_are_decoded_and_a_query_never_breaks_a_match(app: HTTPServer, client: Client) -> None:
    @app.route("/echo/{string}")
    def echo(request: Request, string: str) -> str:
        return f"{string} {request.target}"

    assert client.get("/echo/gr%C3%BC%C3%9Fe").text == "grüße /echo/gr%C3%BC%C3%9Fe"
    assert client.get("/echo/a%2Fb").text == "a/b /echo/a%2Fb"
    assert client.get("/echo/x?y=/z&w").text == "x /echo/x?y=/z&w"
    assert client.get("/echo/%zz").status == 400


@pytest.mark.parametrize("pattern", ["files/{name}", "/files/{name}", "files/{name}/", "/files/{name}/"])
def test_slashes_at_both_ends_are_ignored(app: HTTPServer, client: Client, pattern: str) -> None:
    @app.route(pattern)
    def show(request: Request, name: str) -> str:
        return name

    for target in ("/files/x", "/files/x/", "//files/x//", "/files/x/?a=b/"):
        assert client.get(target).text == "x"


@pytest.mark.parametrize("pattern", ["", "/"])
def test_the_root_may_be_written_either_way(app: HTTPServer, client: Client, pattern: str) -> None:
    app.route(pattern)(lambda request: "root")
    assert client.get("/").text == "root"
    assert client.get("/?x").text == "root"


def test_one_path_may_have_several_functions_of_one_name(app: HTTPServer, client: Client) -> None:
    def make(answer: str) -> Callable[[Request], str]:
        def handle(request: Request) -> str:
            return answer

        return handle

    app.route("/thing")(make("got"))
    app.route("/thing", methods=["POST", "PUT"])(make("changed"))
    assert client.get("/thing").text == "got"
    assert client.ask("POST", "/thing").text == "changed"
    assert client.ask("PUT", "/thing").text == "changed"


def test_head_options_and_405_come_by_themselves(app: HTTPServer, client: Client) -> None:
    app.route("/thing", methods=["GET", "POST"])(lambda request: "twelve bytes")
    head = client.ask("HEAD", "/thing")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", "12")
    options = client.ask("OPTIONS", "/thing/")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = client.ask("DELETE", "/thing")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert client.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_routes_belong_to_the_instance(app: HTTPServer, client: Client) -> None:
    other = HTTPServer(0)
    assert other.port is not None
    try:
        app.route("/mine")(lambda request: "first")
        other.route("/mine")(lambda request: "second")
        other.route("/theirs")(lambda request: "other")
        assert client.get("/mine").text == "first"
        assert client.get("/theirs").status == 404
        assert Client(other.port).get("/mine").text == "second"
    finally:
        other.stop_server()


def test_a_decorator_returns_the_function_it_was_given(app: HTTPServer) -> None:
    def handle(request: Request) -> str:
        return "x"

    assert app.route("/a")(handle) is handle
    assert app.route("/b")(app.route("/c")(handle)) is handle


def test_mistakes_are_sentences_that_name_their_place(app: HTTPServer) -> None:
    def wrong(request: Request, other: str) -> str:
        return other

    async def waiting(request: Request) -> str:
        return ""

    here = re.escape(__file__)
    with pytest.raises(SignatureError, match=rf"wrong \({here}:\d+\) of /x/\{{name}} is called with "):
        app.route("/x/{name}")(wrong)
    with pytest.raises(SignatureError, match=rf"waiting \({here}:\d+\) of /x is async"):
        app.route("/x")(waiting)
    with pytest.raises(PatternError, match=rf"'/x/\{{name'.* path of .*wrong \({here}:\d+\)"):
        app.route("/x/{name")(wrong)
    app.route("/same/{other}")(wrong)
    with pytest.raises(DuplicateRoute, match=rf"registered twice: .*wrong \({here}:\d+\) and .*wrong"):
        app.route("/same/{other}")(wrong)
    with pytest.raises(ConfigurationError, match=r"write methods=\['GET'\]"):
        app.route("/y", methods="GET")


# -- requests


def test_a_request_shows_what_was_sent(app: HTTPServer, client: Client) -> None:
    seen: list[Request] = []

    @app.route("/show/{x}", methods=["PUT"])
    def show(request: Request, x: str) -> str:
        seen.append(request)
        return ""

    client.raw(
        b"PUT /show/a%20b?q=1 HTTP/1.1\r\nHost: x\r\nX-Thing: One\r\nx-thing: two\r\n"
        b"Content-Length: 5\r\nContent-Type: text/plain\r\n\r\ngr\xc3\xbcn"
    )
    client.raw(b"PUT /show/1 HTTP/1.0\r\nConnection: close\r\n\r\n")
    first, second = seen
    assert (first.method, first.target, first.http_version) == ("PUT", "/show/a%20b?q=1", "HTTP/1.1")
    assert type(first.headers) is dict
    assert first.headers == {
        "host": "x",
        "x-thing": "One, two",
        "content-length": "5",
        "content-type": "text/plain",
    }
    assert (first.body, first.raw_body) == ("grün", b"gr\xc3\xbcn")
    assert (second.http_version, second.body, second.raw_body) == ("HTTP/1.0", "", b"")


def test_bytes_that_are_no_text_survive(app: HTTPServer, client: Client) -> None:
    @app.route("/same", methods=["POST"])
    def same(request: Request) -> str:
        return request.body

    @app.route("/response", methods=["POST"])
    def response(request: Request) -> Response:
        answer = Response()
        answer.body = request.body
        return answer

    every_byte = bytes(range(256))
    assert client.ask("POST", "/same", every_byte).content == every_byte
    assert client.ask("POST", "/response", every_byte).content == every_byte


def test_content_of_any_size_within_the_limit_arrives(app: HTTPServer, client: Client) -> None:
    @app.route("/size", methods=["POST"])
    def size(request: Request) -> Response:
        answer = Response()
        answer.body = request.raw_body
        answer.add_header("Content-Type", "application/x-test")
        return answer

    content = os.urandom(3 << 20)  # beyond what is kept in memory
    assert client.ask("POST", "/size", content).content == content
    too_much = b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    assert client.raw(too_much).startswith(b"HTTP/1.1 413 ")
    chunked = b"POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\r\n\r\n0\r\n\r\n"
    assert client.raw(chunked).endswith(b"\r\n\r\na\r\n")


# -- responses


def test_text_is_text_plain(app: HTTPServer, client: Client) -> None:
    app.route("/text")(lambda request: "grün <b>")
    app.route("/nothing")(lambda request: "")
    answer = client.get("/text")
    assert (answer.status, answer.reason, answer.text) == (200, "OK", "grün <b>")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-length"] == "9"  # bytes, not characters
    assert client.get("/nothing").headers["content-length"] == "0"


def test_a_response_has_the_attributes_of_its_arguments() -> None:
    default, given = Response(), Response("HTTP/1.0", 404, "Not Found")
    assert (default.version, default.status_code, default.reason) == ("HTTP/1.1", "200", "OK")
    assert (given.version, given.status_code, given.reason) == ("HTTP/1.0", 404, "Not Found")
    assert (default.body, dict(default.headers)) == ("", {})


@pytest.mark.parametrize("status", [404, "404"])
def test_a_status_may_be_a_number_or_text(app: HTTPServer, client: Client, status: int | str) -> None:
    @app.route("/by-argument")
    def by_argument(request: Request) -> Response:
        return Response(status_code=status)

    @app.route("/by-attribute")
    def by_attribute(request: Request) -> Response:
        answer = Response()
        answer.status_code = status
        answer.body = b"\x00\xff"
        return answer

    assert client.get("/by-argument").status == 404
    answer = client.get("/by-attribute")
    assert (answer.status, answer.reason, answer.content) == (404, "Not Found", b"\x00\xff")


def test_a_content_type_that_is_given_wins_in_any_case(app: HTTPServer, client: Client) -> None:
    @app.route("/add/{name}")
    def add(request: Request, name: str) -> Response:
        answer = Response()
        answer.body = "<p>"
        answer.add_header(name, "text/html")
        return answer

    @app.route("/set")
    def set_(request: Request) -> Response:
        answer = Response()
        answer.headers["content-Type"] = "text/css"
        answer.headers = {**answer.headers, "X-A": "1"}
        return answer

    for name in ("content-type", "Content-Type", "CONTENT-TYPE"):
        assert client.get(f"/add/{name}").headers.get_all("content-type") == ["text/html"]
    answer = client.get("/set")
    assert (answer.headers.get_all("content-type"), answer.headers["x-a"]) == (["text/css"], "1")


def test_headers_are_added_and_content_length_is_always_computed(app: HTTPServer, client: Client) -> None:
    @app.route("/")
    def index(request: Request) -> Response:
        answer = Response()
        answer.body = "grün"
        answer.add_header("content-LENGTH", 4)
        answer.add_header("X-Number", 3)
        answer.add_header("x-number", 4)
        answer.add_header("Set-Cookie", "a=1")
        answer.add_header("set-cookie", "b=2")
        return answer

    answer = client.get("/")
    assert answer.headers.get_all("content-length") == ["5"]
    assert answer.headers.get_all("x-number") == ["4"]
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_header_values_with_controls_are_refused(
    app: HTTPServer, client: Client, log: Log, value: str
) -> None:
    @app.route("/")
    def index(request: Request) -> Response:
        answer = Response()
        answer.add_header("X-A", value)
        return answer

    answer = client.get("/")
    assert (answer.status, answer.headers["x-evil"]) == (500, None)
    assert len(log.errors) == 1


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "The handler returned NoneType, neither str nor Response."),
        ({"a": 1}, "The handler returned dict, neither str nor Response."),
        (b"bytes", "The handler returned bytes, neither str nor Response."),
        (("text", 200), "The handler returned tuple, neither str nor Response."),
    ],
)
def test_anything_else_is_500_with_a_clear_text(
    app: HTTPServer, client: Client, log: Log, value: object, sentence: str
) -> None:
    @app.route("/")
    def useless(request: Request) -> object:
        return value

    answer = client.get("/")
    assert answer.status == 500
    assert sentence in answer.text
    assert "test_dialect" not in answer.text
    assert len(log.errors) == 1
    assert "useless (" in log.errors[0]
    assert __file__ in log.errors[0]


@pytest.mark.parametrize("body", [None, 12, ["x"]])
def test_a_body_of_another_kind_is_500_with_a_clear_text(
    app: HTTPServer, client: Client, log: Log, body: Any
) -> None:
    @app.route("/")
    def useless(request: Request) -> Response:
        answer = Response()
        answer.body = body
        return answer

    answer = client.get("/")
    assert answer.status == 500
    assert f"whose body is {type(body).__name__}, not str or bytes" in answer.text
    assert len(log.errors) == 1


def test_an_exception_is_500_and_a_log_line(app: HTTPServer, client: Client, log: Log) -> None:
    @app.route("/fail/{kind}")
    def fail(request: Request, kind: str) -> Response:
        if kind == "status":
            return Response(status_code="many")
        raise {"value": ValueError, "configuration": ConfigurationError, "exit": RuntimeError}[kind]("secret")

    for kind in ("value", "configuration", "exit", "status"):
        log.records.clear()
        answer = client.get(f"/fail/{kind}")
        assert answer.status == 500
        assert "secret" not in answer.text
        assert len(log.errors) == 1
        assert "fail (" in log.errors[0]
    assert client.get("/fail/value").status == 500  # and it still serves


# -- compression


@pytest.fixture
def long_page(app: HTTPServer) -> bytes:
    text = "a notice board " * 200

    @app.route("/text")
    def page(request: Request) -> str:
        return text

    @app.route("/type/{kind}")
    def typed(request: Request, kind: str) -> Response:
        answer = Response()
        answer.body = text
        answer.add_header("Content-Type", kind.replace("-", "/", 1))
        return answer

    @app.route("/packed")
    def packed(request: Request) -> Response:
        answer = Response()
        answer.body = gzip.compress(text.encode() * 10, 1)
        answer.add_header("Content-Encoding", "gzip")
        answer.add_header("Content-Type", "text/plain")
        return answer

    @app.route("/short")
    def short(request: Request) -> str:
        return "short"

    @app.route("/large")
    def large(request: Request) -> str:
        return text * 100

    return text.encode()


@pytest.mark.parametrize(
    "accepted",
    ["gzip", "br, gzip;q=0.5", "GZIP", "*", "x-gzip", "deflate, gzip;q=1.0, *;q=0.5", "identity;q=0.5, gzip"],
)
def test_who_accepts_gzip_gets_gzip(client: Client, long_page: bytes, accepted: str) -> None:
    answer = client.get("/text", accept_encoding=accepted)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(answer.content) < len(long_page)
    assert gzip.decompress(answer.content) == long_page


@pytest.mark.parametrize(
    "accepted",
    ["gzip;q=0", "identity", "br", "gzip;q=0.3, identity;q=0.8", "*;q=0", "gzip;q=0, *", "gzip;q=x"],
)
def test_who_does_not_accept_gzip_does_not_get_it(client: Client, long_page: bytes, accepted: str) -> None:
    answer = client.get("/text", accept_encoding=accepted)
    assert answer.headers["content-encoding"] is None
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == long_page


def test_who_says_nothing_does_not_get_gzip(client: Client, long_page: bytes) -> None:
    answer = client.raw(b"GET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.endswith(long_page)
    assert b"vary: Accept-Encoding\r\n" in answer


def test_tiny_and_compressed_bodies_are_left_alone(client: Client, long_page: bytes) -> None:
    for target in ("/short", "/type/image-png", "/type/application-zip"):
        answer = client.get(target, accept_encoding="gzip")
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == (None, None)
    packed = client.get("/packed", accept_encoding="gzip")
    assert packed.headers.get_all("content-encoding") == ["gzip"]
    assert gzip.decompress(packed.content) == long_page * 10


def test_json_and_long_texts_are_compressed_and_head_says_the_same(client: Client, long_page: bytes) -> None:
    for target in ("/type/application-json", "/type/image-svg+xml", "/large"):
        got = client.get(target, accept_encoding="gzip")
        head = client.ask("HEAD", target, accept_encoding="gzip")
        assert got.headers["content-encoding"] == head.headers["content-encoding"] == "gzip"
        assert got.headers["content-length"] == head.headers["content-length"]
    assert gzip.decompress(client.get("/large", accept_encoding="gzip").content) == long_page * 100


# -- connections and log


def test_connections_are_kept_until_somebody_says_close(app: HTTPServer, client: Client) -> None:
    app.route("/")(lambda request: "x")
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as peer:
        for close in (b"", b"", b"Connection: Close\r\n"):
            peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n")
            response = HTTPResponse(peer)
            response.begin()
            answer = read_answer(response)
            assert answer.content == b"x"
            assert answer.headers["connection"] == ("close" if close else None)
        assert peer.recv(1) == b""


def test_a_handler_may_close_the_connection(app: HTTPServer, client: Client) -> None:
    @app.route("/")
    def index(request: Request) -> Response:
        answer = Response()
        answer.add_header("Connection", "close")
        return answer

    assert client.get("/").headers.get_all("connection") == ["close"]


def test_start_stop_connections_and_requests_are_logged(parser: str, log: Log) -> None:
    app = HTTPServer(0)
    assert app.port is not None
    app.route("/hello")(lambda request: "12345")
    connection = Client(app.port).connect()
    for target in ("/hello?x", "/nowhere%0a"):
        Client(app.port).ask("GET", target, connection=connection)
    port = connection.sock.getsockname()[1]
    connection.close()
    app.stop_server()
    first, *middle, last = log.lines
    assert (first, last) == (f"listening on http://127.0.0.1:{app.port}", "stopping")
    assert f"connection from ('127.0.0.1', {port})" in middle
    assert any(re.match(r'127.0.0.1 "GET /hello\?x HTTP/1.1" 200 5 [\d.]+ms', line) for line in middle)
    assert any(re.match(r'127.0.0.1 "GET /nowhere%0a HTTP/1.1" 404 ', line) for line in middle)


# -- it is an App


def test_test_client_takes_it(app: HTTPServer) -> None:
    app.route("/echo/{string}")(lambda request, string: string)
    assert TestClient(app).get("/echo/x/").text == "x"


# -- the process


PROGRAM = """
import sys
from weebill.dialects.tiny_flask import HTTPServer, Request, Response

app = HTTPServer(0)

@app.route("/echo/{string}", methods=["GET", "POST"])
def echo(request, string):
    return string + request.body
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(more: str = "") -> Path:
        path = tmp_path / "program.py"
        path.write_text(PROGRAM + more)
        return path

    return write


@pytest.mark.parametrize("number", STOPPED_BY)
def test_the_process_stays_until_a_signal_with_stdin_at_its_end(
    parser: str, write: Callable[..., Path], number: signal.Signals
) -> None:
    with program(write("print('ready', file=sys.stderr)"), WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        process.wait_for("ready")
        assert client.get("/echo/x").text == "x"
        # Also what needs threads and files, which Python refuses a process whose main thread has ended.
        content = os.urandom(3 << 20).hex()
        assert client.ask("POST", "/echo/x", content).text == f"x{content}"
        assert process.stop(number) == 0


def test_the_process_stops_when_a_handler_stops_the_server(parser: str, write: Callable[..., Path]) -> None:
    more = "@app.route('/stop')\ndef stop(request):\n    app.stop_server()\n    return 'bye'\n"
    with program(write(f"{more}print('ready', file=sys.stderr)"), WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        process.wait_for("ready")
        assert client.get("/stop").text == "bye"
        assert process.process.wait(20) == 0


def test_a_closed_stdin_is_no_error_either(write: Callable[..., Path]) -> None:
    command = ("/bin/sh", "-c", 'exec "$0" "$1" <&-', sys.executable)
    more = "print('ready', file=sys.stderr)"
    with Running(str(write(more)), command=command, cwd=Path.cwd()) as process:
        client = Client.of(process.url())
        process.wait_for("ready")
        assert client.get("/echo/x").text == "x"
        assert process.stop() == 0


@pytest.mark.parametrize("number", STOPPED_BY)
def test_a_signal_ends_a_main_program_that_goes_on_too(
    write: Callable[..., Path], number: signal.Signals
) -> None:
    more = "import time\nprint('sleeping', file=sys.stderr)\ntime.sleep(1000)"
    with program(write(more)) as process:
        process.wait_for("sleeping")
        assert process.stop(number) == 0


def test_signals_mean_what_they_meant_once_the_server_has_ended(write: Callable[..., Path]) -> None:
    more = "import time\napp.stop_server()\nprint('sleeping', file=sys.stderr)\ntime.sleep(1000)"
    with program(write(more)) as process:
        process.wait_for("sleeping")
        assert process.stop(signal.SIGTERM) == -signal.SIGTERM


@pytest.mark.parametrize(
    "end",
    [
        'print("ready", file=sys.stderr)',
        # For that one Python waits before it waits for us; what was registered last is called first.
        "ThreadPoolExecutor().submit(release.wait, 20)\n"
        'threading._register_atexit(lambda: print("ready", file=sys.stderr))',
    ],
)
def test_a_request_in_flight_is_answered_before_the_end(
    end: str, parser: str, write: Callable[..., Path]
) -> None:
    more = """
import threading
from concurrent.futures import ThreadPoolExecutor
release = threading.Event()

@app.route("/slow")
def slow(request):
    print("begun", file=sys.stderr)
    release.wait(20)
    return "done"

@app.route("/release")
def let_go(request):
    release.set()
    return ""

"""
    with program(write(more + end), WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        process.wait_for("ready")
        other = client.connect()
        other.connect()
        other.sock.sendall(b"GET /rel")  # it is in flight, too
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(client.get("/slow").text))
        asking.start()
        process.wait_for("begun")
        process.process.send_signal(signal.SIGTERM)
        process.wait_for("stopping")
        with pytest.raises(subprocess.TimeoutExpired):  # it is not the end
            process.process.wait(0.2)
        other.sock.sendall(b"ease HTTP/1.1\r\nHost: x\r\n\r\n")
        asking.join(20)
        other.close()
        assert answers == ["done"]
        assert process.process.wait(20) == 0


def test_an_error_in_the_main_program_ends_the_process(write: Callable[..., Path]) -> None:
    with program(write("@app.route('/{x')\ndef wrong(request, x): ...")) as process:
        assert process.process.wait(20) == 1
        process.wait_for("the pattern '/{x' has a brace without its partner")


def test_what_a_peer_sent_moves_no_cursor_in_the_log(write: Callable[..., Path]) -> None:
    more = """
@app.route("/fail", methods=["POST"])
def fail(request):
    raise ValueError(request.body)

print("ready", file=sys.stderr)
"""
    with program(write(more)) as process:
        client = Client.of(process.url())
        process.wait_for("ready")
        assert client.ask("POST", "/fail", "\x1b[2J\x9b1A\x07").status == 500
        process.wait_for("Traceback")
        assert process.wait_for("ValueError: ") == "    ValueError: \\x1b[2J\\x9b1A\\x07\n"
        assert process.stop() == 0


def test_one_signal_ends_all_servers_of_a_process(write: Callable[..., Path]) -> None:
    with program(write("other = HTTPServer(0)\nprint('ready', file=sys.stderr)")) as process:
        clients = [Client.of(process.url()), Client.of(process.url())]
        process.wait_for("ready")
        assert [client.get("/echo/x").status for client in clients] == [200, 404]
        assert process.stop() == 0


def test_a_taken_port_ends_the_process_with_code_3(app: HTTPServer, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.replace("HTTPServer(0)", f"HTTPServer({app.port})"))
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=20,
        env=environment(),
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith(f"weebill: port {app.port} on ")
    assert done.stderr.count("\n") == 1


def test_the_command_line_serves_it_where_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    with Running("run", "main:app", "--port", "0", cwd=tmp_path) as process:
        assert Client.of(process.url()).get("/echo/x/").text == "x"
        assert process.stop() == 0
        assert sum("listening" in line for line in process.said) == 1


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, path: Path) -> None:
        self.fd, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(),
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = b""

    def read_until(self, text: bytes) -> None:
        while text not in self.shown:
            assert select.select([self.fd], [], [], 20)[0], self.shown
            self.shown += os.read(self.fd, 65536)

    def read_rest(self) -> None:
        with contextlib.suppress(OSError):  # that is how a terminal ends
            while select.select([self.fd], [], [], 20)[0]:
                self.shown += os.read(self.fd, 65536)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(write: Callable[..., Path]) -> Iterator[Terminal]:
    terminal = Terminal(write())
    yield terminal
    terminal.close()


def test_q_and_enter_stop_it_and_the_log_of_a_terminal_is_coloured(terminal: Terminal) -> None:
    terminal.read_until(b"listening on")
    port = int(re.search(rb"http://127.0.0.1:(\d+)", terminal.shown)[1])  # type: ignore[index]
    Client(port).get("/nowhere")
    terminal.read_until(b'"GET /nowhere')
    os.write(terminal.fd, b"q\n")
    terminal.read_rest()
    assert terminal.process.wait(20) == 0
    for text in (b"listening on", b"connection from", b'127.0.0.1 "GET /nowhere', b"stopping"):
        assert re.search(rb"\x1b\[\d+mweebill: " + re.escape(text) + rb"[^\n]*\x1b\[0m", terminal.shown)


def test_r_and_enter_start_the_program_anew(terminal: Terminal) -> None:
    terminal.read_until(b"listening on")
    os.write(terminal.fd, b"r\n")
    terminal.read_until(b"stopping")
    terminal.shown = terminal.shown.partition(b"stopping")[2]
    terminal.read_until(b"listening on")
    os.write(terminal.fd, b"q\n")
    terminal.read_rest()
    assert terminal.process.wait(20) == 0


# -- the example


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("number", STOPPED_BY)
def test_the_example_runs(parser: str, number: signal.Signals) -> None:
    with program(EXAMPLES / "tiny_flask.py", "0", WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        until(lambda: client.ask("POST", "/stop-not", "").status == 404)
        until(lambda: client.ask("GET", "/stop").status == 405)  # the last route is there
        assert client.get("/").text == "0 notices, 0 files\n"
        assert client.get("/echo/hello%20there/").text == "hello there"
        shown = client.ask("PUT", "/request?a=b", "content", x_bird="wee").text
        assert shown.startswith("PUT /request?a=b HTTP/1.1\n")
        assert "\nx-bird: wee\n" in shown
        assert shown.endswith("\n\ncontent")
        created = client.ask("POST", "/notices/choir", "Monday")
        assert (created.status, created.headers["location"]) == (201, "/notices/choir")
        assert client.get("/notices/choir").text == "Monday"
        missing = client.get("/notices/none")
        assert (missing.status, missing.text) == (404, "Nobody has put up none.\n")
        photo = bytes(range(256))
        assert client.ask("POST", "/files/photo.jpg", photo).status == 201
        assert client.get("/files/photo.jpg").content == photo
        about = client.get("/about", accept_encoding="gzip")
        assert about.headers["content-type"] == "text/html; charset=utf-8"
        assert b"notice board" in gzip.decompress(about.content)
        assert process.stop(number) == 0
        process.wait_for_silence()
        assert not any("\x1b" in line for line in process.said)


def test_the_example_ends_itself() -> None:
    with program(EXAMPLES / "tiny_flask.py", PORT="0") as process:
        client = Client.of(process.url())
        until(lambda: client.ask("GET", "/stop").status == 405)
        assert client.ask("POST", "/stop", "").text == "Bye.\n"
        assert process.process.wait(20) == 0
