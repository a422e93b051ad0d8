"""Handler classes of the standard library's http.server on our waist."""

import asyncio
import functools
import http.server
import json
import logging
import socket
import sys
import threading

import httpx
import pytest
from bridge_helpers import Peer, exchange, on_weebill, scope_of

from weebill.bridges.asgi import serve_scope
from weebill.bridges.http_server import BOUND, HandlerClassApplication
from weebill.server.memory import MemoryExchange
from weebill.threads import WorkerThreads, set_worker_threads


def run(handler_class, *args, **options):
    return asyncio.run(exchange(HandlerClassApplication(handler_class), *args, **options))


class Base(http.server.BaseHTTPRequestHandler):
    """Answers in the usual way."""

    def answer(self, content, status=200, length=True, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Showing(Base):
    """Tells what it sees of the request."""

    def do_GET(self):
        seen = {
            "command": self.command,
            "path": self.path,
            "version": self.request_version,
            "requestline": self.requestline,
            "client": self.client_address,
            "address": self.address_string(),
            "server": [self.server.server_name, self.server.server_port, self.server.server_address],
            "headers": list(self.headers.items()),
            "x-a": self.headers["x-a"],
            "all": self.headers.get_all("X-A"),
        }
        self.answer(json.dumps(seen).encode(), Content_Type="application/json")

    do_PURGE = do_GET


def test_a_handler_sees_its_request():
    answer = run(Showing, "/a%20b?q=1", "PURGE", [("X-A", "1"), ("x-a", "ü")])
    assert json.loads(answer.body) == {
        "command": "PURGE",
        "path": "/a%20b?q=1",
        "version": "HTTP/1.1",
        "requestline": "PURGE /a%20b?q=1 HTTP/1.1",
        "client": ["192.0.2.7", 50000],
        "address": "192.0.2.7",
        "server": ["example.org", 8080, ["example.org", 8080]],
        "headers": [["X-A", "1"], ["x-a", "ü"]],
        "x-a": "1",
        "all": ["1", "ü"],
    }
    assert answer.headers == {"content-type": "application/json", "content-length": str(len(answer.body))}


def test_a_request_of_http_2_is_told_as_1_1():
    assert json.loads(run(Showing, http_version="2").body)["version"] == "HTTP/1.1"
    assert json.loads(run(Showing, http_version="1.0").body)["version"] == "HTTP/1.0"


def test_a_handler_without_addresses_still_runs():
    seen = json.loads(run(Showing, client=None, server=None).body)
    assert (seen["client"], seen["server"][:2]) == (["", 0], ["localhost", 80])


class Reading(Base):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.answer(self.rfile.read(length), Expect=str(self.headers["Expect"]))


def test_content_is_read_from_rfile():
    headers = [("Content-Length", "5"), ("Expect", "100-continue")]
    answer = run(Reading, "/", "POST", headers, content=(b"ab\r\n", b"c"))
    assert (answer.body, answer.headers["expect"]) == (b"ab\r\nc", "None")


def test_content_that_came_in_chunks_has_a_length():
    content = bytes(range(256)) * 8000
    pieces = tuple(content[n : n + 50_000] for n in range(0, len(content), 50_000))
    answer = run(Reading, "/", "POST", [("Transfer-Encoding", "chunked")], content=pieces)
    assert answer.body == content


def test_content_that_is_left_unread_is_no_second_request(caplog):
    class Keeping(Base):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.answer(b"first", Connection="keep-alive")

        def do_GET(self):
            raise AssertionError

    smuggled = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
    headers = [("Content-Length", str(len(smuggled))), ("Connection", "keep-alive")]
    answer = run(Keeping, "/", "POST", headers, content=(smuggled,))
    assert answer.body == b"first"
    assert not caplog.records


# -- answers


def test_a_whole_answer_is_one_write_with_its_length():
    class Handler(Base):
        def do_GET(self):
            self.answer(b"one", length=False)
            self.wfile.write(b"two")
            self.wfile.flush()

    answer = run(Handler)
    assert answer.pieces == [b"onetwo"]
    assert answer.headers == {"content-length": "6"}


def test_a_long_answer_is_streamed():
    class Handler(Base):
        def do_GET(self):
            self.answer(b"", length=False)
            for _ in range(10):
                self.wfile.write(b"x" * (BOUND // 4))

    answer = run(Handler)
    assert answer.body == b"x" * (BOUND // 4 * 10)
    assert len(answer.pieces) > 2
    assert "content-length" not in answer.headers


def test_a_slow_answer_goes_out_as_it_is_written():
    written, seen = threading.Event(), threading.Event()

    class Handler(Base):
        def do_GET(self):
            self.answer(b"one", length=False)
            assert seen.wait(5)
            self.wfile.write(b"two")
            self.wfile.flush()
            written.set()

    async def main():
        peer = Peer()

        async def send(message):
            await peer.send(message)
            if message.get("body") == b"one":
                assert not written.is_set()
                seen.set()

        await serve_scope(HandlerClassApplication(Handler), scope_of("/"), peer.receive, send)
        assert peer.answer.pieces == [b"one", b"two", b""]

    asyncio.run(main())


def test_a_handler_may_write_its_answer_by_hand():
    class Handler(Base):
        def do_GET(self):
            for piece in (b"HTTP/1.0 201 Fine\r\nX-A:", b" b\r\n\r", b"\nhel", b"lo"):
                self.wfile.write(piece)

    answer = run(Handler)
    assert (answer.status, answer.headers["x-a"], answer.body) == (201, "b", b"hello")


def test_interim_answers_are_passed_over():
    class Handler(Base):
        def do_GET(self):
            self.send_response_only(100)
            self.end_headers()
            self.answer(b"real")

    assert run(Handler).body == b"real"


def test_a_buffered_wfile_works():
    class Handler(Base):
        wbufsize = -1
        timeout = 5
        disable_nagle_algorithm = True

        def do_GET(self):
            self.answer(b"x" * 20000)

    assert run(Handler).body == b"x" * 20000


def test_fields_of_the_wire_and_the_version_of_python_stay_inside():
    class Handler(Base):
        def do_GET(self):
            self.answer(b"", Connection="close", Keep_Alive="5", Date="today")

    assert run(Handler).headers == {"content-length": "0"}


@pytest.mark.parametrize("at_once", [True, False])
def test_chunks_that_a_handler_makes_by_hand_are_taken_off(at_once):
    pieces = [b"6\r\nhello \r\n", b"5;x=y\r\nwor", b"ld\r\n0\r\n\r\n"]

    class Handler(Base):
        def do_GET(self):
            self.answer(b"", length=False, Transfer_Encoding="Chunked")
            for piece in [b"".join(pieces)] if at_once else pieces:
                self.wfile.write(piece)

    answer = run(Handler)
    assert (answer.status, answer.body) == (200, b"hello world")
    assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize("written", [b"", b"3\r\nabc\r\n", b"hello", b"0\r\n\r\nmore"])
def test_chunks_that_are_none_are_500(written, caplog):
    class Handler(Base):
        def do_GET(self):
            self.answer(written, length=False, Transfer_Encoding="chunked")

    assert run(Handler).status == 500
    assert len(caplog.records) == 1
    assert "chunk" in caplog.text


def test_an_upgrade_that_a_handler_offers_is_sent():
    class Handler(Base):
        def do_GET(self):
            self.send_response(426)
            self.send_header("Upgrade", "h2c")
            self.end_headers()

    answer = MemoryExchange("GET", "/")
    asyncio.run(answer.serve(HandlerClassApplication(Handler)))
    assert (b"Upgrade", b"h2c") in answer.answer_fields


def test_a_question_about_the_server_as_a_whole_does_not_reach_the_handler():
    assert run(Showing, "*", "OPTIONS").status == 200


def test_a_server_field_of_its_own_is_sent():
    class Handler(Base):
        def version_string(self):
            return "mine"

        do_GET = Showing.do_GET

    assert run(Handler).headers["server"] == "mine"


# -- methods


def test_a_method_without_a_function_is_501():
    answer = run(Showing, "/", "BREW")
    assert answer.status == 501
    assert b"Unsupported method ('BREW')" in answer.body


def test_head_runs_do_get_without_its_content():
    answer = run(Showing, "/", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


def test_head_never_falls_through_to_files(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")

    class Hiding(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

    hiding = functools.partial(Hiding, directory=str(tmp_path))
    assert run(hiding, "/secret.txt").status == 403
    assert run(hiding, "/secret.txt", "HEAD").status == 403


def test_a_do_head_of_its_own_counts():
    class Handler(Showing):
        def do_HEAD(self):
            self.send_response(202)
            self.end_headers()

    class Later(Handler):
        def do_HEAD(self):
            self.send_response(203)
            self.end_headers()

    assert run(Handler, "/", "HEAD").status == 202
    assert run(Later, "/", "HEAD").status == 203


def test_the_file_server_of_the_standard_library_runs(tmp_path):
    (tmp_path / "a.txt").write_text("content")
    (tmp_path / "folder").mkdir()
    files = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    answer = run(files, "/a.txt")
    assert (answer.body, answer.headers["content-type"]) == (b"content", "text/plain")
    head = run(files, "/a.txt", "HEAD")
    assert (head.body, head.headers["content-length"]) == (b"", "7")
    assert run(files, "/folder").headers["location"] == "/folder/"
    assert b"a.txt" in run(files, "/").body
    assert run(files, "/missing").status == 404


def test_a_class_with_an_init_and_a_setup_of_its_own_runs(tmp_path):
    (tmp_path / "a.txt").write_text("content")

    class Own(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **options):
            super().__init__(*args, directory=str(tmp_path), **options)

        def setup(self):
            super().setup()
            self.word = "set up"

        def end_headers(self):
            self.send_header("X-Word", self.word)
            super().end_headers()

    answer = run(Own, "/a.txt")
    assert (answer.body, answer.headers["x-word"]) == (b"content", "set up")


# -- the log


def test_requests_are_logged_with_controls_escaped(caplog):
    caplog.set_level(logging.INFO, "weebill.access")

    class Handler(Showing):
        def do_GET(self):
            self.log_message("%s", "a\x1b[31m\r\nb")
            super().do_GET()

    run(Handler, "/path")
    assert [record.getMessage() for record in caplog.records] == [
        r"192.0.2.7 a\x1b[31m\x0d\x0ab",
        '192.0.2.7 "GET /path HTTP/1.1" 200 -',
    ]


def test_a_log_message_of_its_own_counts(caplog):
    caplog.set_level(logging.INFO)
    seen = []

    class Handler(Showing):
        def log_message(self, text, *args):
            seen.append(text % args)

    run(Handler, "/path")
    assert seen == ['"GET /path HTTP/1.1" 200 -']
    assert not caplog.records


# -- what goes wrong


class Nothing(Base):
    def do_GET(self):
        pass


class HalfAHead(Base):
    def do_GET(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-A: b\r\n")


class Raising(Base):
    def do_GET(self):
        self.answer(b"some of it", length=False)
        raise ZeroDivisionError


class Exiting(Base):
    def do_GET(self):
        sys.exit("enough")


class Injecting(Base):
    def do_GET(self):
        self.answer(b"", X_A="b\r\nSet-Cookie: c")


class InjectingName(Base):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X A\n", "b")


class NoHead(Base):
    def do_GET(self):
        self.wfile.write(b"hello\n\n")


class NoField(Base):
    def do_GET(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nhello\r\n\r\n")


class Switching(Base):
    def do_GET(self):
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")


class EndlessHead(Base):
    def do_GET(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-A: " + b"b" * 70000)


class TooLong(Base):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"four")


@pytest.mark.parametrize(
    ("handler_class", "error"),
    [
        (Nothing, "the handler wrote no answer"),
        (HalfAHead, "the handler wrote only a part of the head"),
        (Raising, "ZeroDivisionError"),
        (Exiting, "SystemExit: enough"),
        (Injecting, "the field X-A holds the control byte"),
        (InjectingName, "is no field name"),
        (NoHead, "the handler wrote b'hello' where the status line belongs"),
        (NoField, "the handler wrote b'hello' among the fields"),
        (Switching, "cannot switch to another protocol"),
        (EndlessHead, "longer than 65536 bytes"),
        (TooLong, "ResponseError"),
    ],
)
def test_what_is_no_answer_is_500_and_logged_once(handler_class, error, caplog):
    answer = run(handler_class, "/path")
    assert (answer.status, answer.complete) == (500, True)
    assert error in caplog.text
    assert f"{handler_class.__name__} failed, in answer to GET '/path'" in caplog.text
    assert len(caplog.records) == 1


def test_a_phrase_cannot_bring_fields_with_it():
    class Handler(Base):
        def do_GET(self):
            self.send_response(200, "OK\r\nSet-Cookie: a=b")
            self.end_headers()

    assert run(Handler).headers == {"content-length": "0"}


def test_an_error_in_the_middle_of_a_long_answer_cuts_it(caplog):
    class Handler(Base):
        def do_GET(self):
            self.answer(b"x" * (BOUND + 1), length=False)
            raise ZeroDivisionError

    answer = run(Handler)
    assert (answer.status, answer.complete) == (200, False)
    assert caplog.text.count("Traceback") == 1


def test_wfile_tells_of_a_client_that_has_gone(caplog):
    caplog.set_level(logging.INFO, "weebill")

    class Handler(Base):
        def do_GET(self):
            self.answer(b"", length=False)
            while True:
                self.wfile.write(b"x" * (BOUND + 1))

    async def main():
        peer = Peer()

        async def send(message):
            await peer.send(message)
            peer.leave()

        await serve_scope(HandlerClassApplication(Handler), scope_of("/"), peer.receive, send)

    asyncio.run(main())
    assert "ended with BrokenPipeError" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_refusal_of_the_wire_is_answered_without_the_handler():
    assert run(Raising, "/%zz").status == 400
    assert run(Raising, "/", content=(b"x" * 11,), max_body=10).status == 413


def test_a_full_queue_is_503():
    async def main():
        pool = WorkerThreads(asyncio.get_running_loop(), size=1, queue=0)
        set_worker_threads(pool)
        release = threading.Event()
        busy = pool.run(release.wait)
        answer = await exchange(HandlerClassApplication(Showing))
        release.set()
        await busy
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")

    asyncio.run(main())


# -- live


class Live(Base):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/long":
            self.answer(b"x" * 1_000_000, length=False)
        elif self.path == "/error":
            self.send_error(418)
        else:
            self.answer(f"hello {self.path} from {self.server.server_port}".encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))


@pytest.fixture(scope="module", params=["httptools", "h11"])
def client(request):
    application = HandlerClassApplication(Live)
    with on_weebill(application, request.param) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client


def test_a_handler_class_runs_on_our_server(client):
    first = client.get("/x?y")
    assert first.text == f"hello /x?y from {client.base_url.port}"
    assert "date" in first.headers
    assert client.head("/x?y").headers["content-length"] == first.headers["content-length"]
    long = client.get("/long")
    assert (len(long.content), long.headers["transfer-encoding"]) == (1_000_000, "chunked")
    content = bytes(range(256)) * 8000
    assert client.post("/", content=content).content == content
    assert client.post("/", content=iter([b"a", b"b"])).content == b"ab"
    error = client.get("/error")
    assert (error.status_code, "Teapot" in error.text) == (418, True)
    assert client.delete("/").status_code == 501


def test_idle_clients_block_nobody(client):
    address = (client.base_url.host, client.base_url.port)
    idle = [socket.create_connection(address, timeout=5) for _ in range(60)]
    try:
        assert client.get("/x").status_code == 200
    finally:
        for connection in idle:
            connection.close()
