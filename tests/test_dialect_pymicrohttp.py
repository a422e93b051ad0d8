"""weebill.dialects.pymicrohttp: each sentence of what it promises, over real sockets, under both parsers."""

import inspect
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dialect_helpers import EXAMPLES, PARSERS, Client, Log, logged, program, until
from processes import environment

from weebill.dialects.pymicrohttp import VERBS, Server
from weebill.errors import SignatureError
from weebill.testing import LiveServer, TestClient


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    with logged() as log:
        yield log


@pytest.fixture
def s() -> Server:
    return Server()


@pytest.fixture
def client(s: Server, parser: str) -> Iterator[Client]:
    """Routes may come later."""
    with ExitStack() as stack:
        yield Client.of(stack.enter_context(LiveServer(s, http=parser)).url)


def say(text: Any) -> Callable[[Any], Any]:
    """A handler that says `text`."""
    return lambda request: text


# -- registration


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_and_a_path_find_their_handler(s: Server, client: Client, verb: str) -> None:
    @s.register(f"{verb} /here")
    def here(request: dict[str, Any]) -> tuple[str, int, dict[str, str]]:
        return "found", 200, {"X-Verb": request["verb"]}

    s.register_handler("POST /other", say("other"))
    answer = client.ask(verb, "/here")
    assert (answer.status, answer.headers["x-verb"]) == (200, verb)
    assert answer.content == (b"" if verb == "HEAD" else b"found")
    assert client.ask("POST", "/other").text == "other"
    assert client.ask(verb, "/there").status == 404


def test_register_returns_the_function_it_was_given(s: Server) -> None:
    def handler(request: dict[str, Any]) -> str:
        return ""

    def wrap(inner: Any) -> Any:
        return inner

    assert s.register("GET /a")(handler) is handler
    assert s.register("GET /b", middleware=wrap)(handler) is handler
    assert s.register("GET /c", [wrap, wrap])(handler) is handler
    assert s.beforeAll()(wrap) is wrap
    assert s.before_all()(wrap) is wrap


@pytest.mark.parametrize(
    "key",
    [
        "",
        "GET",
        "/path",
        "GET/path",
        "GET path",
        "get /path",
        "FETCH /path",
        "TRACE /path",
        "GET  /path",
        "GET /a b",
        "GET /a ",
        " GET /a",
        "GET /a\n",
        "GET /a?b=c",
        "GET /users/:",
        "GET /:a/:a",
        "** /a",
        "GET,POST /a",
    ],
)
def test_a_bad_key_is_a_value_error_that_shows_it(s: Server, key: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(key))):
        s.register(key)(say(""))
    with pytest.raises(ValueError, match=re.escape(repr(key))):
        s.register_handler(key, say(""))


def test_a_key_that_is_no_text_is_a_value_error_too(s: Server) -> None:
    with pytest.raises(ValueError, match=r"\('GET', '/'\) is no verb and path; write it like"):
        s.register_handler(("GET", "/"), say(""))  # type: ignore[arg-type]


def test_a_handler_that_cannot_be_called_is_told_by_name(s: Server) -> None:
    def two(request: Any, other: Any) -> None: ...

    async def waiting(request: Any) -> None: ...

    here = re.escape(__file__)
    with pytest.raises(SignatureError, match=rf"two \({here}:\d+\) of GET /x is called with \(request\): "):
        s.register_handler("GET /x", two)
    with pytest.raises(SignatureError, match=rf"waiting \({here}:\d+\) of GET /x is async"):
        s.register("GET /x")(waiting)

    def broken(inner: Any) -> Any: ...

    with pytest.raises(SignatureError, match=rf"middleware .*broken \({here}:\d+\) of GET /x returned None"):
        s.register("GET /x", broken)(say(""))


