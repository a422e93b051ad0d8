"""What a framework is caught by, where no other file is the place for it.

The other pitfalls have their tests beside what they are about: test_cookies.py, test_sessions.py,
test_csrf.py, test_middleware_cors.py, test_static.py, test_forms_limits.py, test_advisories.py and others.
"""

from __future__ import annotations

import ast
import asyncio
import gzip
import logging
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from form_helpers import TYPE, URLENCODED, file, multipart, text
from http1_wire import PARSERS, Wire, until
from wires import raw

import weebill
from weebill import App, FileResponse, HTMLResponse, JSONResponse, Request, Response, redirect
from weebill.body import Body
from weebill.testing import TestClient

PACKAGE = Path(weebill.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# -- what the package is made of

RUNS_TEXT = {"eval", "exec", "compile", "__import__", "execfile"}
RUNS_DATA = {"pickle", "cPickle", "dill", "marshal", "shelve", "jsonpickle", "yaml"}
GUESSABLE = {"random"}  # where an id or a token is made, there is `secrets`
SECRETS = re.compile(r"secret|token|digest|password|hmac|nonce", re.IGNORECASE)
# The names of fields, and the program's own keys beside themselves.
NO_SECRETS = {"place.secret != frozenset()", "self._keys != app.secret_keys"}


@cache
def nodes_of(source: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))


