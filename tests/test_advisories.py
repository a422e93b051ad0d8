"""What went wrong for others, and does not here: files, redirects, URLs, JSON, and requests made to confuse.

Each section names the advisories behind it. Splitting, logs, cut content and time in proportion have files of
their own: test_splitting.py, test_log_safety.py, test_truncated.py, test_linear.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from http1_wire import PARSERS, Wire
from kinds import KINDS, PATH, make

from weebill import App, Request, redirect
from weebill.dialects.my_flask import MyFlask, render_template
from weebill.errors import ConfigurationError
from weebill.settings import Settings
from weebill.testing import TestClient

# -- requests made to confuse: none of them is an error of any kind of program
# (CVE-2026-42544: a byte beyond ASCII in Sec-WebSocket-Protocol aborted a worker)

TARGETS = [
    *("/", PATH, "//", "///x", "/./../..", "/%2f..%2f", "/..%5c", "/%5c%5cexample.org", "/;a=b", "/a;b/c"),
    *("/%00", "/%", "/%zz", "/%ff", "/%c0%ae", "/%ed%a0%80", "/%0d%0aX:%20y", "/%E2%80%A8", "/%F0%9F%90%A6"),
    *("/?", "/?%", "/?%ff", "/?%0d%0a", "/?a=1&a=2&&=&;", "/?" + "&" * 4000, "/?" + "a=b&" * 1500),
    *("/" + "a/" * 3000, "/" + "." * 3000, "/" + "%2e" * 2000, "/" + "%2F" * 2000, "/{x}", "/<x>", "/'\"`|^"),
    *("http://a", "http://a?x", "HTTPS://a:443/m", "http://[::1]/m", "*"),
]
METHODS = ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "FOO", "get", "M-SEARCH", "!#$%&'*+-.^_`|~"]
VALUES = [
    b"",
    b",",
    b";",
    b"=",
    b'"',
    b'"a',
    b"\xff\x80",
    b"a" * 8000,
    b"%00",
    b"\t",
    b"0",
    b"-1",
    b"*",
    b"{}",
    b"\\",
]
NAMES = (
    *("Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control"),
    *("Content-Encoding", "Content-Language", "Content-Type", "Cookie", "Date", "Forwarded", "From"),
    *("HTTP2-Settings", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since"),
    *("Max-Forwards", "Origin", "Pragma", "Proxy", "Range", "Referer", "Sec-WebSocket-Key", "TE", "Trailer"),
    *("Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Upgrade", "User-Agent", "Via", "X-Forwarded-For"),
    *("X-Forwarded-Host", "X-Forwarded-Proto", "X-HTTP-Method-Override", "X_Under_Score", "_", "1"),
)


async def answered() -> None:
    """Wait until no request is under way."""
    while tasks := [task for task in asyncio.all_tasks() if task.get_name() == "weebill-request"]:
        await asyncio.wait(tasks)


async def answers_to(kind: str, parser: str, requests: list[bytes]) -> None:
    app = make(kind, [])
    await app.__startup__()
    state = Wire(app, parser).state  # type: ignore[arg-type]
    for request in requests:
        wire = Wire(app, parser, state)  # type: ignore[arg-type]
        wire.send(request)
        await answered()
        status = int(wire.sent[9:12])
        assert 200 <= status < 500 or status in (501, 505), (request[:200], wire.sent[:200])
    await app.__shutdown__()


def check_confusing(kind: str, parser: str, requests: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(answers_to(kind, parser, requests))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_target_and_no_method_is_an_error_of_the_program(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [
        f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
        for method in METHODS
        for target in (TARGETS if method in ("GET", "OPTIONS") else TARGETS[:20])
    ]
    check_confusing(kind, "httptools", requests, caplog)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_field_is_an_error_of_the_program(
    kind: str, parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [
        b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n%b: %b\r\n%b: %b\r\n\r\na\xffb"
        % (b"POST" if at % 2 else b"GET", PATH.encode(), name.encode(), value, name.lower().encode(), value)
        for at, value in enumerate(VALUES)
        for name in NAMES
    ]
    check_confusing(kind, parser, requests, caplog)


def look_at_everything(request: Request) -> list[Any]:
    return [
        *(request.method, request.path, request.target, request.http_version, request.scheme, request.host),
        *(request.url, dict(request.headers), dict(request.cookies), request.query.multi_items()),
        *(str(request.client), request.root_path, len(request.body), repr(request)),
    ]


@pytest.mark.parametrize("parser", PARSERS)
def test_a_handler_may_look_at_everything_of_a_confusing_request(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(__name__)
    app.route("/{file:path}", ("GET", "POST"))(look_at_everything)
    requests = [f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for target in TARGETS]
    requests += [
        b"GET / HTTP/1.0\r\n%b: %b\r\n\r\n" % (name.encode(), value) for name in NAMES for value in VALUES
    ]

    async def main() -> None:
        state = Wire(app, parser).state  # type: ignore[arg-type]
        for request in requests:
            wire = Wire(app, parser, state)  # type: ignore[arg-type]
            wire.send(request)
            await answered()
            assert int(wire.sent[9:12]) < 500, wire.sent

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


# -- files (CVE-2023-29159, CVE-2024-23334, CVE-2017-16762, CVE-2025-66221, CVE-2026-21860, CVE-2026-27199)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a neighbour of a longer name, links, and what is no regular file."""
    served = tmp_path / "files"
    (served / "sub").mkdir(parents=True)
    (served / "page.html").write_text("page")
    (served / "sub" / "page.html").write_text("sub page")
    (tmp_path / "files-of-others").mkdir()
    for outside in (tmp_path / "secret", tmp_path / "files-of-others" / "secret"):
        outside.write_text("secret")
    (served / "link").symlink_to(tmp_path / "secret")
    (served / "link-to-neighbour").symlink_to(tmp_path / "files-of-others")
    (served / "link-to-parent").symlink_to(tmp_path, target_is_directory=True)
    (served / "link-to-a-link").symlink_to(served / "link")
    (served / "link-inside").symlink_to(served / "page.html")
    (served / "loop").symlink_to(served / "loop")
    (served / "dangling").symlink_to(served / "nothing")
    (served / "device").symlink_to("/dev/zero")
    os.mkfifo(served / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(served / "socket"))
    return served


