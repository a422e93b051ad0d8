"""Forms on every wire: `request.form`, `request.files`, `request.load_form()`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import product
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import pytest
from form_helpers import TYPE, URLENCODED, file, multipart, part, text
from http1_wire import Wire, until
from wires import connected

from weebill import App, Form, Request, TestClient, UploadFile
from weebill.errors import ConfigurationError
from weebill.settings import Settings
from weebill.testing import LiveServer

MIB = 1 << 20
LARGE = os.urandom(3 * MIB)  # beyond `spool`
FORM = multipart(
    text("name", "Ada"), text("tag", "a"), text("tag", "ß"), file("photo", "cat.txt", b"me\r\now"),
)  # fmt: skip


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def told(request: Request) -> dict[str, Any]:
    """Everything about a form."""
    return {
        "fields": request.form.multi_items(),
        "files": [
            [name, upload.filename, upload.content_type, upload.size]
            for name, upload in request.files.multi_items()
        ],
    }


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def form_app() -> App:
    app = App(__name__)

    @app.post("/def")
    def in_thread(request: Request) -> dict[str, Any]:
        return told(request) | {"contents": [digest(f.file.read()) for f in request.files.values()]}

    @app.post("/async")
    async def on_loop(request: Request) -> dict[str, Any]:
        return told(request) | {"contents": [digest(await f.read()) for f in request.files.values()]}

    @app.post("/loaded")
    async def loaded(request: Request) -> dict[str, Any]:
        form = await request.load_form()
        assert form.fields is request.form
        return told(request) | {"contents": [digest(await f.read()) for f in form.files.values()]}

    @app.post("/stream", stream=True, max_body="64MiB")
    async def stream(request: Request) -> dict[str, Any]:
        await request.load_form()
        return told(request) | {"contents": [digest(await f.read()) for f in request.files.values()]}

    @app.post("/unloaded", stream=True)
    async def unloaded(request: Request) -> str:
        return request.form["name"]

    @app.post("/missing")
    async def missing(request: Request) -> str:
        return request.form["nobody"] + request.files["nothing"].filename

    return app


PATHS = ("/def", "/async", "/loaded", "/stream")


@pytest.fixture(scope="module")
def client(wire: str) -> Iterator[Any]:
    with connected(form_app(), wire) as client:
        yield client


def test_a_multipart_form_has_its_fields_and_files_in_every_kind_of_handler(client: Any) -> None:
    for path, size in product(PATHS, (len(FORM), 7)):
        answer = client.post(path, content=pieces(FORM, size), headers=TYPE).json()
        assert answer["fields"] == [["name", "Ada"], ["tag", "a"], ["tag", "ß"]]
        assert answer["files"] == [["photo", "cat.txt", "text/plain", 6]]
        assert answer["contents"] == [digest(b"me\r\now")]


def test_files_that_lie_on_disk_are_read_as_those_in_memory(client: Any) -> None:
    content = multipart(
        file("a", "a.bin", LARGE),
        text("name", "Ada"),
        file("b", "b.bin", b"small"),
        file("c", "", LARGE[:99]),
    )
    for path in PATHS:
        answer = client.post(path, content=content, headers=TYPE).json()
        assert answer["fields"] == [["name", "Ada"]]
        assert [row[3] for row in answer["files"]] == [len(LARGE), 5, 99]
        assert answer["contents"] == [digest(LARGE), digest(b"small"), digest(LARGE[:99])]


def test_an_urlencoded_form_has_its_fields(client: Any) -> None:
    content = b"name=Ada+L.&tag=a%26b;c&tag=%C3%9F&empty=&alone&=nameless&&%zz=%"
    expected = {"name": ["Ada L."], "tag": ["a&b;c", "ß"], "empty": [""], "alone": [""], "": ["nameless"]}
    expected["%zz"] = ["%"]  # as browsers read it
    for path in PATHS:
        answer = client.post(path, content=content, headers=URLENCODED).json()
        assert answer["fields"] == [[name, value] for name, values in expected.items() for value in values]
        assert answer["files"] == []


def test_a_request_without_content_has_an_empty_form(client: Any) -> None:
    for path in PATHS:
        answer = client.post(path).json()
        assert answer["fields"] == answer["files"] == []


def test_other_content_is_415_that_says_what_is_expected(client: Any) -> None:
    for path in PATHS:
        answer = client.post(path, content=b"{}", headers={"content-type": "application/json"})
        assert answer.status_code == 415
        assert "application/x-www-form-urlencoded or multipart/form-data, not application/json" in answer.text
        assert answer.headers["accept"] == "application/x-www-form-urlencoded, multipart/form-data"
        assert client.post(path, content=b"a=b").status_code == 415


def test_a_malformed_form_is_400_in_every_kind_of_handler(client: Any) -> None:
    for path in PATHS:
        for content in (FORM[:-5], multipart(file("a", "a", LARGE))[:-5]):
            answer = client.post(path, content=content, headers=TYPE)
            assert answer.status_code == 400
            assert "does not end with its last boundary" in answer.text


def test_a_field_that_was_not_sent_is_400_that_names_it(client: Any) -> None:
    answer = client.post("/missing", content=b"name=Ada", headers=URLENCODED)
    assert (answer.status_code, "The form has no field 'nobody'." in answer.text) == (400, True)
    answer = client.post("/missing", content=b"nobody=x", headers=URLENCODED)
    assert (answer.status_code, "The form has no file 'nothing'." in answer.text) == (400, True)


def test_a_stream_without_load_form_is_a_mistake_that_says_what_to_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(
        ConfigurationError, match=r"write `await request\.load_form\(\)` before, or leave stream"
    ):
        TestClient(form_app()).post("/unloaded", data={"name": "Ada"})
    assert "unloaded (" in caplog.text


def test_the_length_of_a_route_holds_for_its_form(serve: Callable[[Any], Any]) -> None:
    app = App(__name__)

    @app.post("/", stream=True, max_body=1000)
    async def take(request: Request) -> str:
        await request.load_form()
        return "taken"

    client = serve(app)
    long = multipart(file("a", "a", b"*" * 2000))
    assert client.post("/", content=long, headers=TYPE).status_code == 413
    assert client.post("/", content=pieces(long, 300), headers=TYPE).status_code == 413
    assert client.post("/", content=multipart(text("a", "b")), headers=TYPE).text == "taken"


def test_hooks_and_middleware_read_the_form_too(serve: Callable[[Any], Any]) -> None:
    app = form_app()

    @app.before_request
    async def look(request: Request) -> None:
        request.state.hook = list(request.files)

    @app.middleware
    async def check(request: Request, call_next: Any) -> Any:
        form = await request.load_form()
        response = await call_next(request)
        response.headers["x-seen"] = ",".join([*form.files, *request.state.hook])
        return response

    client = serve(app)
    for path in PATHS:
        content = multipart(file("a", "a", LARGE))
        answer = client.post(path, content=content, headers=TYPE)
        assert answer.headers["x-seen"] == "a,a"
        assert answer.json()["contents"] == [digest(LARGE)]


def test_middleware_that_reads_the_form_of_a_refused_request_is_told_why(
    serve: Callable[[Any], Any],
) -> None:
    app = App(__name__)

    @app.middleware
    async def look(request: Request, call_next: Any) -> Any:
        await request.load_form()
        return await call_next(request)

    @app.post("/", max_body="1KiB")
    def plain(request: Request) -> str:
        return request.form["name"]

    @app.post("/bound", max_body="1KiB")
    def bound(name: Annotated[str, Form()]) -> str:
        return name

    client, long = serve(app), multipart(text("name", "x" * 2000))
    for path in ("/", "/bound"):
        assert client.post(path, content=FORM, headers=TYPE).text == "Ada"
        for content in (long, pieces(long, 500)):
            answer = client.post(path, content=content, headers=TYPE)
            assert answer.status_code == 413
            assert "longer than the 1024 bytes" in answer.text
    assert client.post("/nowhere", content=FORM, headers=TYPE).status_code == 404
    assert client.put("/", content=FORM, headers=TYPE).status_code == 405


def test_the_form_is_read_once_however_many_ask_at_the_same_time() -> None:
    app = App(__name__)

    @app.post("/", stream=True)
    async def take(request: Request) -> list[bool]:
        forms = await asyncio.gather(*(request.load_form() for _ in range(3)))
        return [form is forms[0] for form in forms] + [forms[0].fields["name"] == "Ada"]

    answer = TestClient(app).post("/", content=pieces(FORM, 10), headers=TYPE)
    assert answer.json() == [True] * 4


def test_what_is_wrong_with_a_form_is_told_to_everyone_who_asks() -> None:
    app = App(__name__)

    @app.post("/", stream=True)
    async def take(request: Request) -> list[str]:
        found = await asyncio.gather(*(request.load_form() for _ in range(2)), return_exceptions=True)
        try:
            found.append(request.files)  # type: ignore[arg-type]
        except Exception as error:
            found.append(error)
        return [str(error) for error in found]

    answer = TestClient(app).post("/", content=b"nonsense", headers=TYPE).json()
    assert len(answer) == 3
    assert set(answer) == {"400 The form is malformed, behind byte 0: it does not begin with its boundary."}


def test_a_form_whose_reading_was_cancelled_is_a_mistake_and_no_half_form() -> None:
    app = App(__name__)
    reached, released = threading.Event(), threading.Event()

    def content() -> Iterator[bytes]:
        yield FORM[:20]
        reached.set()
        released.wait(20)
        yield FORM[20:]

    @app.post("/", stream=True)
    async def take(request: Request) -> str:
        reading = asyncio.ensure_future(request.load_form())
        assert await asyncio.to_thread(reached.wait, 20)
        reading.cancel()
        await asyncio.wait({reading})
        released.set()
        try:
            await request.load_form()
        except ConfigurationError as error:
            return f"{reading.cancelled()}: {error}"
        return ""

    answer = TestClient(app).post("/", content=content(), headers=TYPE)
    assert answer.text == "True: the form cannot be read any more: reading it was cancelled"


def test_a_form_on_disk_is_not_read_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from weebill.body import Body

    on_loop: list[str] = []
    plain = Body.read_at

    def watched(self: Body, position: int, count: int) -> bytes:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            if self.on_disk:
                on_loop.append(f"{count} bytes at {position}")
        return plain(self, position, count)

    monkeypatch.setattr(Body, "read_at", watched)
    client = TestClient(form_app())
    for path in PATHS:
        answer = client.post(path, content=multipart(file("a", "a", LARGE)), headers=TYPE)
        assert answer.json()["contents"] == [digest(LARGE)]
    assert on_loop == []


def test_a_program_that_reads_its_content_for_itself_is_told_nothing_of_forms() -> None:
    app = App(__name__)

    @app.post("/")
    async def take(request: Request) -> str:
        return str(len(request.body))

    content = b"*" * (2 * MIB)
    assert TestClient(app).post("/", content=content, headers=TYPE).text == str(len(content))


def test_an_input_that_was_left_empty_is_no_file() -> None:
    content = multipart(file("a", "", b""), file("b", "", b"x"), file("c", "c", b""))
    answer = TestClient(form_app()).post("/def", content=content, headers=TYPE).json()
    assert [row[:2] for row in answer["files"]] == [["b", ""], ["c", "c"]]


def test_files_are_read_by_several_at_the_same_time() -> None:
    app = App(__name__)

    @app.post("/")
    async def take(request: Request) -> list[bool]:
        a, b = request.files["a"], request.files["b"]
        read = await asyncio.gather(*(upload.read(7) for upload in (a, b)))
        rest = await asyncio.gather(a.read(), b.read())
        whole = [first + last for first, last in zip(read, rest, strict=True)]
        again = b"".join([piece async for piece in b if await b.seek(0, 1)])
        await a.seek(-3, 2)
        return [a.on_disk, whole == [LARGE, LARGE[::-1]], again == b"", await a.read() == LARGE[-3:]]

    content = multipart(file("a", "a", LARGE), file("b", "b", LARGE[::-1]))
    assert TestClient(app).post("/", content=content, headers=TYPE).json() == [True] * 4


@pytest.mark.parametrize("path", ["/stream", "/gathered"])
def test_work_behind_the_answer_has_the_files_and_then_they_are_gone(path: str) -> None:
    app = App(__name__)
    released, kept = asyncio.Event(), []

    async def work(upload: UploadFile) -> None:
        await released.wait()
        kept.extend([upload, await upload.read()])

    async def take(request: Request) -> str:
        await request.load_form()
        request.background(work, request.files["a"])
        return "later"

    app.post("/gathered")(take)
    app.post("/stream", stream=True)(take)
    content = multipart(file("a", "a", LARGE))
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE['content-type']}\r\n"

    async def main() -> None:
        wire = Wire(app)
        wire.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(content))
        for piece in pieces(content, MIB):
            await until(lambda: wire.transport.reading)
            wire.send(piece)
        await until(lambda: b"later" in wire.sent)
        await wire.pass_time(5)  # the server goes on to the next request
        released.set()
        await until(lambda: len(kept) == 2)
        await until(lambda: is_gone(kept[0]))

    asyncio.run(main())
    assert digest(kept[1]) == digest(LARGE)


def is_gone(upload: UploadFile) -> bool:
    try:
        return not (upload.file.seek(0), upload.file.read(1))
    except ValueError:
        return True


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted in /proc")
def test_no_descriptor_is_left_whatever_becomes_of_the_request() -> None:
    app = form_app()

    @app.post("/fails", stream=True)
    async def fails(request: Request) -> str:
        await request.load_form()
        raise RuntimeError("after the form")

    def spooled() -> int:
        links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return sum("(deleted)" in os.readlink(link) for link in links if os.path.lexists(link))

    content = multipart(file("a", "a", LARGE))
    broken = content[: 2 * MIB]
    before = spooled()
    with LiveServer(app) as server, TestClient(app, raise_server_exceptions=False) as client:
        for path in (*PATHS, "/fails"):
            client.post(path, content=content, headers=TYPE)
            client.post(path, content=broken, headers=TYPE)
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname, parts.port)) as peer:  # it goes in the middle
            peer.sendall(
                b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nContent-Type: %s\r\n\r\n"
                % (len(content), TYPE["content-type"].encode())
            )
            peer.sendall(broken)
        client.post("/def", content=content, headers=TYPE)
    assert spooled() == before


def test_an_upload_takes_little_memory_however_long_it_is() -> None:
    app = App(__name__)

    @app.post("/", stream=True, max_body="1GiB")
    async def take(request: Request) -> list[int]:
        form = await request.load_form()
        return [form.files["a"].size, tracemalloc.get_traced_memory()[1]]

    def content() -> Iterator[bytes]:
        block = b"\r" * 65536
        yield part('Content-Disposition: form-data; name="a"; filename="a"', end=b"")
        for _ in range(16 * 16):
            yield block
        yield b"\r\n" + multipart()

    client = TestClient(app)
    client.post("/", content=multipart(file("a", "a", b"")), headers=TYPE)
    tracemalloc.start()
    try:
        size, peak = client.post("/", content=content(), headers=TYPE).json()
    finally:
        tracemalloc.stop()
    assert size == 16 * MIB
    assert peak < 4 * MIB


def test_no_room_on_the_disk_is_507(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(**options: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    content = multipart(file("a", "a", LARGE))
    assert TestClient(form_app()).post("/stream", content=content, headers=TYPE).status_code == 507
    assert "uploaded files could not be written to a temporary file" in caplog.text


def test_the_settings_of_the_server_reach_the_form() -> None:
    client = TestClient(form_app(), settings=Settings(max_form_parts=2))
    assert client.post("/def", data={"a": 1, "b": 2}).status_code == 200
    assert client.post("/def", data={"a": 1, "b": 2, "c": 3}).status_code == 413
    with LiveServer(form_app(), max_form_parts=2) as server:
        assert httpx.post(server.url + "/def", data={"a": 1, "b": 2, "c": 3}).status_code == 413
