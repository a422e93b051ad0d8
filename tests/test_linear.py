"""Whatever a peer sends takes time in proportion to its length.

Each case is work on a text of about n bytes. Twice the length ought to take twice the time; what is
quadratic takes four times. It is measured over four doublings, where that shows: what is quadratic takes
256 times the time for 16 times the length. Allowed are 40 times up to the 64 KiB that a server takes by
default, and 64 times up to 1 MiB, where the caches of the machine have their say too. What counts is the
CPU time at its best of many runs: a busy machine can make a run slower, never faster.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import exchange as ask_by_asgi
from http1_wire import PARSERS, Application, Wire, turns, until

from weebill import App, Request, Response, redirect
from weebill.body import Body
from weebill.bridges import adapt
from weebill.chunks import ChunkedReader
from weebill.compression import choose_coding
from weebill.conditional import has_entity_tag, make_entity_tag, parse_range, precondition
from weebill.cookies import format_cookie
from weebill.cors import CORSMiddleware
from weebill.csrf import CSRFMiddleware
from weebill.debug_pages import exception_response, missing_response
from weebill.dialects.my_flask import render_template
from weebill.error_pages import error_response
from weebill.errors import HTTPException, ProtocolError
from weebill.event_errors import (
    EventNotFound,
)
from weebill.events import Listener
from weebill.exchange import Exchange, decode_path
from weebill.headers import (
    Fields,
    Headers,
    best_match,
    parse_cookies,
    parse_qualities,
    parse_query,
    split_host,
)
from weebill.proxy_headers import ProxyHeadersMiddleware, parse_forwarded
from weebill.redirects import safe_path
from weebill.routing import RouteTable, compile_pattern
from weebill.server.head import HeadReader
from weebill.server.memory import MemoryExchange
from weebill.server.wire import response_head
from weebill.server.worker import parser_factory
from weebill.session_stores import Kept, Session
from weebill.sessions import SessionMiddleware
from weebill.settings import Settings
from weebill.static import StaticFiles
from weebill.template_environment import safe_url
from weebill.uploads import base_name
from weebill.validation import decode_json, json_reader

KIBIBYTE = 1 << 10
LONGEST = 64 * KIBIBYTE  # that a server takes by default, of anything but content
MEBIBYTE = 1 << 20
FACTOR = 16  # four doublings
MOST = 40
MOST_BEYOND_CACHES = 64
PATIENCE = 3.0  # seconds of trying

Work = Callable[[], object]


def taken(make: Callable[[int], Work], length: int) -> float:
    """The CPU seconds of `make(length)()`; what `make` itself does is not counted."""
    work = make(length)
    began = time.thread_time()
    work()
    return time.thread_time() - began


def check(make: Callable[[int], Work]) -> None:
    """Compare 64 KiB with 1 MiB, which takes no more than a second."""
    compare(make, MEBIBYTE, MOST_BEYOND_CACHES)


def compare(make: Callable[[int], Work], length: int, most: float = MOST, seconds: float = 1.0) -> None:
    """Compare `length` with a sixteenth of it; and the whole takes no more than `seconds`."""
    small = large = float("inf")
    gc.disable()
    try:
        began = time.monotonic()
        while time.monotonic() < began + PATIENCE:
            small = min(small, *(taken(make, length // FACTOR) for _ in range(3)))
            large = min(large, taken(make, length))
            if large < most * small and large < seconds:
                return
            if large < 0.0002:  # nothing to speak of, and nothing that can be measured
                return
    finally:
        gc.enable()
    raise AssertionError(f"{small:.5f}s for {length // FACTOR} bytes, {large:.5f}s for {length}")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def fill(unit: str, length: int) -> str:
    return unit * (length // len(unit))


def on(parse: Callable[[str], object], unit: str, before: str = "") -> Callable[[int], Work]:
    """`parse` on a text of many `unit`s."""

    def make(length: int) -> Work:
        text = before + fill(unit, length)

        def work() -> None:
            with suppress(ValueError, HTTPException, EventNotFound):
                parse(text)

        return work

    return make


# -- texts


@pytest.mark.parametrize(
    "unit", ["a=b&", "&", "=", "%", "%41", "%e9", "+", "a", ";", "&=", "a=%", "a[]=1&", "\0"]
)
def test_a_query_is_read_in_linear_time(unit: str) -> None:
    check(on(parse_query, unit))
    check(on(parse_query, unit, "a="))


@pytest.mark.parametrize(
    "unit", ["a=b; ", ";", "=", '"', 'a="', " ", "\t", "a", "a=b=c;", '="";', " ;", "\\"]
)
def test_cookies_are_read_in_linear_time(unit: str) -> None:
    check(on(parse_cookies, unit))
    check(on(parse_cookies, unit, 'a="'))


@pytest.mark.parametrize(
    "unit",
    [
        "text/html,",
        ",",
        ";",
        "a;q=0.5,",
        ";q=1",
        " ",
        "q=",
        "*/*;q=0.1,",
        "a;" + "b=c;" * 50 + ",",
        '"',
        "0",
        ", ;",
    ],
)
def test_accept_is_read_in_linear_time(unit: str) -> None:
    offers = ("text/html", "application/json", "gzip")
    for parse in (
        parse_qualities,
        lambda text: choose_coding(text, ("gzip",)),
        lambda text: best_match(text, offers),
    ):
        check(on(parse, unit))
        check(on(parse, unit, "text/html;q=0."))


@pytest.mark.parametrize(
    "unit", ["for=1.1.1.1,", 'a="b";', 'for="', "\\", ";", ",", " ", "=", "for=", "a", "[:"]
)
def test_what_proxies_tell_is_read_in_linear_time(unit: str) -> None:
    check(on(parse_forwarded, unit))
    check(on(parse_forwarded, unit, 'for="'))
    compare(on(lambda text: split_host(text.encode()), unit, "a"), LONGEST)


@pytest.mark.parametrize(
    "unit", [";a=b", ";", "=", " ", '"', ";charset", ';charset="', ";charset=utf-8", "a", "/"]
)
def test_the_parameters_of_content_type_are_read_in_linear_time(unit: str) -> None:
    def read(text: str) -> str:
        exchange = MemoryExchange("POST", "/", [(b"content-type", text.encode())])
        return Request(exchange, None).text

    check(on(read, unit, "text/plain"))


@pytest.mark.parametrize(
    "unit", ["/", "%2F", "%2f", "%41", "%C3%A9", "%", "a", "/..", "%2e%2e/", "\\", "%252F", "%5c"]
)
def test_a_path_is_decoded_in_linear_time(unit: str) -> None:
    compare(on(decode_path, unit, "/"), LONGEST)
    compare(on(lambda target: Exchange("GET", target, []).query_string, unit, "/%41"), LONGEST)
    compare(on(lambda target: Exchange("GET", target, []).query_string, unit, "/?"), LONGEST)


PATTERNS = {
    "/{a}-{b}-{c}": ("-", "a-", "a"),
    "/{a}.{b}/{c}": (".", "a.", "/", "a./"),
    "/{a:int}-{b:int}": ("1", "-", "1-", "-1"),
    "/{a:float}": ("1", "1.", ".", "-"),
    "/{a:float},{b:float},{c:float}": ("1", "1.1", "1,", "1.1,"),
    "/{a:uuid}/x": ("a", "-", "0-"),
    "/{a:path}/x": ("/", "/x", "x", "/x/"),
    "/{a:path}/x/{b:path}": ("/", "/x", "/x/", "x/"),
    "/{a}/{b:path}/{c}": ("/", "a/", "a"),
    "/{a:path}.{b:path}.{c:path}!": (".", "a.", "a", "!."),
    "/{a:path}aab{b:path}aab{c:path}aac": ("a", "aa", "aab", "aaab"),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_path_is_matched_in_linear_time(pattern: str) -> None:
    table: RouteTable[str] = RouteTable()
    table.add(compile_pattern(pattern), ("POST",), "a route")
    for unit in PATTERNS[pattern]:
        for before in ("/", "/1-", "/a/x/"):
            compare(on(lambda path: table.match("GET", path), unit, before), LONGEST)
            compare(on(lambda path: table.match("POST", path), unit, before), LONGEST)
            compare(on(table.at, unit, before), LONGEST)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_event_is_matched_in_linear_time(pattern: str) -> None:
    listener: Listener[Any] = Listener()

    @listener.on_event(f"GET:{pattern}")
    async def nothing() -> None: ...

    for unit in PATTERNS[pattern]:
        compare(on(listener.match_route, unit, "GET:/a/"), LONGEST)


@pytest.mark.parametrize(
    "unit",
    ["0-0,", "0-,", "-1,", ",", "9", "0", "-", " ,", "1-1, 5-5,", "5-4,", "0-99999999999999999,", "x"],
)
def test_a_range_is_read_in_linear_time(unit: str) -> None:
    compare(on(lambda value: parse_range(value, 1000), unit, "bytes="), LONGEST)


@pytest.mark.parametrize("unit", ['"a",', 'W/"a",', '"', 'W/"', '"a', "W/", ",", "*", " ", '"a" '])
def test_a_list_of_entity_tags_is_read_in_linear_time(unit: str) -> None:
    for weak in (True, False):
        compare(on(lambda value: has_entity_tag(value, '"b"', weak), unit), LONGEST)  # noqa: B023
    for name in ("if-modified-since", "if-unmodified-since"):
        compare(on(lambda value: precondition("GET", {name: value}, '"b"', 1.0), unit), LONGEST)  # noqa: B023


@pytest.mark.parametrize("unit", ["a/", "/", "sub/", "a", "sub//", "é/", "%2e", "../"])
def test_a_static_file_is_looked_for_in_linear_time(unit: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    compare(on(StaticFiles(tmp_path).find, unit), LONGEST)
    compare(on(StaticFiles(tmp_path).find, unit, "sub/"), LONGEST)


@pytest.mark.parametrize("unit", ["{A}", "{", "{A", "}", "{{A}}", "{ A }", "a", "{A.b}", "{_"])
def test_a_template_of_my_flask_is_filled_in_linear_time(
    unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "templates" / "page.html"
    page.parent.mkdir()
    monkeypatch.chdir(tmp_path)

    def make_template(length: int) -> Work:
        page.write_text(fill(unit, length))
        return lambda: render_template("page.html", {"A": "<b>"})

    def make_value(length: int) -> Work:
        page.write_text("{A}")
        text = fill(unit, length)
        return lambda: render_template("page.html", {"A": text})

    check(make_template)
    check(make_value)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_an_error_is_told_in_linear_time(accept: str) -> None:
    request = Request(MemoryExchange("GET", "/", [(b"accept", accept.encode())]), None)
    for unit in ("<", "&", '"', "\\", "\0", "a", "é"):
        check(on(lambda text: error_response(request, HTTPException(400, text)), unit))


def asked(name: str, value: str, target: str = "/", app: App | None = None) -> Request:
    """A request with one field, from a proxy on this machine."""
    fields = [(b"host", b"localhost"), (name.encode(), value.encode())]
    return Request(MemoryExchange("POST", target, fields, client=("127.0.0.1", 1)), app or App())


async def nothing(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize(
    "unit", ["127.0.0.1,", "for=[::1],", "/a", "%41", "a.", ",", " ", "unknown,", "[", ":"]
)
@pytest.mark.parametrize("field", ["Forwarded", *(f"X-Forwarded-{w}" for w in ("For", "Host", "Prefix"))])
def test_what_proxies_tell_is_believed_in_linear_time(field: str, unit: str) -> None:
    proxies = ProxyHeadersMiddleware(headers=[field])

    def believe(value: str) -> None:
        with suppress(StopIteration):  # it waits for nothing
            proxies(asked(field, value), nothing).send(None)  # type: ignore[attr-defined]

    compare(on(believe, unit), LONGEST)
    compare(on(believe, unit, "/" if field.endswith("Prefix") else "for="), LONGEST)


@pytest.mark.parametrize("unit", ["a", "/", ":", "@", ".", "-", "[", ":1", "http://", "a.", "é", ",", " "])
def test_where_a_request_comes_from_is_looked_at_in_linear_time(unit: str) -> None:
    csrf, cors = CSRFMiddleware(), CORSMiddleware([], allow_origin_regex=r"https://([a-z]+\.)?example\.org")

    def ask(middleware: Any, field: str) -> Callable[[str], None]:
        def look(value: str) -> None:
            with suppress(StopIteration):
                middleware(asked(field, value), nothing).send(None)

        return look

    for before in ("", "http://a", "https://["):
        for look in (ask(csrf, "origin"), ask(csrf, "referer"), ask(cors, "origin")):
            compare(on(look, unit, before), LONGEST)


@pytest.mark.parametrize("unit", ["a", "/", ";", "; a=b", ';"', " ", "\\", "=", ",", "; boundary=x"])
def test_the_type_of_content_is_looked_at_in_linear_time(unit: str) -> None:
    async def read(value: str) -> None:
        request = asked("content-type", value)
        request.exchange.body = Body()
        request.exchange.body.add(b"x")
        await request.load_form()

    def drive(value: str) -> None:
        with suppress(StopIteration):
            read(value).send(None)

    for before in ("", "multipart/form-data; boundary=", 'multipart/form-data; boundary="', "a/b"):
        compare(on(drive, unit, before), LONGEST)

    def guard(value: str) -> None:
        request = asked("content-type", value)
        request.exchange.fields.append((b"sec-fetch-site", b"same-origin"))
        with suppress(StopIteration):
            CSRFMiddleware()(request, nothing).send(None)  # type: ignore[attr-defined]

    compare(on(guard, unit, "a/"), LONGEST)


@pytest.mark.parametrize("unit", ["a", ".", "A.", "=", "_", "é", "A" * 60 + "."])
def test_a_signed_cookie_and_a_token_are_checked_in_linear_time(unit: str) -> None:
    app = App(secret_key="0123456789abcdef" * 4)
    sessions = SessionMiddleware()

    async def look(request: Request) -> Response:
        assert request.session.is_new
        return Response()

    def find(value: str) -> None:
        with suppress(StopIteration):
            sessions(asked("cookie", f"session={value}", app=app), look).send(None)  # type: ignore[attr-defined]

    def guard(token: str) -> None:
        request = asked("x-csrf-token", token)
        request._session = Session(lambda: Kept(b'{"_csrf":"a"}', False))
        with suppress(StopIteration):
            CSRFMiddleware()(request, nothing).send(None)  # type: ignore[attr-defined]

    compare(on(find, unit), LONGEST)
    check(on(guard, unit))
    check(on(lambda value: format_cookie("a", value, path=f"/{value}"), unit))
    check(on(lambda value: format_cookie("a", domain=value), unit))


def test_faults_are_found_in_linear_time() -> None:
    @dataclass
    class Bird:
        name: str
        eggs: list[int]
        seen: dict[str, int]

    bad = {
        list[int]: '"x",',
        list[list[int]]: '["x"],',
        list[Bird]: '{"name":1},',
        list[Bird | None]: '{"name":"a","eggs":["x"],"seen":{"x":"y"}},',
        list[int | str]: "1.5,",
        set[int]: '"x",',
    }
    for kind, unit in bad.items():
        read = json_reader(kind)
        compare(on(lambda text, read=read: read(f"[{text}0]".encode()), unit), LONGEST)  # type: ignore[misc]


@pytest.mark.parametrize(
    "unit", ["[", "[]", '{"a":', '"', '\\"', "\\", "\n", "[1,", "9", "-", "1e", '"[', "\ud800", " "]
)
def test_json_is_read_in_linear_time(unit: str) -> None:
    unit = unit.encode(errors="replace").decode()
    for before in ("", "[", '"', '{"'):
        check(on(lambda text: decode_json(text.encode()), unit, before))


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
def test_a_failure_is_shown_in_linear_time(accept: str) -> None:
    """With all that a request may hold, in debug too."""
    app = App()
    app.get("/birds/{name}/{egg}")(lambda name, egg: name)

    def show(text: str) -> None:
        request = asked("accept", accept, f"/{text}?{text}", app)
        request.exchange.route = None
        request.exchange.fields.append((b"x", text.encode()))
        error_response(request, HTTPException(404, text))
        missing_response(request, HTTPException(404, text), app.routes)
        exception_response(request, ValueError(text))

    for unit in ("a", "/", "<", "%41", "&a=b", "key", "token = ", "key='", 'pass: "\\"', "="):
        compare(on(show, unit), LONGEST)


@pytest.mark.parametrize(
    "unit", ["a", "/", "%", "é", ":", "//", "&", "\\", "@", "javascript:", "data:image/", "\x01"]
)
def test_addresses_are_made_and_checked_in_linear_time(unit: str) -> None:
    app = App()
    app.get("/one/{name}", name="one")(lambda name: name)
    app.get("/rest/{file:path}", name="rest")(lambda file: file)
    for work in (
        lambda text: app.url_for("one", name=text, query=text, _anchor=text),
        lambda text: app.url_for("rest", file=text),
        lambda text: redirect(f"/{text}"),
        lambda text: redirect(f"http://{text}", allowed_hosts=["a"]),
        safe_path,
        safe_url,
        base_name,
        make_entity_tag,
        lambda text: asked("last-event-id", text).last_event_id,
    ):
        compare(on(work, unit), LONGEST)


# -- fields


def many(pair: tuple[bytes, bytes] | None, length: int) -> Fields:
    """Equal fields, or each of another name."""
    if pair is not None:
        return [pair] * (length // (len(pair[0]) + len(pair[1])))
    return [(b"x-%06d" % n, b"y" * 8) for n in range(length // 16)]


FIELDS = [None, (b"x", b"y"), (b"cookie", b"a=b"), (b"x", b""), (b"accept", b"*/*;q=0.5")]


@pytest.mark.parametrize("pair", FIELDS)
def test_fields_are_found_in_linear_time(pair: tuple[bytes, bytes] | None) -> None:
    def make(length: int) -> Work:
        fields = many(pair, length)

        def work() -> None:
            headers = Headers.from_raw(fields)
            assert len(dict(headers.items())) == len(headers)
            for name in headers:
                headers.getlist(name)

        return work

    check(make)


@pytest.mark.parametrize("pair", FIELDS)
def test_a_request_tells_its_fields_in_linear_time(pair: tuple[bytes, bytes] | None) -> None:
    def make(length: int) -> Work:
        request = Request(MemoryExchange("GET", "/", many(pair, length)), None)
        return lambda: (request.host, request.url, request.cookies, request.text, dict(request.headers))

    check(make)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


@pytest.mark.parametrize("pair", FIELDS)
@pytest.mark.parametrize("program", [asgi, wsgi])
def test_fields_reach_programs_of_others_in_linear_time(
    program: Any, pair: tuple[bytes, bytes] | None, loop: asyncio.AbstractEventLoop
) -> None:
    application = adapt(program)

    def seconds(length: int) -> float:
        exchange = MemoryExchange("GET", "/", many(pair, length))
        began = time.process_time()  # it may run in another thread
        loop.run_until_complete(exchange.serve(application))
        spent = time.process_time() - began
        assert exchange.status == 200
        return spent

    small, large = (min(seconds(length) for _ in range(3)) for length in (MEBIBYTE // FACTOR, MEBIBYTE))
    assert large < MOST_BEYOND_CACHES * small, (small, large)


@pytest.mark.parametrize("pair", FIELDS)
def test_fields_come_from_servers_of_others_in_linear_time(
    pair: tuple[bytes, bytes] | None, loop: asyncio.AbstractEventLoop
) -> None:
    app = App(__name__)
    app.get("/")(lambda request: str(len(request.headers)))

    def make(length: int) -> Work:
        headers = [(name.decode(), value.decode()) for name, value in many(pair, length)]
        return lambda: loop.run_until_complete(ask_by_asgi(app, headers=headers))

    check(make)


def test_the_head_of_an_answer_is_made_in_linear_time() -> None:
    for pair in FIELDS[1:]:
        check(lambda length, pair=pair: lambda: response_head(200, many(pair, length)))  # type: ignore[misc]


# -- heads


LINES = {
    "many equal": b"X: y\r\n",
    "many empty": b"X:\r\n",
    "many of Connection": b"Connection: a, b\r\n",
    "many of Accept": b"Accept: */*\r\n",
    "many of Expect": b"Expect: a, b\r\n",
    "many of Content-Length": b"Content-Length: 1\r\n",
    "many of Transfer-Encoding": b"Transfer-Encoding: chunked\r\n",
    "many of Host": b"Host: a\r\n",
    "many folded": b"X: y\r\n z\r\n",
    "many bad": b"X y\r\n",
}
VALUES = {
    "a list": (b"Connection", b"a,"),
    "commas": (b"Connection", b","),
    "blanks": (b"Connection", b" "),
    "blanks and tabs": (b"X", b" \t"),
    "blanks within": (b"X", b" \ty"),
    "an expectation": (b"Expect", b"b ,"),
    "codings": (b"Transfer-Encoding", b"chunked, "),
    "digits": (b"Content-Length", b"1"),
    "lengths": (b"Content-Length", b"1, "),
    "a host": (b"Host", b"a."),
    "a host in escapes": (b"Host", b"%41"),
    "an IPv6 host": (b"Host", b"[:"),
    "bytes beyond ASCII": (b"X", b"\xff"),
}
TARGETS = [b"a", b"/", b"%", b"%41", b"?", b"&", b"*", b"#", b"http://", b"@", b"[", b"\xff", b" "]


UNLIMITED = Settings(max_fields=1 << 30, max_fields_size=1 << 30, max_request_line=1 << 30)


def reading(parser: str, head: bytes) -> Work:
    def work() -> None:
        with suppress(ProtocolError):
            HeadReader(parser_factory(parser)(), UNLIMITED).read(head, 0, UNLIMITED)

    return work


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("line", LINES)
def test_lines_of_a_head_are_read_in_linear_time(line: str, parser: str) -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"

    def make(length: int) -> Work:
        return reading(parser, start + LINES[line] * (length // len(LINES[line])) + b"\r\n")

    check(make)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_in_a_head_is_read_in_linear_time(value: str, parser: str) -> None:
    name, unit = VALUES[value]

    def make(length: int) -> Work:
        content = unit * (length // len(unit))
        return reading(parser, b"GET / HTTP/1.1\r\n%b: %b\r\nHost: a\r\n\r\n" % (name, content))

    check(make)


@pytest.mark.parametrize("unit", TARGETS)
def test_a_request_line_is_read_in_linear_time(unit: bytes) -> None:
    for before in (b"GET /", b"GET http://", b"GET ", b"", b"G"):
        for behind in (b" HTTP/1.1\r\n", b" HTTP/1.\r\n", b"\r\n"):

            def make(length: int, before: bytes = before, behind: bytes = behind) -> Work:
                line = before + unit * (length // len(unit)) + behind
                return reading("httptools", line + b"Host: a\r\n\r\n")

            compare(make, LONGEST)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 60_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000],
)
def test_a_head_in_single_bytes_is_read_in_linear_time(
    head: bytes, parser: str, loop: asyncio.AbstractEventLoop
) -> None:
    """Up to the limit on a head, for that is as much as is kept."""

    async def open_wire() -> Wire:
        return Wire(parser=parser, max_fields=100_000)

    def make(length: int) -> Work:
        wire = loop.run_until_complete(open_wire())

        def work() -> None:
            for at in range(length):
                wire.connection.data_received(head[at : at + 1])
            assert not wire.sent

        return work

    compare(make, 60_000)


# -- content


@pytest.mark.parametrize(
    "unit",
    [b"1\r\nx\r\n", b"1;a=b\r\nx\r\n", b'1;a="b"\r\nx\r\n', b"0000000001\r\nx\r\n", b"2\r\n\r\n\r\n",
     b"10\r\n" + b"\r\n" * 8 + b"\r\n"],
)  # fmt: skip
def test_tiny_chunks_are_read_in_linear_time(unit: bytes) -> None:
    def make(length: int) -> Work:
        data = unit * (length // len(unit)) + b"0\r\n\r\n"

        def work() -> None:
            content, rest = ChunkedReader().feed(data)
            assert content
            assert not rest

        return work

    check(make)


@pytest.mark.parametrize("unit", [b"1\r\nx\r\n", b"1;a=b\r\nx\r\n", b"10\r\n" + b"\r\n" * 8 + b"\r\n"])
def test_chunks_in_single_bytes_are_read_in_linear_time(unit: bytes) -> None:
    def make(length: int) -> Work:
        data = unit * (length // len(unit))

        def work() -> None:
            reader = ChunkedReader()
            for at in range(len(data)):
                reader.feed(data[at : at + 1])

        return work

    compare(make, LONGEST)


@pytest.mark.parametrize(
    "unit", [b";a", b";a=b", b";", b" ", b"\t;", b'"', b';a="\\"', b"0", b"\r", b"\n", b"a=\t"]
)
def test_an_extension_is_read_in_linear_time(unit: bytes) -> None:
    settings = Settings(max_chunk_extension=LONGEST)

    def make(length: int) -> Work:
        line = b"1" + unit * (length // len(unit)) + b"\r\n"

        def work() -> None:
            with suppress(ProtocolError):
                ChunkedReader(settings).feed(line)

        return work

    compare(make, LONGEST)


@pytest.mark.parametrize("unit", [b"X: y\r\n", b"X: y", b"X", b":", b" ", b"\r", b"X:\r\n"])
def test_trailers_are_read_in_linear_time(unit: bytes) -> None:
    settings = Settings(max_trailers=2 * MEBIBYTE)

    def make(length: int) -> Work:
        data = b"0\r\n" + unit * (length // len(unit)) + b"\r\n\r\n"

        def work() -> None:
            with suppress(ProtocolError):
                ChunkedReader(settings).feed(data)

        return work

    check(make)


def test_tiny_pieces_are_gathered_in_linear_time() -> None:
    def make(length: int) -> Work:
        def work() -> None:
            body = Body()
            for _ in range(length):
                body.add(b"x")
            body.rewind()
            assert body.read_piece() == body.read_all() == b"x" * length

        return work

    compare(make, 256 * KIBIBYTE)


def test_tiny_pieces_reach_a_handler_that_streams_in_linear_time(loop: asyncio.AbstractEventLoop) -> None:
    app = App(__name__)

    @app.post("/", stream=True)
    async def count(request: Request) -> str:
        return str(sum([len(piece) async for piece in request.stream()]))

    async def serve(length: int) -> None:
        wire = Wire(app)  # type: ignore[arg-type]
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        for at in range(length):
            wire.send(b"x")
            if at % 10 == 0:
                await asyncio.sleep(0)
        await turns()
        assert wire.answers()[0].content == b"%d" % length

    compare(lambda length: lambda: loop.run_until_complete(serve(length)), 40_000)


def test_pipelined_requests_are_answered_in_linear_time(loop: asyncio.AbstractEventLoop) -> None:
    """In one packet, as long as the loops read: 256 KiB."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    async def serve(count: int) -> None:
        wire = Wire()
        wire.send(request * count)
        await until(lambda: wire.connection.exchange is None)
        assert wire.sent.count(b"HTTP/1.1 200") == count

    def make(length: int) -> Work:
        count = length // len(request)
        return lambda: loop.run_until_complete(serve(count))

    compare(make, 256 * KIBIBYTE, seconds=3)