@pytest.mark.parametrize("verb", [*VERBS, "PURGE", "M-SEARCH"])
def test_a_star_matches_any_verb(s: Server, client: Client, verb: str) -> None:
    s.register_handler("* /ping", lambda request: (request["verb"], 200, {"X-Verb": request["verb"]}))
    answer = client.raw(f"{verb} /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"\r\nX-Verb: {verb}\r\n".encode() in answer


def test_a_star_does_not_bring_back_trace(s: Server, client: Client) -> None:
    s.register_handler("* /ping", say("pong"))
    answer = client.raw(b"TRACE /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 ")


@pytest.mark.parametrize("order", [1, -1])
def test_a_verb_of_its_own_goes_before_the_star(s: Server, client: Client, order: int) -> None:
    for key in ["GET /ping", "* /ping", "* /x/:a", "POST /x/:b"][::order]:
        s.register_handler(key, say(key))
    assert client.ask("GET", "/ping").text == "GET /ping"
    assert client.ask("PUT", "/ping").text == "* /ping"
    assert client.ask("POST", "/x/1").text == "POST /x/:b"
    assert client.ask("GET", "/x/1").text == "* /x/:a"
    assert client.ask("HEAD", "/ping").headers["content-length"] == str(len("GET /ping"))


@pytest.mark.parametrize("order", [1, -1])
def test_exact_paths_go_before_patterns(s: Server, client: Client, order: int) -> None:
    for key in ["GET /birds/:name", "GET /birds/all", "* /birds/none", "GET /:a/:b"][::order]:
        s.register_handler(key, say(key))
    assert client.get("/birds/all").text == "GET /birds/all"
    assert client.get("/birds/none").text == "* /birds/none"
    assert client.get("/birds/one").text == ["GET /birds/:name", "GET /:a/:b"][::order][0]
    assert client.get("/x/y").text == "GET /:a/:b"


def test_the_same_key_again_replaces(s: Server, client: Client) -> None:
    for key, path in (("GET /a", "/a"), ("* /b", "/b"), ("PUT /c/:x", "/c/1")):
        verb = key.split()[0].replace("*", "GET")
        s.register_handler(key, say("first"))
        assert client.ask(verb, path).text == "first"
        s.register(key)(say("second"))
        assert client.ask(verb, path).text == "second"


def test_a_name_is_one_segment(s: Server, client: Client) -> None:
    s.register_handler("GET /users/:user-id/books/:book", lambda request: request["params"])
    assert json.loads(client.get("/users/ann/books/7").content) == {"user-id": "ann", "book": "7"}
    assert client.get("/users/ann/books").status == 404
    assert client.get("/users/ann/books/").status == 404
    assert client.get("/users/ann/books/7/8").status == 404
    assert json.loads(client.get("/users/a%2Fb/books/gr%C3%BCn").content) == {
        "user-id": "a/b",
        "book": "grün",
    }


def test_two_keys_of_one_shape_may_name_their_parameters_differently(s: Server, client: Client) -> None:
    s.register_handler("GET /users/:id", lambda request: request["params"])
    s.register_handler("PUT /users/:name", lambda request: request["params"])
    assert json.loads(client.get("/users/1").content) == {"id": "1"}
    assert json.loads(client.ask("PUT", "/users/1").content) == {"name": "1"}


def test_routes_belong_to_the_instance(s: Server, client: Client, parser: str) -> None:
    other = Server()
    s.register_handler("GET /mine", say("first"))
    other.register_handler("GET /mine", say("second"))
    other.register_handler("GET /theirs", say("other"))
    other.before_all()(lambda inner: lambda request: inner(request).upper())
    with LiveServer(other, http=parser) as server:
        assert Client.of(server.url).get("/mine").text == "SECOND"
    assert client.get("/mine").text == "first"
    assert client.get("/theirs").status == 404


def test_head_options_and_405_come_by_themselves(s: Server, client: Client) -> None:
    s.register_handler("GET /thing", say("twelve bytes"))
    s.register_handler("POST /thing", say(""))
    head = client.ask("HEAD", "/thing")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", "12")
    options = client.ask("OPTIONS", "/thing")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = client.ask("DELETE", "/thing")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert client.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")


# -- requests


def test_a_request_is_a_dict(s: Server, client: Client) -> None:
    seen: list[dict[str, Any]] = []

    @s.register("PUT /users/:id")
    @s.register("PUT /users")
    def keep(request: dict[str, Any]) -> None:
        seen.append(request)

    client.raw(
        b"PUT /users/a%20b?x=1&y=%C3%BC+z&x=2&empty HTTP/1.1\r\nHost: x\r\nX-Thing: One\r\n"
        b"Content-Length: 5\r\n\r\ngr\xc3\xbcn"
    )
    client.raw(b"PUT /users HTTP/1.1\r\nHost: x\r\n\r\n")
    first, second = seen
    assert isinstance(first, dict)
    assert set(first) == {"verb", "path", "body", "headers", "params", "query"}
    assert (first["verb"], first["path"], first["body"]) == ("PUT", "/users/a b", "grün")
    assert first["params"] == {"id": "a b"}
    assert first["query"] == {"x": "2", "y": "ü z", "empty": ""}
    assert (second["params"], second["query"], second["body"]) == ({}, {}, "")


def test_headers_are_found_in_any_case_and_keep_their_names(s: Server, client: Client) -> None:
    seen: list[Any] = []
    s.register_handler("GET /", lambda request: seen.append(request["headers"]))
    client.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-THING: One\r\nuser-Agent: me\r\n\r\n")
    headers = seen[0]
    assert headers["x-thing"] == headers["X-Thing"] == headers.get("X-THING") == "One"
    assert "USER-AGENT" in headers
    assert headers.get("nothing") is None
    assert list(headers) == ["Host", "X-THING", "user-Agent"]
    assert dict(headers.items()) == {"Host": "x", "X-THING": "One", "user-Agent": "me"}


def test_a_query_never_breaks_a_match(s: Server, client: Client) -> None:
    s.register_handler("GET /exact", say("exact"))
    s.register_handler("GET /name/:name", lambda request: request["params"]["name"])
    assert client.get("/exact?").text == "exact"
    assert client.get("/exact?a=/b/c&d").text == "exact"
    assert client.get("/name/x?y=/z").text == "x"
    assert client.get("/name/%zz").status == 400


def test_content_of_any_bytes_and_any_size_within_the_limit_arrives(s: Server, client: Client) -> None:
    s.register_handler("POST /same", lambda request: request["body"])
    s.register_handler("POST /status", lambda request: (request["body"], 201))
    content = bytes(range(256)) * (3 << 12)
    assert client.ask("POST", "/same", content).content == content
    answer = client.ask("POST", "/status", content[:256])
    assert (answer.status, answer.content) == (201, content[:256])
    too_much = b"POST /same HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    assert client.raw(too_much).startswith(b"HTTP/1.1 413 ")


def test_a_query_beyond_its_limit_is_400_and_no_failure(s: Server, client: Client, log: Log) -> None:
    s.register_handler("GET /here", say(""))
    query = "&".join(["a"] * 1001)
    assert client.get(f"/here?{query}").status == 400
    assert client.get(f"/nowhere?{query}").status == 404
    assert not log.errors


# -- what a handler returns


@pytest.mark.parametrize(
    ("value", "status", "kind", "content"),
    [
        ({"a": [1, None]}, 200, "application/json", b'{"a":[1,null]}'),
        ({}, 200, "application/json", b"{}"),
        (["ü"], 200, "application/json", '["ü"]'.encode()),
        ([], 200, "application/json", b"[]"),
        ("<b> ü", 200, "text/plain; charset=utf-8", "<b> ü".encode()),
        ("", 200, "text/plain; charset=utf-8", b""),
        (b"\x00\xff", 200, "application/octet-stream", b"\x00\xff"),
        (None, 204, None, b""),
        (({"a": 1}, 201), 201, "application/json", b'{"a":1}'),
        (("gone", 410), 410, "text/plain; charset=utf-8", b"gone"),
        (("x", 200, {}), 200, "text/plain; charset=utf-8", b"x"),
        (("<p>", 200, {"Content-Type": "text/html"}), 200, "text/html", b"<p>"),
        (
            ({"a": 1}, 422, {"content-TYPE": "application/problem+json"}),
            422,
            "application/problem+json",
            b'{"a":1}',
        ),
        ((None, 404), 404, None, b""),
    ],
)
def test_what_is_returned_becomes_its_answer(
    s: Server, client: Client, value: Any, status: int, kind: str | None, content: bytes
) -> None:
    s.register_handler("GET /", say(value))
    answer = client.get("/")
    assert (answer.status, answer.content) == (status, content)
    assert answer.headers.get_all("content-type") == (kind and [kind])
    assert answer.headers["content-length"] == (None if status == 204 else str(len(content)))


def test_headers_of_a_tuple_are_sent(s: Server, client: Client) -> None:
    s.register_handler("GET /", say(("x", 200, {"X-One": "1", "Location": "/y"})))
    answer = client.get("/")
    assert (answer.headers["x-one"], answer.headers["location"]) == ("1", "/y")


@pytest.mark.parametrize(
    "value",
    [
        (),
        ("x",),
        ("x", "200"),
        ("x", 200, {}, 4),
        (200, "x"),
        (("x", 200), 200),
        ("x", 99),
        ("x", 200, 5),
        7,
        {1, 2},
    ],
)
def test_anything_else_is_one_500(s: Server, client: Client, log: Log, value: Any) -> None:
    s.register_handler("GET /", say(value))
    answers = client.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 500 ")
    assert len(log.errors) == 1


@pytest.mark.parametrize("headers", [{"X-A": "a\r\nX-Evil: 1"}, {"X-A": "a\nb"}, {"X\r\nX-Evil": "1"}])
def test_headers_with_controls_are_refused(
    s: Server, client: Client, log: Log, headers: dict[str, str]
) -> None:
    s.register_handler("GET /", say(("x", 200, headers)))
    answer = client.get("/")
    assert (answer.status, answer.headers["x-evil"]) == (500, None)
    assert len(log.errors) == 1


def test_an_exception_is_500_and_a_log_line(s: Server, client: Client, log: Log) -> None:
    @s.register("GET /")
    def fail(request: Any) -> None:
        raise ValueError("secret")

    answer = client.get("/")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert len(log.errors) == 1
    assert "fail (" in log.errors[0]
    assert __file__ in log.errors[0]


# -- middleware


def naming(name: str) -> Callable[[Any], Any]:
    """Middleware that puts its name around what is returned."""

    def mw(inner: Any) -> Any:
        def handler(request: Any) -> Any:
            request.setdefault("way", []).append(name)
            return f"{name}({inner(request)})"

        return handler

    return mw


def test_middleware_is_one_callable_or_a_list_with_the_first_outermost(s: Server, client: Client) -> None:
    s.register("GET /one", naming("a"))(say("x"))
    s.register("GET /two", [naming("a"), naming("b")])(say("x"))
    s.register("GET /way", middleware=(naming("a"), naming("b")))(lambda request: "-".join(request["way"]))
    s.register("GET /none", [])(say("x"))
    assert client.get("/one").text == "a(x)"
    assert client.get("/two").text == "a(b(x))"
    assert client.get("/way").text == "a(b(a-b))"  # what one adds to the request, the inner ones see
    assert client.get("/none").text == "x"


def test_middleware_may_answer_early(s: Server, client: Client) -> None:
    def guard(inner: Any) -> Any:
        return lambda request: inner(request) if "x-key" in request["headers"] else ({"error": "no"}, 401)

    s.register("GET /", [guard, naming("a")])(say("x"))
    refused = client.get("/")
    assert (refused.status, json.loads(refused.content)) == (401, {"error": "no"})
    assert client.get("/", x_key="1").text == "a(x)"


def test_middleware_is_wrapped_around_once(s: Server, client: Client) -> None:
    wrapped: list[Any] = []

    def mw(inner: Any) -> Any:
        wrapped.append(inner)
        return inner

    s.before_all()(mw)
    s.register("GET /a", mw)(say("a"))
    s.register("GET /b")(say("b"))
    for _ in range(3):
        assert client.get("/a").text + client.get("/b").text == "ab"
    assert len(wrapped) == 2


def test_wrappers_before_all_are_outermost_in_order(s: Server, client: Client) -> None:
    s.register("GET /", naming("c"))(say("x"))
    s.beforeAll()(naming("a"))
    s.before_all()(naming("b"))
    assert client.get("/").text == "a(b(c(x)))"
    s.before_all()(naming("late"))  # and while it serves
    assert client.get("/").text == "a(b(late(c(x))))"


def test_wrappers_before_all_see_404s(s: Server, client: Client) -> None:
    seen: list[Any] = []

    @s.beforeAll()
    def watch(inner: Any) -> Any:
        def handler(request: Any) -> Any:
            result = inner(request)
            body, status, headers = result
            seen.append((request["verb"], request["path"], request["params"], status))
            return body, status, {**headers, "X-Seen": "yes"}

        return handler

    s.register("GET /here/:x")(say(("here", 200, {})))
    for method, target, status in (
        ("GET", "/here/1", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/here/1", 405),
        ("OPTIONS", "/here/1", 204),
    ):
        answer = client.ask(method, target)
        assert (answer.status, answer.headers["x-seen"]) == (status, "yes")
    assert seen == [
        ("GET", "/here/1", {"x": "1"}, 200),
        ("GET", "/nowhere", {}, 404),
        ("POST", "/here/1", {}, 405),
        ("OPTIONS", "/here/1", {}, 204),
    ]


def test_a_wrapper_may_answer_a_404_itself(s: Server, client: Client) -> None:
    s.before_all()(lambda inner: lambda request: {"all": request["path"]})
    answer = client.get("/nowhere?x")
    assert (answer.status, json.loads(answer.content)) == (200, {"all": "/nowhere"})


def test_a_wrapper_may_hand_on_another_request(s: Server, client: Client) -> None:
    s.before_all()(lambda inner: lambda request: inner({**request, "user": "ann"}))
    s.register_handler("GET /", lambda request: request["user"])
    assert client.get("/").text == "ann"


def test_a_wrapper_that_fails_is_500_and_a_log_line(s: Server, client: Client, log: Log) -> None:
    @s.before_all()
    def wrap(inner: Any) -> Any:
        def handler(request: Any) -> Any:
            raise KeyError("secret")

        return handler

    s.register_handler("GET /", say("x"))
    for target in ("/", "/nowhere"):
        log.records.clear()
        answer = client.get(target)
        assert answer.status == 500
        assert "secret" not in answer.text
        assert len(log.errors) == 1


def test_idle_clients_block_nobody(s: Server, client: Client) -> None:
    s.register_handler("GET /", say("x"))
    idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(100)]
    assert client.get("/").text == "x"
    for connection in idle:
        connection.close()


def test_test_client_takes_it(s: Server) -> None:
    s.register_handler("GET /:x", lambda request: request["params"])
    assert TestClient(s).get("/y").json() == {"x": "y"}


# -- start_server


PROGRAM = """
from weebill.dialects.pymicrohttp import Server

s = Server()

@s.register("GET /:x")
def show(request):
    return request["params"]

s.start_server({arguments})
print("and goes on")
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(arguments: str) -> Path:
        path = tmp_path / "program.py"
        path.write_text(PROGRAM.format(arguments=arguments))
        return path

    return write


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_server_blocks_until_it_is_stopped(
    write: Callable[[str], Path], parser: str, number: signal.Signals
) -> None:
    with program(write("port=0, listen_msg=True"), WEEBILL_HTTP=parser) as process:
        assert Client.of(process.url()).get("/y").text == '{"x":"y"}'
        assert process.stop(number) == 0


def test_it_is_localhost_9090_by_default_and_silent() -> None:
    parameters = inspect.signature(Server.start_server).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert defaults == {"host": "localhost", "port": 9090, "listen_msg": False}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_without_listen_msg_it_says_nothing(write: Callable[[str], Path], parser: str) -> None:
    port = free_port()
    path = write(f"'127.0.0.1', {port}")
    process = subprocess.Popen(
        [sys.executable, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(WEEBILL_HTTP=parser),
        text=True,
    )
    try:

        def answers() -> str:
            try:
                return Client(port).get("/y").text
            except ConnectionRefusedError:
                return ""

        assert until(answers) == '{"x":"y"}'
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, err) == (0, "and goes on\n", "")


def test_a_port_in_use_is_one_sentence_and_exit_code_3(write: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = write(f"'127.0.0.1', {port}")
        done = subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            env=environment(),
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith(f"weebill: port {port} on 127.0.0.1 is taken")
    assert done.stderr.count("\n") == 1


# -- the example


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_example_runs(parser: str, number: signal.Signals) -> None:
    with program(EXAMPLES / "pymicrohttp.py", "0", WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        assert json.loads(client.get("/birds?lighter=8").content) == ["weebill"]
        assert client.get("/birds/heaviest").text == "fairywren\n"
        assert json.loads(client.get("/birds/weebill").content) == {"name": "weebill", "grams": 6}
        assert client.get("/birds/emu").status == 404
        put = ("PUT", "/birds/kookaburra", '{"grams": 340}')
        refused = client.ask(*put)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        created = client.ask(*put, authorization="Bearer chirp")
        assert (created.status, created.headers["location"]) == (201, "/birds/kookaburra")
        assert client.ask("PUT", "/birds/x", "{", authorization="Bearer chirp").status == 400
        assert json.loads(client.get("/birds/kookaburra").content)["grams"] == 340
        assert client.ask("DELETE", "/birds/kookaburra", authorization="Bearer chirp").status == 204
        assert client.ask("WHISTLE", "/ping").text == "pong to WHISTLE\n"
        asleep = client.get("/nowhere", x_hour="night")
        assert (asleep.status, asleep.headers["retry-after"]) == (503, "3600")
        assert client.get("/nowhere").status == 404
        seen = client.get("/seen")
        assert seen.headers["content-type"] == "text/csv"
        assert {"WHISTLE /ping", "GET /nowhere", "GET /seen"} < set(seen.text.splitlines())
        echoed = client.ask("POST", "/echo", b"\x00\xff", X_Bird="wee").content
        assert b"\nX-Bird: wee\n" in echoed
        assert echoed.endswith(b"\n\n\x00\xff")
        assert process.stop(number) == 0


def test_the_port_of_the_example_may_come_from_the_environment() -> None:
    with program(EXAMPLES / "pymicrohttp.py", PORT="0") as process:
        assert Client.of(process.url()).get("/ping").text == "pong to GET\n"
        assert process.stop() == 0
