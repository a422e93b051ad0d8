"""WSGI applications of others on our waist, in worker threads (PEP 3333)."""

import asyncio
import io
import logging
import sys
import threading
import wsgiref.validate
from contextvars import ContextVar

import flask
import httpx
import pytest
from bridge_helpers import Peer, exchange, on_weebill, scope_of

from weebill.bridges.asgi import serve_scope
from weebill.bridges.wsgi import WSGIApplication
from weebill.threads import WorkerThreads, set_worker_threads


def run(app, *args, root_path="", **options):
    return asyncio.run(exchange(WSGIApplication(app, root_path), *args, **options))


def environ_of(*args, **options):
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        start_response("204 No Content", [])
        return []

    assert run(app, *args, **options).status == 204
    return seen


def text(*pieces, status="200 OK", headers=()):
    """An application whose answer are these pieces, from a generator."""

    def app(environ, start_response):
        start_response(status, [("Content-Type", "text/plain"), *headers])
        yield from pieces

    return app


def whole_of_another_length(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"four"]


# -- environ


def test_the_environ_is_complete():
    headers = [
        ("Host", "example.org:8080"),
        ("Content-Type", "text/x"),
        ("Content-Length", "3"),
        ("X-A", "1"),
    ]
    environ = environ_of("/a%20b?q=%20&r", "POST", headers, content=(b"abc",))
    own = {key: environ.pop(key) for key in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper")}
    assert environ == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "q=%20&r",
        "REQUEST_URI": "/a%20b?q=%20&r",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "3",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "weebill",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "example.org:8080",
        "HTTP_X_A": "1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    assert list(own["wsgi.file_wrapper"](io.BytesIO(b"x"))) == [b"x"]


def test_paths_are_tunnelled_through_latin_1():
    environ = environ_of("/%C3%BC/a%2Fb", root_path="/ä")
    assert environ["PATH_INFO"].encode("latin-1").decode("utf-8") == "/ü/a/b"
    assert environ["SCRIPT_NAME"].encode("latin-1").decode("utf-8") == "/ä"


def test_fields_of_one_name_are_joined():
    headers = [("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    environ = environ_of("/", "GET", headers)
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_a_field_with_an_underscore_cannot_pass_for_another():
    environ = environ_of(
        "/", "GET", [("X_Real_IP", "6.6.6.6"), ("Content_Length", "9"), ("X-Real-IP", "192.0.2.1")]
    )
    assert environ["HTTP_X_REAL_IP"] == "192.0.2.1"
    assert "CONTENT_LENGTH" not in environ


def test_content_that_came_in_chunks_has_a_length():
    environ = environ_of("/", "POST", [("Transfer-Encoding", "chunked")], content=(b"ab", b"c"))
    assert environ["CONTENT_LENGTH"] == "3"
    assert "HTTP_TRANSFER_ENCODING" not in environ


@pytest.mark.parametrize(
    ("host", "scheme", "name", "port"),
    [
        ("example.org:81", "http", "example.org", "81"),
        ("[::1]:81", "http", "[::1]", "81"),
        ("example.org", "http", "example.org", "80"),
        ("example.org", "https", "example.org", "443"),
        ("", "http", "localhost", "80"),
    ],
)
def test_a_wire_without_addresses_is_named_by_host(host, scheme, name, port):
    headers = [("Host", host)] if host else []
    environ = environ_of("/", "GET", headers, scheme=scheme, server=None, client=None)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["REMOTE_ADDR"] == ""


# -- wsgi.input and wsgi.errors


def test_the_content_can_be_read_as_a_file():
    def app(environ, start_response):
        file = environ["wsgi.input"]
        read = [file.read(2), file.readline(), file.readlines(), file.read()]
        start_response("200 OK", [])
        return [repr(read).encode()]

    answer = run(app, "/", "POST", content=(b"abcd\nline\n", b"end"))
    assert answer.body == repr([b"ab", b"cd\n", [b"line\n", b"end"], b""]).encode()


def test_long_content_is_read_from_disk():
    content = bytes(range(256)) * 10000

    def app(environ, start_response):
        file, pieces = environ["wsgi.input"], []
        while piece := file.read(100_001):
            pieces.append(piece)
        start_response("200 OK", [])
        return pieces

    pieces = tuple(content[n : n + 60_000] for n in range(0, len(content), 60_000))
    assert run(app, "/", "POST", content=pieces).body == content


def test_wsgi_errors_goes_to_the_log_line_by_line(caplog):
    def app(environ, start_response):
        print("one", "two", file=environ["wsgi.errors"])
        environ["wsgi.errors"].writelines(["three\nfo", "ur"])
        start_response("200 OK", [])
        return []

    run(app)
    assert [record.message for record in caplog.records] == ["one two", "three", "four"]


# -- answers


def test_an_answer_from_a_list_is_one_write_with_its_length():
    def app(environ, start_response):
        start_response("201 Created", [("X-A", "b")])
        return [b"ab", b"", b"cd"]

    answer = run(app)
    assert (answer.status, answer.headers) == (201, {"x-a": "b", "content-length": "4"})
    assert answer.pieces == [b"abcd"]


def test_a_generator_is_streamed_piece_by_piece():
    answer = run(text(b"one", b"", b"two"))
    assert answer.pieces == [b"one", b"two", b""]
    assert "content-length" not in answer.headers


def test_a_piece_as_long_as_content_length_is_the_whole_answer_in_one_hop():
    hops = []

    class Counting(WorkerThreads):
        def run(self, function, *args):
            hops.append(function)
            return super().run(function, *args)

    async def main(app):
        set_worker_threads(Counting(asyncio.get_running_loop()))
        return await exchange(WSGIApplication(app))

    answer = asyncio.run(main(text(b"one", headers=[("Content-Length", "3")])))
    assert answer.pieces == [b"one"]
    assert len(hops) == 1


def test_the_next_piece_is_made_only_when_the_client_has_room():
    made = []

    def app(environ, start_response):
        start_response("200 OK", [])
        for n in range(5):
            made.append(n)
            yield b"%d" % n

    async def main():
        peer, room = Peer(), asyncio.Event()
        waiting = asyncio.Event()

        async def send(message):
            await peer.send(message)
            if message.get("body") == b"1":
                waiting.set()
                await room.wait()

        task = asyncio.create_task(serve_scope(WSGIApplication(app), scope_of("/"), peer.receive, send))
        await waiting.wait()
        assert made == [0, 1]
        room.set()
        await task
        assert peer.answer.body == b"01234"

    asyncio.run(main())


def test_head_has_no_content_and_no_length_that_is_not_known():
    answer = run(text(b"one", b"two"), method="HEAD")
    assert (answer.status, answer.body, answer.complete) == (200, b"", True)
    assert "content-length" not in answer.headers
    given = run(text(headers=[("Content-Length", "6")]), method="HEAD")
    assert (given.headers["content-length"], given.body) == ("6", b"")


def test_start_response_may_come_with_the_first_piece():
    class Late:
        def __init__(self, environ, start_response):
            self.start_response = start_response

        def __iter__(self):
            self.start_response("200 OK", [])
            return iter((b"late",))

    assert run(Late).body == b"late"


def test_write_sends_before_the_application_returns():
    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"one")
        write(b"two")
        return [b"three"]

    answer = run(app)
    assert answer.pieces == [b"one", b"two", b"three", b""]


def test_fields_that_frame_are_left_to_the_wire():
    headers = [("Transfer-Encoding", "chunked"), ("Trailer", "x"), ("Connection", "keep-alive")]
    assert run(text(b"x", b"y", headers=headers)).headers == {"content-type": "text/plain"}


# -- exc_info and errors


def test_start_response_with_exc_info_replaces_the_head():
    def app(environ, start_response):
        start_response("200 OK", [("X-A", "1")])
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oops", [("X-B", "2")], sys.exc_info())
        return [b"sorry"]

    answer = run(app)
    assert (answer.status, answer.body) == (500, b"sorry")
    assert "x-a" not in answer.headers


def test_start_response_with_exc_info_raises_once_the_head_is_sent(caplog):
    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"one")
        try:
            raise ZeroDivisionError("late")
        except ZeroDivisionError:
            start_response("500 Oops", [], sys.exc_info())
        raise AssertionError

    answer = run(app)
    assert (answer.body, answer.complete) == (b"one", False)
    assert "ZeroDivisionError: late" in caplog.text


def raising(environ, start_response):
    raise ZeroDivisionError


def exiting(environ, start_response):
    sys.exit("enough")


def calling_nothing(environ, start_response):
    return [b"x"]


def calling_twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


@pytest.mark.parametrize("pieces", [(b"abcdef",), (b"ab", b"", b"cd", b"ef"), (b"abc", b"def")])
def test_an_iterable_is_read_up_to_its_content_length(pieces):
    answer = run(text(*pieces, headers=[("Content-Length", "3")]))
    assert (answer.status, answer.body, answer.complete) == (200, b"abc", True)
    assert run(text(*pieces, headers=[("Content-Length", "0")])).body == b""


def test_a_question_about_the_server_as_a_whole_does_not_reach_the_application():
    assert run(raising, "*", "OPTIONS").status == 200


@pytest.mark.parametrize(
    ("app", "error"),
    [
        (raising, "ZeroDivisionError"),
        (exiting, "SystemExit: enough"),
        (calling_nothing, "without calling start_response"),
        (calling_twice, "called twice without exc_info"),
        (text("not bytes"), "gave str instead of bytes"),
        (text(status="OK"), "the status 'OK' is no text like '200 OK'"),
        (text(status="100 Continue"), "the status '100 Continue'"),
        (text(status="200 OK\r\nx: y"), "is no text like"),
        (text(headers=[("X-A", "b\r\nc: d")]), "holds the control byte"),
        (text(headers=[("X-A", 1)]), "AttributeError"),
        (whole_of_another_length, "ResponseError"),
    ],
)
def test_what_breaks_the_rules_is_500_and_logged_once(app, error, caplog):
    answer = run(app)
    assert answer.status in (200, 500)
    assert answer.status == 500 or not answer.complete
    assert error in caplog.text
    assert len(caplog.records) == 1


def test_an_error_in_the_middle_cuts_the_answer(caplog):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"one"
        raise ZeroDivisionError

    answer = run(app)
    assert (answer.body, answer.complete) == (b"one", False)
    assert caplog.text.count("Traceback") == 1


def test_a_full_queue_is_503():
    async def main():
        pool = WorkerThreads(asyncio.get_running_loop(), size=1, queue=0)
        set_worker_threads(pool)
        release = threading.Event()
        busy = pool.run(release.wait)
        answer = await exchange(WSGIApplication(raising))
        release.set()
        await busy
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")

    asyncio.run(main())


# -- closing


class Closing:
    """An iterable that knows whether it was closed."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.closed = threading.Event()
        self.times = 0

    def __iter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self):
        self.times += 1
        self.closed.set()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("pieces", [(), (b"a",), (b"a", b"b"), (b"a", ZeroDivisionError()), ("text",)])
def test_the_iterable_is_closed_once_however_it_ends(pieces, method):
    iterable = Closing(*pieces)

    def app(environ, start_response):
        start_response("200 OK", [])
        return iterable

    run(app, method=method)
    assert iterable.closed.wait(5)
    assert iterable.times == 1


def test_the_iterable_is_closed_when_the_client_goes():
    iterable = Closing(*[b"x"] * 100)

    def app(environ, start_response):
        start_response("200 OK", [])
        return iterable

    async def main():
        peer = Peer()

        async def send(message):
            await peer.send(message)
            if message.get("body"):
                peer.leave()

        await serve_scope(WSGIApplication(app), scope_of("/"), peer.receive, send)

    asyncio.run(main())
    assert iterable.closed.wait(5)


def test_the_iterable_is_closed_when_the_request_is_cancelled_in_a_hop():
    iterable = Closing(b"x")
    begun, release = threading.Event(), threading.Event()

    def app(environ, start_response):
        begun.set()
        release.wait()
        start_response("200 OK", [])
        return iterable

    async def main():
        task = asyncio.create_task(exchange(WSGIApplication(app)))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()

    asyncio.run(main())
    assert iterable.closed.wait(5)


def test_write_tells_of_a_client_that_has_gone(caplog):
    caplog.set_level(logging.INFO, "weebill")
    seen = []

    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"one")
        try:
            write(b"two")
        except BrokenPipeError:
            seen.append("broken pipe")
            raise

    async def main():
        peer = Peer()

        async def send(message):
            await peer.send(message)
            if message.get("body"):
                peer.leave()

        await serve_scope(WSGIApplication(app), scope_of("/"), peer.receive, send)

    asyncio.run(main())
    assert seen == ["broken pipe"]
    assert "after its client had gone" in caplog.text
    assert "Traceback" not in caplog.text


# -- threads and contexts


def test_applications_that_block_run_side_by_side():
    together = threading.Barrier(10)

    def app(environ, start_response):
        together.wait(5)
        start_response("200 OK", [])
        return [threading.current_thread().name.encode()]

    async def main():
        answers = await asyncio.gather(*(exchange(WSGIApplication(app)) for _ in range(10)))
        assert len({answer.body for answer in answers}) == 10
        assert all(answer.body.startswith(b"weebill-worker") for answer in answers)

    asyncio.run(main())


def test_a_generator_keeps_its_context_variables():
    variable = ContextVar("variable", default="none")

    def app(environ, start_response):
        start_response("200 OK", [])
        token = variable.set(environ["PATH_INFO"])
        yield b"one "
        yield variable.get().encode()
        variable.reset(token)

    assert run(app, "/kept").body == b"one /kept"
    assert variable.get() == "none"


# -- whole applications


def flask_app():
    app = flask.Flask("program")

    @app.get("/hello/<name>")
    def hello(name):
        return f"hello {name} {flask.request.args.get('q')}"

    @app.post("/json")
    def json():
        return {"got": flask.request.get_json(), "ip": flask.request.remote_addr}

    @app.post("/upload")
    def upload():
        return f"{flask.request.form['name']}: {len(flask.request.files['file'].read())}"

    @app.get("/stream")
    def stream():
        @flask.stream_with_context
        def pieces():
            for n in range(3):
                yield f"{flask.request.args['q']}{n};"

        return pieces()

    @app.get("/url")
    def url():
        return flask.url_for("hello", name="ü/x")

    @app.get("/broken")
    def broken():
        raise ZeroDivisionError

    return app


def test_the_reference_validator_finds_no_fault():
    validated = wsgiref.validate.validator(text(b"one", b"two"))
    answer = run(validated, "/%C3%BC?q", "POST", [("Content-Length", "3")], content=(b"abc",))
    assert answer.body == b"onetwo"
    assert answer.complete


def test_flask_runs_in_memory():
    app = flask_app()
    assert run(app, "/hello/you?q=1").body == b"hello you 1"
    assert run(app, "/hello/you", "HEAD").headers["content-length"] == "14"
    assert run(app, "/url", root_path="/api").body == b"/api/hello/%C3%BC/x"
    assert run(app, "/missing").status == 404


@pytest.fixture(scope="module", params=["httptools", "h11"])
def client(request):
    with (
        on_weebill(WSGIApplication(flask_app()), request.param) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        yield client


def test_flask_runs_on_our_server(client):
    assert client.get("/hello/you?q=1").text == "hello you 1"
    assert client.post("/json", json={"a": [1]}).json() == {"got": {"a": [1]}, "ip": "127.0.0.1"}
    assert client.post(
        "/json", content=iter([b'{"a"', b":1}"]), headers={"content-type": "application/json"}
    ).json()["got"] == {"a": 1}
    content = b"x" * 3_000_000
    assert client.post("/upload", data={"name": "file"}, files={"file": content}).text == "file: 3000000"
    streamed = client.get("/stream?q=n")
    assert (streamed.text, streamed.headers["transfer-encoding"]) == ("n0;n1;n2;", "chunked")
    head = client.head("/hello/you")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "14", b"")
    assert client.get("/broken").status_code == 500
    assert client.delete("/broken").status_code == 405
    assert client.get("/url").text == "/hello/%C3%BC/x"