def test_pipelined_bytes_wait_in_linear_time(loop: asyncio.AbstractEventLoop) -> None:
    """Up to the limit on what is pipelined."""
    answered = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await answered.wait()
        await exchange.respond(200, [])

    async def open_wire() -> Wire:
        wire = Wire(Application(wait))
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await turns()
        return wire

    def make(length: int) -> Work:
        wire = loop.run_until_complete(open_wire())

        def work() -> None:
            for _ in range(length):
                wire.connection.data_received(b"x")

        return work

    compare(make, LONGEST)

    async def end() -> None:
        answered.set()
        await turns(30)

    loop.run_until_complete(end())


# -- and none of it takes long


def test_20_000_tiny_chunks_take_less_than_a_fifth_of_a_second() -> None:
    data = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    assert min(taken(lambda _: lambda: ChunkedReader().feed(data), 0) for _ in range(3)) < 0.2


def test_50_000_keys_take_less_than_a_fifth_of_a_second() -> None:
    json = b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(50_000)) + b"}"
    query = "&".join(f"{n}={n}" for n in range(50_000))
    cookies = "; ".join(f"{n}={n}" for n in range(50_000))
    exchange = MemoryExchange("POST", "/")
    exchange.body = Body()
    exchange.body.add(json)
    request = Request(exchange, None)
    for work in (request.json, lambda: on(parse_query, query)(len(query))(), lambda: parse_cookies(cookies)):
        assert min(taken(lambda _, work=work: work, 0) for _ in range(3)) < 0.2  # type: ignore[misc]
    assert all(isinstance(key, str) for key in request.json())  # an int's hash is no secret
    assert all(isinstance(key, str) for key in parse_query("1=1&2=2"))
