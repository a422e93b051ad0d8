"""ASGI on live servers: Starlette on ours, an App on uvicorn and granian."""

import asyncio
import socket
import threading

import httpx
import pytest
from asgi_programs import START, body, starlette_app
from bridge_helpers import on_granian, on_uvicorn, on_weebill

from weebill.bridges.asgi import ASGIApplication

# -- applications of others on our server


async def plain_app(scope, receive, send):
    """Paths that need more of the server than Starlette asks for."""
    assert scope["type"] == "http"
    if scope["path"] == "/listening":  # somebody listens while the answer is sent, and is waited for
        await receive()
        listener = asyncio.create_task(receive())
        await asyncio.sleep(0)  # now it listens
        await send(START)
        await send(body(b"heard"))
        assert (await listener)["type"] == "http.disconnect"
    elif scope["path"] == "/half":
        await send(START)
        await send(body(b"half", more=True))
    elif scope["path"] == "/endless":
        await send(START)
        try:
            while True:
                await send(body(b"x" * 10000, more=True))
        except OSError:
            plain_app.ended.set()
            raise


@pytest.fixture(scope="module", params=["httptools", "h11"])
def on_ours(request):
    """A client of Starlette on our own server."""
    with (
        on_weebill(ASGIApplication(starlette_app()), request.param, max_body=1_000_000) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        yield client


@pytest.fixture(params=["httptools", "h11"])
def plain_on_ours(request):
    """The URL of `plain_app` on our own server."""
    plain_app.ended = threading.Event()
    with on_weebill(ASGIApplication(plain_app), request.param) as url:
        yield url


def test_starlette_runs_on_our_server(on_ours):
    hello = on_ours.get("/hello?name=you")
    assert (hello.text, hello.headers["x-layer"], hello.headers["content-length"]) == ("hello you", "1", "9")
    assert on_ours.head("/hello").headers["content-length"] == "11"
    assert on_ours.post("/echo", content=iter([b"a", b"b"])).json() == {"content": "ab", "state": "kept"}
    assert on_ours.get("/stream").text == "0;1;2;"
    assert on_ours.post("/upload", content=b"x" * 1_000_000).text == "1000000"
    assert on_ours.get("/later").text == "now"
    assert on_ours.get("/broken").status_code == 500
    assert on_ours.get("/hello").status_code == 200


def test_our_server_holds_an_asgi_application_to_its_limit_on_content(on_ours):
    assert on_ours.post("/upload", content=b"x" * 1_000_001).status_code == 413
    assert on_ours.post("/upload", content=iter([b"x" * 600_000] * 2)).status_code == 413
    assert on_ours.get("/hello").status_code == 200


def test_who_listens_for_the_client_hears_of_the_end_of_the_answer(plain_on_ours):
    with httpx.Client(base_url=plain_on_ours, timeout=5) as client:
        assert client.get("/listening").text == "heard"
        assert client.get("/listening").text == "heard"


def test_an_answer_without_its_end_is_cut_on_our_server(plain_on_ours):
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{plain_on_ours}/half", timeout=5)


def test_an_endless_answer_ends_with_its_client_on_our_server(plain_on_ours):
    host, port = plain_on_ours.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert plain_app.ended.wait(5)


# -- an App on uvicorn and granian


LIVE = """
import asyncio

from weebill import App
from weebill.responses import Response, StreamingResponse

app = App()
log = []


@app.on_startup
def up():
    log.append("up")


@app.get("/log")
async def get_log():
    return log


@app.get("/user/{name}")
async def user(name, request):
    return {"name": name, "path": request.path, "target": request.target, "query": dict(request.query)}


@app.get("/thread")
def thread():
    return "from a thread"


@app.post("/echo")
async def echo(request):
    return request.body


@app.post("/small", max_body=10)
async def small(request):
    return request.body


@app.post("/size", stream=True)
async def size(request):
    return str(sum([len(piece) async for piece in request.stream()]))


@app.get("/numbers")
async def numbers():
    for n in range(5):
        yield f"{n};"


@app.get("/endless")
async def endless():
    try:
        while True:
            yield "x" * 1000
            await asyncio.sleep(0.01)
    finally:
        log.append("endless ended")


@app.get("/nothing")
async def nothing():
    return None


@app.get("/broken")
async def broken():
    raise ZeroDivisionError


@app.get("/half")
async def half():
    yield "a" * 100
    raise ZeroDivisionError
"""


@pytest.fixture(scope="module", params=["uvicorn-httptools", "uvicorn-h11", "granian"])
def live(request, tmp_path_factory):
    """The URL of a live server of others that runs an App."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "live_app.py").write_text(LIVE)
    if request.param == "granian":
        with on_granian("live_app:app", folder) as url:
            yield url
    else:
        namespace = {"__name__": "live_app", "__file__": str(folder / "live_app.py")}
        exec(compile(LIVE, "live_app.py", "exec"), namespace)
        with on_uvicorn(namespace["app"], http=request.param.partition("-")[2]) as url:
            yield url


@pytest.fixture
def client(live):
    with httpx.Client(base_url=live, timeout=10) as client:
        yield client


def test_an_app_answers_on_a_server_of_others(client):
    assert client.get("/log").json()[0] == "up"
    answer = client.get("/user/a%2Fb%20c?q=1%202")
    assert answer.json() == {
        "name": "a/b c",
        "path": "/user/a%2Fb c",
        "target": "/user/a%2Fb%20c?q=1%202",
        "query": {"q": "1 2"},
    }
    assert answer.headers["content-type"] == "application/json"
    assert client.get("/thread").text == "from a thread"
    assert client.get("/nothing").status_code == 204
    assert client.get("/numbers").text == "0;1;2;3;4;"


def test_an_app_answers_errors_and_other_methods_on_a_server_of_others(client):
    assert client.get("/missing").status_code == 404
    refused = client.delete("/thread")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert client.options("/thread").status_code == 204
    head = client.head("/thread")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "13", b"")
    assert client.get("/broken").status_code == 500
    assert client.get("/thread").status_code == 200


def test_an_app_takes_in_content_on_a_server_of_others(client):
    content = bytes(range(256)) * 20000
    assert client.post("/echo", content=content).content == content
    assert client.post("/echo", content=iter([b"chunk", b"ed"])).content == b"chunked"
    assert client.post("/size", content=content).text == str(len(content))
    assert client.post("/small", content=b"x" * 11).status_code == 413
    assert client.post("/small", content=iter([b"x" * 6, b"x" * 6])).status_code == 413


def test_a_broken_stream_is_seen_to_be_broken_on_a_server_of_others(client):
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/half")


def test_a_stream_ends_with_its_client_on_a_server_of_others(client, live):
    before = client.get("/log").json().count("endless ended")
    host, port = live.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    for _ in range(2000):
        if client.get("/log").json().count("endless ended") > before:
            break
    else:
        raise AssertionError("the stream went on without its client")
