"""TestClient and LiveServer themselves."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from weebill import App, PlainTextResponse, Request, Response
from weebill.errors import ConfigurationError, StartError
from weebill.settings import Settings
from weebill.testing import LiveServer, TestClient
from weebill.testing_loop import LoopThread


def echo_app() -> App:
    app = App()

    @app.route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def echo(request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "target": request.target,
            "url": request.url,
            "headers": dict(request.headers),
            "cookies": request.cookies,
            "text": request.text,
        }

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(echo_app()) as client:
        yield client


# -- requests


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
def test_each_method_has_its_function(client: TestClient, method: str) -> None:
    assert getattr(client, method)("/x").json()["method"] == method.upper()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("x/y", "/x/y"),
        ("/a/../b/./c", "/a/../b/./c"),
        ("//two", "//two"),
        ("/ü ä?q=ö", "/%C3%BC%20%C3%A4?q=%C3%B6"),
        ("/%2F%zz", None),
        ("/a#fragment", "/a"),
        ("/?u=http://there", "/?u=http://there"),
        ("http://testserver/whole?x", "/whole?x"),
    ],
)
def test_the_path_is_sent_as_it_stands(client: TestClient, url: str, target: str | None) -> None:
    answer = client.get(url)
    assert answer.status_code == (200 if target else 400)
    assert target is None or answer.json()["target"] == target


def test_params_join_the_query(client: TestClient) -> None:
    assert (
        client.get("/?a=1", params={"b": [1, 2], "c": "ü&"}).json()["target"] == "/?a=1&b=1&b=2&c=%C3%BC%26"
    )
    assert client.get("/", params=[("a", 1), ("a", 2)]).json()["target"] == "/?a=1&a=2"


def test_fields_are_the_clients_unless_the_test_gives_its_own() -> None:
    with TestClient(echo_app(), "https://example.org:8443", headers={"X-Every": "yes"}) as client:
        answer = client.get("/").json()
        assert answer["url"] == "https://example.org:8443/"
        assert answer["headers"]["host"] == "example.org:8443"
        assert answer["headers"]["X-Every"] == "yes"
        headers = client.get(
            "/", headers=[("HOST", "other"), ("x-every", "no"), ("x-every", "never")]
        ).json()["headers"]
        assert (headers["HOST"], headers["x-every"]) == ("other", "no, never")
        assert "host" not in headers


def test_content_data_and_json_are_sent_with_their_type_and_length(client: TestClient) -> None:
    answer = client.post("/", json={"a": [1]}).json()
    assert (answer["text"], answer["headers"]["content-type"]) == ('{"a":[1]}', "application/json")
    assert answer["headers"]["content-length"] == "9"
    answer = client.post("/", data={"a": ["1", "2"], "b": "ü"}).json()
    assert answer["text"] == "a=1&a=2&b=%C3%BC"
    assert answer["headers"]["content-type"] == "application/x-www-form-urlencoded"
    answer = client.post("/", content="tëxt").json()
    assert (answer["text"], answer["headers"]["content-length"]) == ("tëxt", "5")
    assert "content-type" not in answer["headers"]
    answer = client.post("/", content=iter([b"a", b"b"])).json()
    assert (answer["text"], answer["headers"]["transfer-encoding"]) == ("ab", "chunked")
    with pytest.raises(TypeError, match="exclude each other"):
        client.post("/", content=b"", json={})


def test_a_field_that_http_does_not_allow_is_refused_before_it_is_sent(client: TestClient) -> None:
    with pytest.raises(ValueError, match="control byte"):
        client.get("/", headers={"x": "a\r\nb: c"})


def test_an_answer_has_what_a_test_wants_to_know() -> None:
    app = App()

    @app.get("/")
    async def index() -> Response:
        response = PlainTextResponse("grün".encode("latin-1"), 418, media_type="text/plain; charset=latin-1")
        response.headers.add("set-cookie", "a=1; Path=/")
        response.headers.add("set-cookie", 'b="2"; HttpOnly')
        return response

    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.reason_phrase, answer.http_version) == (
        418,
        "I'm a Teapot",
        "HTTP/1.1",
    )
    assert (answer.text, answer.content) == ("grün", b"gr\xfcn")
    assert answer.cookies == {"a": "1", "b": "2"}
    assert answer.headers["Content-Length"] == "4"
    assert answer.url == "http://testserver/"
    with pytest.raises(ValueError, match="decode byte 0xfc"):
        answer.json()


# -- cookies and redirects


def cookie_app() -> App:
    app = App()

    @app.get("/set")
    async def set_(request: Request) -> Response:
        response = PlainTextResponse("")
        for line in request.query.getlist("line"):
            response.headers.add("set-cookie", line)
        return response

    @app.get("/{path:path}")
    async def show(request: Request) -> dict[str, str]:
        return request.cookies

    return app


def test_cookies_are_kept_and_sent_where_they_belong() -> None:
    client = TestClient(cookie_app())
    client.get("/set", params={"line": ["a=1; Path=/", "b=2; Path=/deep", "c=3; Path=/; Secure", "d=4"]})
    assert client.get("/").json() == {"a": "1", "d": "4"}
    assert client.get("/deep/down").json() == {"b": "2", "a": "1", "d": "4"}
    assert client.get("https://testserver/").json() == {"a": "1", "c": "3", "d": "4"}
    client.get("/set", params={"line": ["a=new; Path=/", "d=; Max-Age=0"]})
    assert client.get("/").json() == {"a": "new"}
    client.cookies.clear()
    assert client.get("/").json() == {}


def test_a_test_may_set_cookies_for_all_requests_or_for_one() -> None:
    client = TestClient(cookie_app())
    client.cookies.set("user", "ann")
    assert client.cookies.get("user") == "ann"
    assert client.cookies.get("other") is None
    assert client.get("/", cookies={"once": "1"}).json() == {"user": "ann", "once": "1"}
    assert client.get("/").json() == {"user": "ann"}


def test_redirects_are_followed_when_asked_with_the_method_that_http_says() -> None:
    app = App()

    @app.route("/go/{status:int}", methods=["GET", "POST", "PUT"])
    def go(status: int) -> Response:
        return Response(b"", status, {"location": "../there?x=1", "set-cookie": "seen=1; Path=/"})

    @app.route("/there", methods=["GET", "POST", "PUT"])
    def there(request: Request) -> list[Any]:
        return [request.method, request.text, request.cookies, request.target]

    client = TestClient(app)
    assert client.post("/go/302", content=b"x").status_code == 302
    for method, status, expected in (
        ("POST", 302, ["GET", ""]),
        ("POST", 303, ["GET", ""]),
        ("PUT", 301, ["PUT", "x"]),
        ("POST", 307, ["POST", "x"]),
        ("PUT", 308, ["PUT", "x"]),
    ):
        answer = client.request(method, f"/go/{status}", content=iter([b"x"]), follow_redirects=True)
        assert answer.json() == [*expected, {"seen": "1"}, "/there?x=1"]
        assert [step.status_code for step in answer.history] == [status]
        assert answer.url == "http://testserver/there?x=1"


def test_redirects_without_an_end_are_given_up() -> None:
    app = App()
    app.get("/")(lambda: Response(b"", 302, {"location": "/"}))
    with pytest.raises(ConnectionError, match="more than 20 redirects"):
        TestClient(app).get("/", follow_redirects=True)


# -- the client's loop


def lively_app(log: list[str]) -> App:
    app = App()
    app.on_startup(lambda: log.append("startup"))
    app.on_shutdown(lambda: log.append("shutdown"))
    app.get("/")(lambda: ",".join(log))
    return app


def test_with_runs_startup_and_shutdown_and_without_it_neither() -> None:
    log: list[str] = []
    assert TestClient(lively_app(log)).get("/").text == ""
    with TestClient(lively_app(log)) as client:
        assert client.get("/").text == "startup"
    assert log == ["startup", "shutdown"]
    with client:  # and once more
        assert client.get("/").text == "startup,shutdown,startup"


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_what_startup_raises_is_raised_by_with(kind: type[BaseException]) -> None:
    app = App()

    @app.on_startup
    async def fail() -> None:
        raise kind("no database")

    with pytest.raises(kind, match="no database"), TestClient(app):
        raise AssertionError("the block is not entered")


def test_what_shutdown_raises_is_raised_by_with() -> None:
    app = App()

    @app.on_shutdown
    def fail() -> None:
        raise RuntimeError("still open")

    with pytest.raises(RuntimeError, match="still open"), TestClient(app) as client:
        assert client.get("/").status_code == 404


def test_the_client_works_inside_a_running_loop() -> None:
    async def main() -> str:
        with TestClient(echo_app()) as client:
            return str(client.get("/inside").json()["target"])

    assert asyncio.run(main()) == "/inside"


def test_the_context_of_the_test_reaches_the_handler() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    app = App()
    app.get("/")(lambda: variable.get())
    variable.set("from the test")
    assert TestClient(app).get("/").text == "from the test"


def threads_of_clients() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "weebill-test-client"}


def test_a_client_leaves_no_thread_behind() -> None:
    others = threads_of_clients()  # some of them may be about to end

    def own() -> set[threading.Thread]:
        return threads_of_clients() - others

    with TestClient(echo_app()) as client:
        assert len(own()) == 1
    assert not own()
    client.get("/")
    client.close()
    assert not own()
    client.get("/")
    (left,) = own()
    del client
    gc.collect()
    left.join(10)
    assert not left.is_alive()


def test_requests_of_several_threads_share_one_client(client: TestClient) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(client.get(f"/{n}").json()["target"]))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(answers) == [f"/{n}" for n in range(8)]


def test_stopping_is_set_before_the_shutdown() -> None:
    app, seen = App(), []
    stopping: list[asyncio.Event] = []

    @app.get("/")
    async def index(request: Request) -> Response:
        stopping.append(request.stopping)
        return PlainTextResponse(str(request.stopping.is_set()))

    app.on_shutdown(lambda: seen.append(stopping[0].is_set()))
    with TestClient(app) as client:
        assert client.get("/").text == "False"
    assert seen == [True]


# -- what it serves


def test_it_serves_asgi_and_wsgi_applications_and_refuses_anything_else() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    assert TestClient(asgi).get("/a").text == "/a"
    assert TestClient(wsgi).get("/w").text == "/w"
    with pytest.raises(ConfigurationError, match="int"):
        TestClient(42)


def test_the_limits_are_those_of_its_settings() -> None:
    app = App()
    app.post("/")(echo := lambda request: str(len(request.body)))
    app.post("/more", max_body=3000)(lambda request: echo(request))
    with TestClient(app, settings=Settings(max_body=2000, spool=500)) as client:
        assert client.post("/", content=b"x" * 2000).text == "2000"
        assert client.post("/", content=b"x" * 2001).status_code == 413
        assert client.post("/", content=iter([b"x" * 2000, b"y"])).status_code == 413
        assert client.post("/more", content=b"x" * 3000).text == "3000"


def test_a_streaming_route_gets_each_piece_before_the_next_is_made() -> None:
    app, read = App(), threading.Semaphore(0)

    @app.post("/", stream=True)
    async def upload(request: Request) -> list[int]:
        sizes = []
        async for piece in request.stream():
            sizes.append(len(piece))
            read.release()
        return sizes

    def pieces() -> Iterator[bytes]:
        for size in (1, 2, 3):
            yield b"x" * size
            assert read.acquire(timeout=10)

    with TestClient(app) as client:
        assert client.post("/", content=pieces()).json() == [1, 2, 3]
        assert client.post("/", content=b"x" * 150_000).json() == [65536, 65536, 18928]


def test_an_answer_that_breaks_off_is_a_connection_error() -> None:
    app = App()

    @app.get("/")
    async def index() -> Any:
        yield "some"
        raise ZeroDivisionError

    with pytest.raises(ConnectionError, match="GET http://testserver/ broke off after 4 bytes"):
        TestClient(app, raise_server_exceptions=False).get("/")


# -- LiveServer


def test_a_live_server_serves_the_same_application() -> None:
    log: list[str] = []
    with LiveServer(lively_app(log)) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert httpx.get(server.url).text == "startup"
    assert log == ["startup", "shutdown"]
    with LiveServer(echo_app(), http="h11", max_body=10) as server:
        assert httpx.post(server.url, content=b"x" * 11).status_code == 413


def test_a_live_server_that_cannot_start_says_why() -> None:
    with LiveServer(App()) as server:
        port = int(server.url.rpartition(":")[2])
        with (
            pytest.raises(StartError, match=f"port {port} on 127.0.0.1 is taken"),
            LiveServer(App(), port=port),
        ):
            raise AssertionError("the block is not entered")


def test_a_visitor_has_cookies_of_its_own_in_the_same_run_of_the_application() -> None:
    app, starts, loops = App(), [], set()

    @app.on_startup
    def start() -> None:
        starts.append(1)

    @app.get("/enter/{name}")
    async def enter(name: str) -> Response:
        loops.add(asyncio.get_running_loop())
        response = Response()
        response.set_cookie("name", name)
        return response

    @app.get("/")
    async def who(request: Request) -> str:
        loops.add(asyncio.get_running_loop())
        return request.cookies["name"] + request.headers["x-both"]

    with TestClient(app, headers={"x-both": "!"}) as ada:
        ada.get("/enter/ada")
        grace = ada.visitor()
        assert grace.cookies.get("name") is None
        grace.get("/enter/grace")
        assert (ada.get("/").text, grace.get("/").text) == ("ada!", "grace!")
        assert (ada.cookies["name"], grace.cookies["name"]) == ("ada", "grace")
        with pytest.raises(KeyError, match="theme"):
            ada.cookies["theme"]
    assert len(starts) == len(loops) == 1


def test_the_end_of_a_client_is_that_of_what_its_visitors_look_at() -> None:
    app, closed = App(), []

    @app.get("/")
    async def endless() -> AsyncIterator[str]:
        try:
            yield "first\n"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    with TestClient(app) as client:
        answer = client.visitor().stream("GET", "/")
        assert next(answer.iter_lines()) == "first"
    assert closed == [True]


def test_a_file_without_a_name_is_sent_as_browsers_send_an_empty_input() -> None:
    app = App()

    @app.post("/")
    async def files(request: Request) -> list[str]:
        return list(request.files)

    assert TestClient(app).post("/", files={"photo": ("", b""), "note": b"text"}).json() == ["note"]


def test_a_client_that_nobody_closes_lets_its_program_end_in_silence() -> None:
    program = (
        "import asyncio\nfrom weebill import App, TestClient\napp = App()\n"
        "@app.get('/')\nasync def index():\n    return await asyncio.to_thread(str, 'hello')\n"
        "client = TestClient(app)\nprint(client.get('/').text)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("hello\n", "")


def test_the_garbage_collector_does_not_wait_for_a_client() -> None:
    lock = threading.Lock()
    begun, ended = threading.Event(), threading.Event()

    async def needs_the_lock_to_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            with lock:
                ended.set()

    held = [LoopThread()]
    held[0].begin(needs_the_lock_to_end())
    assert begun.wait(10)
    collector = threading.Thread(target=held.clear, daemon=True)
    with lock:
        collector.start()
        collector.join(10)
        assert not collector.is_alive()
    assert ended.wait(10)
