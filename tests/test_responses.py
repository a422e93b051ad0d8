"""The kinds of Response, one by one."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from http1_wire import until

from weebill import (
    App,
    FileResponse,
    HTMLResponse,
    HTTPException,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
    abort,
    redirect,
    safe_path,
)
from weebill.errors import ClientDisconnected, ReturnValueError
from weebill.responses import to_response
from weebill.server.memory import MemoryExchange
from weebill.testing import Result, TestClient


def answer_of(response: Any, method: str = "GET") -> Result:
    app = App()
    app.get("/")(lambda: response)
    return TestClient(app, raise_server_exceptions=False).request(method, "/")


async def sent(response: Response, method: str = "GET") -> MemoryExchange:
    exchange = MemoryExchange(method, "/")
    await response.send(exchange)
    return exchange


# -- what they hold


@pytest.mark.parametrize(
    ("response", "content", "media_type"),
    [
        (Response(), b"", None),
        (Response("text"), b"text", "text/plain; charset=utf-8"),
        (Response(b"bytes"), b"bytes", "application/octet-stream"),
        (Response("a,b", media_type="text/csv"), b"a,b", "text/csv; charset=utf-8"),
        (Response("ab", media_type="text/csv; header=absent"), b"ab", "text/csv; header=absent"),
        (Response(b"a,b", media_type="text/csv"), b"a,b", "text/csv"),
        (
            Response("<svg/>", headers={"Content-Type": "image/svg+xml"}),
            b"<svg/>",
            "image/svg+xml; charset=utf-8",
        ),
        (Response("GIF", media_type="image/gif"), b"GIF", "image/gif"),
        (to_response(("<p>", 200, {"Content-Type": "text/html"})), b"<p>", "text/html; charset=utf-8"),
        (PlainTextResponse("ü"), "ü".encode(), "text/plain; charset=utf-8"),
        (PlainTextResponse(b"raw"), b"raw", "text/plain; charset=utf-8"),
        (HTMLResponse("<p>"), b"<p>", "text/html; charset=utf-8"),
        (JSONResponse(None), b"null", "application/json"),
        (JSONResponse([1], media_type="application/ld+json"), b"[1]", "application/ld+json"),
    ],
)
def test_each_kind_has_its_content_and_its_type(
    response: Response, content: bytes, media_type: str | None
) -> None:
    assert (response.content, response.headers.get("content-type")) == (content, media_type)
    assert answer_of(response).content == content


def test_fields_are_given_read_and_changed() -> None:
    response = PlainTextResponse("x", 201, {"X-A": "1"})
    response.headers["x-b"] = "2"
    response.headers.add("x-b", "3")
    assert response.headers["X-a"] == "1"
    answer = answer_of(response)
    assert (answer.status_code, answer.headers.getlist("x-b")) == (201, ["2", "3"])
    assert repr(response) == "<PlainTextResponse 201>"


@pytest.mark.parametrize("status", [0, 99, 101, 199, 600, -1])
def test_a_status_that_is_no_final_one_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="no status of an answer"):
        Response(status_code=status)
    with pytest.raises(ReturnValueError, match=f"returned the status {status}"):
        to_response(("x", status))


@pytest.mark.parametrize(("name", "value"), [("x", "a\r\nb: c"), ("a b", "1"), ("x", "€")])
def test_a_field_that_http_does_not_allow_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="field"):
        Response("x", headers={name: value})
    with pytest.raises(ValueError, match="field"):
        to_response(("x", 200, {name: value}))


class Coordinates(NamedTuple):
    x: int


@dataclass
class Measurement:
    at: datetime.datetime
    value: Decimal
    id: UUID


def test_json_holds_what_programs_hold() -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    value = {
        "m": Measurement(when, Decimal("1.50"), UUID(int=1)),
        "s": {3},
        "b": b"\x00",
        "t": Coordinates(1),
    }
    assert msgspec.json.decode(JSONResponse(value).content) == {
        "m": {"at": "2026-01-02T03:04:05Z", "value": "1.50", "id": "00000000-0000-0000-0000-000000000001"},
        "s": [3],
        "b": "AA==",
        "t": [1],
    }
    with pytest.raises(TypeError, match="object is not a value that JSON can hold"):
        JSONResponse({"x": object()})


# -- redirects


@pytest.mark.parametrize(
    ("location", "sent_location"),
    [
        ("/a?b=c&d=é#e", "/a?b=c&d=%C3%A9#e"),
        ("https://example.org/a%20b", "https://example.org/a%20b"),
        ("HTTP://example.org", "HTTP://example.org"),
        ("https://example.org:8080/", "https://example.org:8080/"),
        ("a/b:c", "a/b:c"),
        ("?page=2", "?page=2"),
        ("/a:b", "/a:b"),
    ],
)
def test_a_redirect_leads_to_a_path_or_an_http_url(location: str, sent_location: str) -> None:
    response = RedirectResponse(location, allowed_hosts=["Example.org"])
    assert (response.status_code, response.headers["location"]) == (307, sent_location)
    assert redirect(location, allowed_hosts="*").status_code == 302


@pytest.mark.parametrize(
    "location",
    ["//example.org", "/\\example.org", "\\\\example.org", "javascript:alert(1)", "JavaScript:x",
     "data:text/html,x", "/a\r\nset-cookie: b", "/a b", " /a", "/a\x7f", "\t//example.org",
     "/\t/example.org", "///example.org", "\\/example.org", "/a\0", "\x01/a", "https:example.org",
     "https:/example.org", "https:///example.org", "http:"],
)  # fmt: skip
def test_a_redirect_that_leads_astray_is_refused(location: str) -> None:
    for allowed_hosts in ((), "*"):
        with pytest.raises(ValueError, match="the location"):
            redirect(location, allowed_hosts=allowed_hosts)
    assert safe_path(location, "/home") == "/home"


@pytest.mark.parametrize(
    "location",
    ["https://evil.example", "http://evil.example/", "https://example.org@evil.example",
     "https://evil.example?@example.org", "https://example.org.evil.example", "https://a.example.org",
     "https://example.org:81", "https://evil%2eexample", "https://exampl\u212f.org", "//example.org"],
)  # fmt: skip
def test_another_host_than_those_that_are_listed_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="another host"):
        redirect(location, allowed_hosts=["example.org:80"])
    with pytest.raises(ValueError, match="another host"):
        redirect(location)
    assert safe_path(location) == "/"


def test_a_redirect_to_the_host_of_the_request_is_none_to_another() -> None:
    app = App()
    app.get("/a")(lambda request: redirect(request.url.replace("/a", "/b")))
    app.get("/c")(lambda: redirect("http://evil.example/"))
    client = TestClient(app, "http://birds.example:8080", raise_server_exceptions=False)
    assert client.get("/a").headers["location"] == "http://birds.example:8080/b"
    assert client.get("/c").status_code == 500


def test_a_path_that_a_visitor_asks_for_is_kept_if_it_is_one_of_this_site() -> None:
    for location in ("/", "/a?b=//c#d", "/a:b", "/ä", "/%2F%09/x"):
        assert safe_path(location) == location
    for other in ("", "a", "?a=b", None):
        assert safe_path(other, "/home") == "/home"


def test_a_redirect_has_a_status_of_redirects() -> None:
    with pytest.raises(ValueError, match="200 is no redirect"):
        redirect("/", 200)


def test_abort_takes_a_status_of_errors() -> None:
    with pytest.raises(HTTPException) as raised:
        abort(404)
    assert (raised.value.status_code, raised.value.detail, str(raised.value)) == (
        404,
        "Not Found",
        "404 Not Found",
    )
    for status in (200, 302, 600):
        with pytest.raises(ValueError, match="400 to 599"):
            abort(status)


# -- values of handlers


@pytest.mark.parametrize("value", [42, 1.5, True, object(), {1}, len, (n for n in ()).__class__])
def test_a_value_of_no_kind_is_an_error_that_names_the_handler(value: Any) -> None:
    def handler() -> None: ...

    with pytest.raises(ReturnValueError) as raised:
        to_response(value, handler)
    assert f"{handler.__qualname__} ({__file__}:" in str(raised.value)
    assert f"returned {type(value).__name__}: return str, bytes, dict" in str(raised.value)
    assert isinstance(raised.value, TypeError)


@pytest.mark.parametrize(
    "value", [(), ("a",), ("a", "b"), ("a", 200, {}, 1), (("a", 200), 200), (200, "a"), ("a", None)]
)
def test_a_tuple_of_another_form_is_an_error_that_names_the_handler(value: Any) -> None:
    def handler() -> None: ...

    with pytest.raises(
        ReturnValueError, match=r"handler \(.*not \(body, status\) or \(body, status, headers\)"
    ):
        to_response(value, handler)


def test_a_response_in_a_tuple_takes_status_and_fields() -> None:
    response = to_response((HTMLResponse("x", headers={"a": "1"}), 404, {"a": "2", "b": "3"}))
    assert isinstance(response, HTMLResponse)
    assert (response.status_code, response.headers["a"], response.headers["b"]) == (404, "2", "3")
    assert to_response((None, 201)).status_code == 201
    assert to_response(("x", 200, None)).content == b"x"


# -- streams


def test_fields_in_a_tuple_may_be_pairs_several_of_one_name() -> None:
    fields = [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("content-type", "text/csv")]
    answer = to_response(("a", 200, fields))
    assert answer.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.getlist("content-type") == ["text/csv; charset=utf-8"]


def test_a_stream_is_closed_when_its_client_goes() -> None:
    log: list[str] = []

    def pieces() -> Iterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            log.append(threading.current_thread().name)

    async def async_pieces() -> AsyncIterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            log.append("async closed")

    async def main() -> None:
        for source in (pieces(), async_pieces()):
            exchange = MemoryExchange("GET", "/")
            write = exchange.write

            async def leaves(piece: bytes, exchange: Any = exchange, write: Any = write) -> None:
                await write(piece)
                exchange.disconnect()

            exchange.write = leaves  # type: ignore[method-assign]
            with pytest.raises(ClientDisconnected):
                await StreamingResponse(source).send(exchange)
            assert exchange.pieces == [b"one"]
        await until(lambda: len(log) == 2)  # a thread's step is waited for before its iterator is closed
        from weebill.threads import _local

        _local.pool.stop()

    asyncio.run(main())
    closed, in_thread = sorted(log)
    assert closed == "async closed"
    assert in_thread.startswith("weebill-worker-")


def test_the_head_of_a_stream_tells_its_type_and_takes_one_piece() -> None:
    taken: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            taken.append(number)
            yield b"x"

    exchange = asyncio.run(sent(StreamingResponse(pieces()), "HEAD"))
    assert (exchange.complete, exchange.pieces, taken) == (True, [], [0])
    assert dict(exchange.answer_fields)[b"content-type"] == b"application/octet-stream"


def test_an_iterable_whose_iterator_is_a_generator_has_it_closed() -> None:
    closed: list[str] = []

    class Pieces:
        async def __aiter__(self) -> AsyncIterator[str]:
            try:
                yield "one"
                yield "two"
            finally:
                closed.append("by us")

    async def main() -> None:
        exchange = MemoryExchange("HEAD", "/")
        await StreamingResponse(Pieces()).send(exchange)
        assert closed == ["by us"]

    asyncio.run(main())


@pytest.mark.parametrize("media_type", [None, "text/event-stream"])
def test_any_iterable_may_be_streamed(media_type: str | None) -> None:
    answer = answer_of(StreamingResponse(["a", "ü", b"\xff"], media_type=media_type))
    assert answer.content == b"a\xc3\xbc\xff"
    assert answer.headers["content-type"] == (media_type or "text/plain; charset=utf-8")


def test_a_piece_that_is_neither_text_nor_bytes_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    assert answer_of(StreamingResponse([None])).status_code == 500  # type: ignore[list-item]
    assert "a stream gave NoneType; pieces are str or bytes" in caplog.text
    with pytest.raises(ConnectionError):
        answer_of(StreamingResponse(["good", 5]))  # type: ignore[list-item]


def test_a_file_that_is_streamed_is_closed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\nb\n")
    for method in ("GET", "HEAD"):
        file = (tmp_path / "x").open("rb")
        assert answer_of(StreamingResponse(file), method).status_code == 200
        assert file.closed


def test_a_stream_of_text_says_its_charset() -> None:
    for pieces, media_type, said in (
        (["a"], "text/csv", "text/csv; charset=utf-8"),
        ([b"a"], "text/csv", "text/csv"),
        (["a"], "text/csv; charset=latin-1", "text/csv; charset=latin-1"),
        (["a"], "application/x-ndjson", "application/x-ndjson"),
    ):
        answer = answer_of(StreamingResponse(pieces, media_type=media_type))
        assert answer.headers["content-type"] == said


# -- files


def test_a_file_is_sent_with_type_length_and_date(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"<p>")
    answer = answer_of(FileResponse(page))
    assert (answer.content, answer.headers["content-type"]) == (b"<p>", "text/html; charset=utf-8")
    assert answer.headers["content-length"] == "3"
    assert answer.headers["last-modified"].endswith("GMT")
    head = answer_of(FileResponse(str(page)), "HEAD")
    assert (head.content, head.headers["content-length"]) == (b"", "3")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.png", "image/png"), ("a.tar.gz", "application/gzip"), ("x", "application/octet-stream"),
     ("a.json", "application/json"), ("a.css", "text/css; charset=utf-8")],
)  # fmt: skip
def test_the_type_of_a_file_is_guessed_from_its_name(tmp_path: Path, name: str, media_type: str) -> None:
    (tmp_path / name).touch()
    assert answer_of(FileResponse(tmp_path / name)).headers["content-type"] == media_type
    assert answer_of(FileResponse(tmp_path / name, media_type="a/b")).headers["content-type"] == "a/b"


def test_a_file_is_offered_for_download_under_a_name(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    for name, field in (
        ("plain.txt", "attachment; filename=\"plain.txt\"; filename*=UTF-8''plain.txt"),
        (
            'n"ä/\\\r\n.txt',
            "attachment; filename=\"n______.txt\"; filename*=UTF-8''n%22%C3%A4%2F%5C%0D%0A.txt",
        ),
    ):
        assert answer_of(FileResponse(tmp_path / "x", filename=name)).headers["content-disposition"] == field


def test_a_file_that_is_not_there_is_404(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, tmp_path / ("x" * 300)):
        assert answer_of(FileResponse(path)).status_code == 404