def static_app(folder: Path) -> App:
    app = App(__name__)
    app.static("/files", folder)
    return app


def my_flask_app(folder: Path) -> App:
    """It serves the current folder."""
    os.chdir(folder)
    return MyFlask()


SERVERS = {"static": (static_app, "/files/"), "MyFlask": (my_flask_app, "/")}

UP = [
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    ".%2e/",
    "..%5c",
    "..%5C..%5c",
    "....//",
    "..;/",
    "%2e%2e%5c",
    "%252e%252e/",
]
NEVER = [
    *(f"{up}{there}" for up in UP for there in ("secret", "files-of-others/secret", "files/../secret")),
    *(f"sub/{up}{up}secret" for up in UP),
    *("link", "link/", "link-to-a-link", "link-to-neighbour/secret", "link-to-parent/secret"),
    "link-to-parent/",
    *("link-to-parent/files/page.html/../../secret", "loop", "loop/x", "dangling", "device"),
    *("fifo", "socket"),
    *("/etc/passwd", "%2fetc/passwd", "//etc/passwd", "file:/etc/passwd", "~/x", "~root/x", "sub/page.html/"),
    *("page.html%20", "page.html.", "page.html::$DATA", "page.html%3a%3a$DATA", "page.html%5c"),
    *("c:/x", "c%3a%5cx"),
    *("%5c%5cexample.org%5cshare", "?/page.html", "%3f/page.html", "page.htm%6c/x", "a" * 5000, "a/" * 2000),
]  # fmt: skip


@pytest.fixture(params=SERVERS)
def files(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(folder)
    make_app, prefix = SERVERS[request.param]
    with TestClient(make_app(folder)) as client:
        yield lambda rest, **options: client.get(f"{prefix}{rest}", **options)


@pytest.mark.parametrize("rest", NEVER)
def test_a_path_never_leads_out_of_the_folder_nor_to_what_is_no_file(files: Any, rest: str) -> None:
    answer = files(rest)
    if rest.partition("?")[0] == "":
        assert answer.status_code in (200, 404)  # a query: the folder itself
    else:
        assert answer.status_code in (400, 404)
    assert "secret" not in answer.text.replace("files-of-others", "")


def test_what_lies_inside_is_served_also_by_a_link(files: Any) -> None:
    assert files("page.html").text == "page"
    assert files("p%61ge.html").text == "page"
    assert files("sub/page.html").text == "sub page"
    assert files("link-inside").text == "page"


def test_a_nul_in_a_path_is_400(files: Any) -> None:
    for rest in ("%00", "page.html%00", "page.html%00.txt", "sub%00/page.html", "%00/../page.html"):
        assert files(rest).status_code == 400


@pytest.mark.parametrize(
    "name",
    ["CON", "con", "NUL", "nul.txt", "AUX.html", "PRN", "COM1", "com9.log", "LPT1", "lpt9.x.y", "CONIN$"],
)
def test_the_names_of_devices_of_windows_are_not_served(files: Any, folder: Path, name: str) -> None:
    """On no system, so that what is tried here is what runs there."""
    (folder / name).write_text("no device here")
    (folder / "sub" / name).write_text("no device here")
    assert files(name).status_code == 404
    assert files(f"sub/{name}").status_code == 404


def test_a_template_never_lies_outside_its_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "templates")
    monkeypatch.chdir(folder.parent)
    assert render_template("page.html") == "page"
    for name in (
        "../secret",
        "link",
        "sub/../../secret",
        "link-to-parent/secret",
        str(folder.parent / "secret"),
    ):
        with pytest.raises(ConfigurationError, match="there is no template"):
            render_template(name)