def modules_of(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return getattr(node, "attr", getattr(node, "id", ""))


def test_no_text_and_no_data_is_run_and_nothing_is_left_to_a_guessable_chance() -> None:
    found = []
    for source in SOURCES:
        for node in nodes_of(source):
            bad = modules_of(node) & (RUNS_DATA | GUESSABLE)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                bad |= {node.func.id} & RUNS_TEXT
            found += [f"{source.name}:{node.lineno} {name}" for name in bad]  # type: ignore[attr-defined]
    assert len(SOURCES) > 80
    assert found == []


def test_no_secret_is_compared_in_a_time_that_tells_of_it() -> None:
    found = []
    for source in SOURCES:
        for node in nodes_of(source):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides = (node.left, *node.comparators)
                if any(SECRETS.search(name_of(side)) for side in sides):
                    found.append(ast.unparse(node))
    assert set(found) == NO_SECRETS


def test_importing_every_module_touches_no_network_and_runs_nothing() -> None:
    names = [
        ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for source in SOURCES
        if source.stem != "__main__"
    ]
    program = """
import sys
def watch(event, args):
    if event.startswith(("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib",
                         "subprocess", "os.system", "os.exec", "os.fork", "os.remove", "os.mkdir")):
        raise SystemExit(f"{event} {args}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise SystemExit(f"{event} {args}")
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- what answers say of themselves


def every_kind(folder: Path) -> App:
    (folder / "page.html").write_text("<p>é")
    (folder / "style.css").write_text("p {}")
    app = App(__name__)
    app.static("/static", folder, listing=True)
    app.get("/text")(lambda: "é")
    app.get("/html")(lambda: HTMLResponse("<p>é"))
    app.get("/csv")(lambda: Response("é", media_type="text/csv"))
    app.get("/svg")(lambda: ("<svg/>", 200, {"content-type": "image/svg+xml"}))
    app.get("/json")(lambda: {"a": "é"})
    app.get("/problem")(lambda: JSONResponse({}, 400))
    app.get("/bytes")(lambda: b"\xff")
    app.get("/nothing")(lambda: None)
    app.get("/stream")(lambda: (piece for piece in ("a", "é")))
    app.get("/file")(lambda: FileResponse(folder / "page.html"))
    app.get("/redirect")(lambda: redirect("/text"))
    app.get("/crash")(lambda: 1 / 0)
    return app


KINDS = [
    *("/text", "/html", "/csv", "/svg", "/json", "/problem", "/bytes", "/nothing", "/stream", "/file"),
    *("/redirect", "/crash", "/nowhere", "/%zz", "/static/", "/static/page.html", "/static/style.css"),
    *("/static/none", "/static"),
]


@pytest.mark.parametrize("parser", PARSERS)
def test_answers_of_every_kind_name_their_charset_and_length_and_no_server(
    parser: str, tmp_path: Path
) -> None:
    app = every_kind(tmp_path)

    async def ask(accept: str) -> None:
        for path in KINDS:
            wire = Wire(app, parser)  # type: ignore[arg-type]
            wire.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n".encode())
            await until(lambda wire=wire: wire.sent and wire.connection.exchange is None)  # type: ignore[misc]
            (answer,) = wire.answers()
            kind = answer.headers.get("content-type", "")
            if kind.startswith("text/") or kind.endswith("+xml"):
                assert kind.endswith("; charset=utf-8"), path
            assert kind or answer.content == b"", path
            if path != "/stream" and answer.status != 204:
                assert int(answer.headers["content-length"]) == len(answer.content), path
            assert not {"server", "x-powered-by", "via"} & set(answer.headers), path
            if answer.status >= 400 and path != "/problem":
                assert answer.headers["x-content-type-options"] == "nosniff", path
            assert b"weebill" not in answer.content.lower(), path

    async def main() -> None:
        await app.__startup__()
        for accept in ("text/html", "application/json", "text/plain"):
            await ask(accept)
        await app.__shutdown__()

    asyncio.run(main())


def test_without_its_middleware_nobody_else_may_read() -> None:
    """CORS is off by default."""
    app = App()
    app.get("/")(lambda: "hello")
    client = TestClient(app)
    asks = {"origin": "https://example.org", "access-control-request-method": "GET"}
    for answer in (client.get("/", headers=asks), client.options("/", headers=asks)):
        assert [name for name in answer.headers if name.lower().startswith("access-control")] == []


# -- what a path is


TRICKY = [
    *("/open/../guarded/x", "/open/%2e%2e/guarded/x", "/open/..%2fguarded/x", "//guarded/x", "/./guarded/x"),
    *("/GUARDED/x", "/guarded;/x", "/guarded%2fx", "/%67uarded%252fx", "/guarded%5cx", "/%2567uarded/x"),
    *("/guarded%00/x", "/guarded/x", "/guarded/%2e%2e/open", "/open/x"),
]


def test_what_a_middleware_sees_of_a_path_is_what_the_router_goes_by(serve: Callable[[App], Any]) -> None:
    """A guard that looks at the path cannot be passed by another spelling of it."""
    app = App()
    seen: list[str] = []

    @app.middleware
    async def guard(request: Request, call_next: Any) -> Any:
        seen.append(request.path)
        return Response("no", 403) if request.path.startswith("/guarded/") else await call_next(request)

    app.get("/guarded/{rest:path}")(lambda rest: "guarded")
    app.get("/open/{rest:path}")(lambda rest: "open")
    client = serve(app)
    for target in TRICKY:
        seen.clear()
        answer = raw(client, "GET", target)
        assert answer.text != "guarded", target
        assert (answer.status_code == 403) == any(path.startswith("/guarded/") for path in seen), target
    assert raw(client, "GET", "/guarded/x").status_code == 403


def test_another_spelling_of_a_guarded_path_is_the_same_path() -> None:
    app = App()
    app.get("/guarded/x")(lambda request: [request.path, urlsplit(request.url).path])
    for target in ("/guarded/x", "/%67uarded/%78", "/g%75arded/x?/open"):
        path, of_url = TestClient(app).get(target).json()
        assert path == "/guarded/x"
        assert of_url == target.partition("?")[0]


def test_no_url_of_a_request_is_made_of_a_bad_host_on_any_wire(serve: Callable[[App], Any]) -> None:
    """Who looks at the path of the URL would see another than the router."""
    app = App()
    app.get("/guarded")(lambda request: request.url)
    app.get("/async")(look_at_url)
    client = serve(app)
    for host in ("a/open?", "a/open#", "a@b", "a b", "a\\b", "a,b", "[::1", "a:b"):
        for path in ("/guarded", "/async"):
            answer = client.get(path, headers={"host": host})
            assert answer.status_code == 400, host
    assert client.get("/guarded", headers={"host": "[::1]:80"}).text == "http://[::1]:80/guarded"


async def look_at_url(request: Request) -> str:
    return request.url


# -- content that is packed, broken or large


def test_content_that_is_packed_is_not_unpacked(serve: Callable[[App], Any]) -> None:
    """A few kilobytes would become gigabytes."""
    app = App()
    app.post("/json")(lambda request: [request.json()])
    app.post("/form")(lambda request: [dict(request.form)])
    app.post("/size")(lambda request: str(len(request.body)))
    content = b'{"a": "' + b"0" * (1 << 20) + b'"}'
    client = serve(app)
    for coding, packed in (("gzip", gzip.compress(content)), ("deflate", zlib.compress(content))):
        for path, kind in (("/json", "application/json"), ("/form", URLENCODED["content-type"])):
            fields = {"content-type": kind, "content-encoding": coding}
            assert client.post(path, content=packed, headers=fields).status_code in (400, 415)
        answer = client.post("/size", content=packed, headers={"content-encoding": coding})
        assert answer.text == str(len(packed))


def test_what_is_wrong_with_a_form_is_told_to_its_sender_and_not_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    app.post("/")(lambda request: [dict(request.form)])
    client = TestClient(app)
    bad = [
        *(b"--wrong\r\n" * 1000, b"\r" * 10_000, multipart(text("a", "b")) + b"\n" * 1000),
        *(multipart(b"----form\r\nbad header\r\n\r\n\r\n" * 100), multipart(text("a", "\0" * 100))[:-9]),
    ]
    with caplog.at_level(logging.DEBUG):
        for content in bad:
            assert client.post("/", content=content, headers=TYPE).status_code == 400
        assert client.post("/", content=b"%ff=a&" * 900, headers=URLENCODED).status_code == 400
        assert client.post("/", content=b"x", headers={"content-type": "multipart/form-data; a" * 99})
    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == []


def test_no_disk_is_written_to_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop: list[int] = []
    written: list[int] = []
    plain = Body._write

    def watched(self: Body, pieces: list[bytes]) -> None:
        written.append(len(pieces))
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return plain(self, pieces)
        on_loop.append(len(pieces))
        return plain(self, pieces)

    monkeypatch.setattr(Body, "_write", watched)
    app = App()

    @app.post("/stream", stream=True)
    async def stream(request: Request) -> str:
        return str((await request.load_form()).files["a"].size)

    @app.post("/whole")
    async def whole(request: Request) -> str:
        return str(request.files["a"].size)

    content = multipart(file("a", "a", b"x" * (3 << 20)))
    for path in ("/stream", "/whole"):
        assert TestClient(app).post(path, content=content, headers=TYPE).text == str(3 << 20)
    assert written
    assert on_loop == []


def test_only_an_ampersand_separates_the_fields_of_a_form() -> None:
    """A cache or a firewall in front that sees one field would let another pass."""
    app = App()
    app.post("/")(lambda request: [request.form.multi_items(), request.query.multi_items()])
    answer = TestClient(app).post("/?a=1;b=2&c=3", content=b"a=1;b=2&c=3%26d=4", headers=URLENCODED)
    assert answer.json() == [[["a", "1;b=2"], ["c", "3&d=4"]], [["a", "1;b=2"], ["c", "3"]]]


def test_a_folder_is_not_listed_and_shows_nothing_hidden_unless_it_is_said(tmp_path: Path) -> None:
    for name in ("page.html", ".env", ".git/config", "sub/page.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    app = App()
    app.static("/static", tmp_path)
    client = TestClient(app)
    assert client.get("/static/page.html").status_code == 200
    for path in ("", "sub/", "sub", ".env", ".git/config", ".git/", "%2eenv", "sub/%2e%2e/.env"):
        assert client.get(f"/static/{path}", follow_redirects=False).status_code == 404, path