# -- redirects (CVE-2021-21330, CVE-2023-28370, CVE-2020-28724: "//" in a path became another host)


@pytest.mark.parametrize(
    "target",
    [
        *("//example.org", "//example.org/", "///example.org", "/\\example.org", "/%5cexample.org"),
        "//a:b@c/d",
        *("/%2fexample.org", "/%2f%2fexample.org", "//example.org/%2e%2e", "/.//example.org"),
        "/%09/example.org",
        *("//sub", "///sub", "/\\sub", "/sub/..//sub", "//sub?a=//example.org", "/;//example.org", "//%00"),
        *("/there", "//there", "/\\there", "/there?next=//example.org", "/there?\\", "http://a//there"),
        *("/sub", "/sub?\\\\example.org", "/%73ub", "/sub%2f", "/%2fsub", "/wide//example.org", "/wide/%5cx"),
    ],
)  # fmt: skip
def test_no_redirect_of_our_own_leads_to_another_host(
    target: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    slashes = App(__name__, redirect_slashes=True)
    slashes.get("/there/")(lambda: "there")
    slashes.get("/wide/{rest:path}/")(lambda rest: "wide")
    slashes.get("/{a}/{b}/{c}/")(lambda a, b, c: "deep")
    slashes.get("/{a:path}/end/")(lambda a: "end")
    outer = App(__name__)
    outer.mount("/outer", slashes)
    slashes.static("/files", folder)

    async def locations() -> list[str]:
        found = []
        for app, prefix in (
            (slashes, ""),
            (outer, "/outer"),
            (MyFlask(), ""),
            (static_app(folder), "/files"),
        ):
            await app.__startup__()
            for rest in ("", "/", "/end"):
                wire = Wire(app)  # type: ignore[arg-type]
                whole = target.partition("?")[0] + rest
                wire.send(
                    f"GET {prefix if '://' not in whole else ''}{whole} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                )
                await answered()
                found += [a.headers["location"] for a in wire.answers() if "location" in a.headers]
            await app.__shutdown__()
        return found

    for location in asyncio.run(locations()):
        assert "\\" not in location
        assert location.startswith("/")
        assert location[1:2] not in ("/", "\t")
        assert urlsplit(urljoin("http://a/", location)).netloc == "a"


@pytest.mark.parametrize(
    "location",
    [
        "ms-word:ofe|u|x",
        "view-source:http://a",
        "web+x:y",
        "x-a:b",
        "vnd.a:b",
        "coap+tcp://a",
        "a1:b",
        "VBScript:x",
    ],
)
def test_a_redirect_to_a_scheme_that_is_not_of_the_web_is_refused(location: str) -> None:
    """A scheme is more than letters (RFC 3986 section 3.1)."""
    with pytest.raises(ValueError, match="neither a path nor an http"):
        redirect(location)


# -- URLs (CVE-2022-33124: a bad IPv6 address raised; CVE-2026-48710: a URL made of a bad Host)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "host",
    ["[", "]", "[]", "[::1", "::1", "[::1]]", "[[::1]]", "[::g]", "[1::2::3]", "[v1.a]", "[::1]x",
    "[::1%25eth0]",
     "a/", "a/b", "a?b", "a#b", "a@b", "@", "a b", "a,b", "a\\b", "a:b", "a:-1", "a:65536", "a:99999999",
     "a::", "<a>",
     "a\"b", "a|b", "a^b", "\x80", "%", "%zz", "%0", ":", ":80", "a" * 300],
)  # fmt: skip
def test_no_url_is_ever_made_of_a_bad_host(host: str, parser: str) -> None:
    seen: list[str] = []
    app = App(__name__)

    @app.get("/{file:path}")
    def look(request: Request) -> str:
        seen.append(request.url)
        return ""

    async def main() -> None:
        for head in (
            f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
            f"GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            wire = Wire(app, parser)  # type: ignore[arg-type]
            wire.send(head.encode("latin-1"))
            await answered()
            if not seen:
                assert wire.sent.startswith(b"HTTP/1.1 400 ")
        # In a target "/", "?" and "#" end the host, and a fragment is refused.
        assert [urlsplit(url).hostname for url in seen] == (["a"] if host in ("a/", "a/b", "a?b") else [])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "url"),
    [("a", "http://a/x?y"), ("A.b:81", "http://A.b:81/x?y"), ("[::1]", "http://[::1]/x?y"),
     ("[fe80::1]:8000", "http://[fe80::1]:8000/x?y"), ("127.0.0.1:0", "http://127.0.0.1:0/x?y")],
)  # fmt: skip
def test_a_url_is_made_of_a_good_host(host: str, url: str) -> None:
    app = App(__name__)
    app.get("/x")(lambda request: request.url)

    async def main() -> bytes:
        wire = Wire(app)  # type: ignore[arg-type]
        wire.send(f"GET /x?y HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await answered()
        return wire.answers()[0].content

    assert asyncio.run(main()).decode() == url
    urlsplit(url)


# -- JSON (a depth that ends the interpreter's stack, numbers that int() takes long for, or does not take)


@pytest.mark.parametrize(
    "content",
    [
        *(b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        *(b"9" * 10**6, b"-" + b"9" * 10**6, b"[" + b"9" * 10**6 + b"]", b"1e999999999"),
        *(b"-1E+999", b"9" * 5000),
        *(b"NaN", b"[NaN]", b"Infinity", b"-Infinity", b"nan", b"0x10", b"1_000", b"01", b"+1", b".5", b"1."),
        *(b"", b" ", b"\0", b"\xff", b"\xef\xbb\xbf{}", b"{}{}", b"[1,]", b"{'a':1}", b'"\\ud800"'),
        b'"\xed\xa0\x80"',
        *('{"a": 1}'.encode("utf-16"), b'"\x1f"', b'"a', b'{"a"}', b'{"a":}', b"{1:2}", b"tru", b"// a\n1"),
    ],
    ids=lambda content: repr(content[:12]),
)  # fmt: skip
def test_bad_json_is_400(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    app = App(__name__)
    for method, path in (("POST", "/def"), ("POST", "/async")):

        def read(request: Request) -> str:
            return repr(request.json())[:100]

        async def read_on_loop(request: Request) -> str:
            return repr(request.json())[:100]

        app.add_route(path, read if path == "/def" else read_on_loop, (method,))
    for path in ("/def", "/async"):
        answer = TestClient(app).post(path, content=content)
        assert answer.status_code == 400
        assert len(answer.content) < 1000
    assert caplog.records == []


def test_what_json_can_hold_can_be_sent_back(caplog: pytest.LogCaptureFixture) -> None:
    app = App(__name__)
    app.post("/")(lambda request: [request.json()])
    for content in (
        "1",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "1" + "0" * 400,
        "1e308",
        "1.5e-300",
    ):
        answer = TestClient(app).post("/", content=content)
        assert answer.status_code in (200, 400), content
    assert caplog.records == []


def test_keys_of_json_and_queries_are_text_whatever_they_look_like() -> None:
    app = App(__name__)
    app.post("/")(lambda request: [repr(list(request.json())), repr(list(request.query))])
    answer = TestClient(app).post("/?1=1&-2=2&3.0=3", content=b'{"1": 1, "-2": 2, "3.0": 3, "true": 4}')
    assert answer.json() == ["['1', '-2', '3.0', 'true']", "['1', '-2', '3.0']"]


@pytest.mark.parametrize("count", [1000, 1001, 50_000])
def test_a_query_has_at_most_a_thousand_fields(count: int) -> None:
    app = App(__name__)
    app.get("/")(lambda request: str(len(request.query)))
    for pair in ("k{}=v&", "&", "k&", "{}=&"):
        query = "".join(pair.format(n) for n in range(count))[:-1]
        client = TestClient(app, settings=Settings(max_request_line=1 << 20))
        assert client.get(f"/?{query}").status_code == (200 if count <= 1000 else 400)


# -- debug pages (CVE-2016-10516, CVE-2019-14806, CVE-2024-34069: a console in the browser)


def test_debug_is_off_unless_it_is_asked_for_and_its_page_runs_nothing() -> None:
    def fail() -> None:
        raise ValueError("<script>alert(1)</script>")

    app = App(__name__)
    app.get("/")(fail)
    assert app.debug is False
    client = TestClient(app, raise_server_exceptions=False)
    page = client.get("/", headers={"accept": "text/html"}).text
    assert "ValueError" not in page
    app.debug = True
    page = client.get("/", headers={"accept": "text/html"}).text.lower()
    assert "valueerror" in page
    for active in ("<script", "<form", "<input", "<iframe", "<a ", "<img", "javascript:", "onclick"):
        assert active not in page
