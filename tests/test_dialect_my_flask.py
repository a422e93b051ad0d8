"""weebill.dialects.my_flask: each sentence of what it promises, over real sockets, under both parsers."""

import functools
import inspect
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html import unescape
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dialect_helpers import EXAMPLES, PARSERS, Client, Log, logged, program
from processes import Running, environment

from weebill.dialects.my_flask import MyFlask, abort, render_template
from weebill.errors import ConfigurationError, DuplicateRoute, PatternError, SignatureError
from weebill.testing import LiveServer, TestClient

HTML = "text/html; charset=utf-8"

Serve = Callable[[MyFlask], Client]


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    with logged() as log:
        yield log


@pytest.fixture
def serve(parser: str) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda app: Client.of(stack.enter_context(LiveServer(app, http=parser)).url)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, within one that holds a secret."""
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.chdir(folder)
    return folder


# -- routes


def test_a_handler_takes_the_parameters_of_its_path_only(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: "index")
    app.route("/user/{name}")(lambda name: name)
    app.route("/sum/{a:int}/{b:float}")(lambda b, a: str(a + b))
    client = serve(app)
    assert client.get("/").text == "index"
    assert client.get("/user/ann").text == "ann"
    assert client.get("/sum/1/2.5").text == "3.5"
    assert client.get("/sum/x/2.5").status == 404


def test_parameters_may_be_written_as_in_flask(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/a/<name>")(lambda name: f"name {name!r}")
    app.route("/b/<string:name>/<int:number>")(lambda name, number: f"{name!r} {number!r}")
    app.route("/c/<path:rest>")(lambda rest: rest)
    client = serve(app)
    assert client.get("/a/x").text == "name 'x'"
    assert client.get("/b/x/7").text == "'x' 7"
    assert client.get("/c/x/y/z").text == "x/y/z"


def test_paths_are_decoded_and_a_query_never_breaks_a_match(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/user/{name}")(lambda name: name)
    client = serve(app)
    assert client.get("/user/gr%C3%BC%C3%9Fe%2F?x=/y&z").text == "grüße/"
    assert client.get("/user/%zz").status == 400


@pytest.mark.parametrize(
    ("value", "status", "kind", "content"),
    [
        ("<b>ü</b>", 200, HTML, "<b>ü</b>".encode()),
        ("", 200, HTML, b""),
        (b"\x00\xff", 200, "application/octet-stream", b"\x00\xff"),
        ({"a": [1]}, 200, "application/json", b'{"a":[1]}'),
        (("made", 201), 201, HTML, b"made"),
        ((b"GIF", 200, {"Content-Type": "image/gif"}), 200, "image/gif", b"GIF"),
        (("x,y", 200, {"content-type": "text/csv"}), 200, "text/csv", b"x,y"),
        (({"a": 1}, 202), 202, "application/json", b'{"a":1}'),
    ],
)
def test_what_is_returned_becomes_its_answer(
    serve: Serve, value: Any, status: int, kind: str, content: bytes
) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: value)
    answer = serve(app).get("/")
    assert (answer.status, answer.content) == (status, content)
    assert answer.headers.get_all("content-type") == [kind]


def test_methods_are_those_that_are_named_and_one_path_may_have_several_functions(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/", methods=["GET"])(lambda: "got")
    app.route("/", methods=["POST", "PUT"])(lambda: "changed")
    client = serve(app)
    assert client.get("/").text == "got"
    assert client.ask("POST", "/").text == client.ask("PUT", "/").text == "changed"
    assert client.ask("DELETE", "/").status == 405


def test_head_options_and_405_come_by_themselves(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/thing", methods=["GET", "POST"])(lambda: "twelve bytes")
    client = serve(app)
    head = client.ask("HEAD", "/thing")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", "12")
    options = client.ask("OPTIONS", "/thing")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = client.ask("DELETE", "/thing")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert client.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_routes_belong_to_the_instance(serve: Serve) -> None:
    one, other = MyFlask(__name__), MyFlask(__name__)
    one.route("/mine")(lambda: "first")
    other.route("/mine")(lambda: "second")
    other.route("/theirs")(lambda: "other")
    client = serve(one)
    assert client.get("/mine").text == "first"
    assert client.get("/theirs").status == 404
    assert serve(other).get("/mine").text == "second"


def test_a_decorator_returns_the_function_it_was_given() -> None:
    def handler() -> str:
        return ""

    assert MyFlask(__name__).route("/")(handler) is handler


def test_mistakes_are_sentences_that_name_their_place() -> None:
    app, place = MyFlask(__name__), re.escape(__file__)

    def wrong(other: str) -> str:
        return other

    async def waiting() -> str:
        return ""

    with pytest.raises(
        SignatureError, match=rf"wrong \({place}:\d+\) of /x/<name> is called with \(name=...\)"
    ):
        app.route("/x/<name>")(wrong)
    with pytest.raises(SignatureError, match=rf"waiting \({place}:\d+\) of /x is async"):
        app.route("/x")(waiting)
    with pytest.raises(PatternError, match=rf"unknown converter 'number'.* path of .*wrong \({place}"):
        app.route("/x/<number:other>")(wrong)
    app.route("/same/{other}")(wrong)
    with pytest.raises(DuplicateRoute, match=rf"registered twice: .*wrong \({place}:\d+\) and .*wrong"):
        app.route("/same/<other>")(wrong)
    for wrong_class in (3, [], Handler.do_GET):
        with pytest.raises(ConfigurationError, match=r"which is no http\.server program"):
            MyFlask(wrong_class)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb"])
def test_header_values_with_controls_are_refused(serve: Serve, log: Log, value: str) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: ("x", 200, {"X-A": value}))
    answer = serve(app).get("/")
    assert (answer.status, answer.headers["x-evil"]) == (500, None)
    assert len(log.errors) == 1


def test_an_exception_is_500_and_a_log_line(serve: Serve, log: Log) -> None:
    app = MyFlask(__name__)

    @app.route("/{kind}")
    def fail(kind: str) -> object:
        if kind == "value":
            return 7
        raise {"error": ValueError, "ours": ConfigurationError}[kind]("secret")

    client = serve(app)
    for kind in ("error", "ours", "value"):
        log.records.clear()
        answer = client.get(f"/{kind}")
        assert answer.status == 500
        assert "secret" not in answer.text
        assert len(log.errors) == 1
        assert "fail (" in log.errors[0]
        assert __file__ in log.errors[0]


# -- error pages


@pytest.mark.parametrize("code", [400, 403, 404, 405, 410, 418, 429, 500, 503])
def test_error_pages_have_the_standard_explanation(serve: Serve, code: int) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: abort(code))
    answer = serve(app).get("/")
    phrase, explanation = BaseHTTPRequestHandler.responses[code]
    assert (answer.status, answer.reason, answer.headers["content-type"]) == (code, phrase, HTML)
    assert f"<h1>{code} {phrase}</h1>" in answer.text
    assert f"<p>{explanation}</p>" in unescape(answer.text)


def test_a_teapot_refuses_to_brew_coffee(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: abort(418))
    assert "Server refuses to brew coffee because it is a teapot." in serve(app).get("/").text


def test_error_pages_say_what_was_said_and_escape_it(serve: Serve, log: Log) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: abort(404, "no <birds> here", {"X-Why": "gone"}))
    app.route("/odd")(lambda: abort(499))
    client = serve(app)
    answer = client.get("/")
    assert "<p>no &lt;birds&gt; here</p>" in answer.text
    assert answer.headers["x-why"] == "gone"
    assert "<h1>404 Not Found</h1>" in client.get("/nowhere").text
    assert "<h1>499</h1>" in client.get("/odd").text
    assert not log.errors


def test_the_page_of_a_failure_is_the_500_page(serve: Serve) -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: 1 / 0)
    assert (
        "<h1>500 Internal Server Error</h1>\n<p>Server got itself in trouble</p>" in serve(app).get("/").text
    )


# -- files


@pytest.fixture
def files(here: Path) -> Path:
    for name in ("a.txt", "b & <c>.txt", "app.py", "APP.PY", "app.pyc", ".env", "ü.html"):
        (here / name).write_text(f"content of {name}")
    for name in ("sub", ".git", "__pycache__", "empty", "pages"):
        (here / name).mkdir()
    (here / "sub" / "inner.css").write_text("p {}")
    (here / "sub" / "tool.py").write_text("")
    (here / ".git" / "config").write_text("secret")
    (here / "__pycache__" / "x.txt").write_text("secret")
    (here / "pages" / "index.html").write_text("<p>pages")
    (here / "out.txt").symlink_to("../secret.txt")
    (here / "up").symlink_to("..")
    (here / "source.txt").symlink_to("app.py")
    (here / "hidden.txt").symlink_to(".env")
    (here / "within.txt").symlink_to("a.txt")
    (here / "loop").symlink_to("loop")
    (here / "dangling").symlink_to("nothing")
    return here


def links(page: str) -> list[str]:
    return re.findall('<li><a href="([^"]*)">', page)


def test_without_handler_and_route_the_current_folder_is_listed(serve: Serve, files: Path) -> None:
    client = serve(MyFlask())
    page = client.get("/")
    assert (page.status, page.headers["content-type"]) == (200, HTML)
    expected = ["empty/", "pages/", "sub/", "a.txt", "b%20%26%20%3Cc%3E.txt", "within.txt", "%C3%BC.html"]
    assert links(page.text) == expected
    assert "b &amp; &lt;c&gt;.txt</a>" in page.text
    for link in expected:
        assert client.get(f"/{link}").status == 200
    assert links(client.get("/sub/").text) == ["../", "inner.css"]
    assert links(client.get("/empty/").text) == ["../"]


def test_an_index_html_goes_before_a_listing(serve: Serve, files: Path) -> None:
    (files / "index.html").write_text("<p>home")
    client = serve(MyFlask())
    answer = client.get("/")
    assert (answer.text, answer.headers["content-type"]) == ("<p>home", HTML)
    assert client.get("/pages/").text == "<p>pages"
    assert links(client.get("/sub/").text) == ["../", "inner.css"]


def test_files_are_served_with_their_type(serve: Serve, files: Path) -> None:
    client = serve(MyFlask())
    (files / "late.bin").write_bytes(bytes(range(256)) * 4000)
    answer = client.get("/late.bin?download")
    assert answer.content == bytes(range(256)) * 4000
    assert answer.headers["content-type"] == "application/octet-stream"
    assert client.get("/sub/inner.css").headers["content-type"].startswith("text/css")
    assert client.get("/%C3%BC.html").text == "content of ü.html"
    head = client.ask("HEAD", "/a.txt")
    assert (head.content, head.headers["content-length"]) == (b"", str(len("content of a.txt")))
    refused = client.ask("POST", "/a.txt", "x")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    "target",
    [
        "/.env",
        "/%2eenv",
        "/hidden.txt",
        "/.git/config",
        "/.git/",
        "/app.py",
        "/app%2epy",
        "/APP.PY",
        "/app.pyc",
        "/app.py/",
        "/source.txt",
        "/sub/tool.py",
        "/__pycache__/x.txt",
        "/out.txt",
        "/up/secret.txt",
        "/up/",
        "/up",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
        "//../secret.txt",
        "/..%5csecret.txt",
        "/sub/..%2f..%2fsecret.txt",
        "/loop",
        "/loop/",
        "/dangling",
        "/nothing",
        "/a.txt/",
        "/a.txt/x",
        "/" + "x" * 300,
        "/sub/" + "y" * 5000,
    ],
)
def test_hidden_files_sources_and_what_lies_outside_are_never_served(
    serve: Serve, files: Path, log: Log, target: str
) -> None:
    answer = serve(MyFlask()).raw(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2]
    assert not log.errors


def test_a_nul_in_a_path_is_400(serve: Serve, files: Path) -> None:
    assert serve(MyFlask()).get("/a.txt%00").status == 400


def test_a_folder_without_its_slash_is_found_under_its_own_name(serve: Serve, files: Path) -> None:
    (files / "a b").mkdir()
    client = serve(MyFlask())
    for target, location in (("/sub", "/sub/"), ("/a%20b", "/a%20b/"), ("//sub", "/sub/"), ("/sub//", None)):
        answer = client.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if location is None:
            assert answer.startswith(b"HTTP/1.1 200 ")
        else:
            assert answer.startswith(b"HTTP/1.1 308 ")
            assert f"\r\nlocation: {location}\r\n".encode() in answer


def test_a_program_with_a_route_serves_no_files(serve: Serve, files: Path) -> None:
    app = MyFlask()
    app.route("/x")(lambda: "x")
    client = serve(app)
    assert client.get("/x").text == "x"
    assert client.get("/a.txt").status == client.get("/").status == 404


def test_with_a_module_name_the_folder_is_beside_that_module(
    serve: Serve, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("a_program")
    module.__file__ = str(files / "app.py")
    monkeypatch.setitem(sys.modules, "a_program", module)
    assert serve(MyFlask("a_program")).get("/a.txt").text == "content of a.txt"
    assert serve(MyFlask()).get("/a.txt").status == 404


# -- templates


@pytest.fixture
def templates(here: Path) -> Path:
    folder = here / "templates"
    folder.mkdir()
    return folder


def render(serve: Serve, *args: Any, **options: Any) -> tuple[int, str]:
    """What a handler of a program answers that renders a template, and what the same gives on its own."""
    app = MyFlask()
    app.route("/")(lambda: render_template(*args, **options))
    answer = serve(app).get("/")
    assert answer.status == 500 or answer.text == render_template(*args, **options)
    return answer.status, answer.text


def test_names_are_replaced_by_escaped_values(serve: Serve, templates: Path) -> None:
    (templates / "index.html").write_text("<p title='{TITLE}'>{PORT} {PORT} {_x1}</p> ü", encoding="utf-8")
    context = {"PORT": 3000, "TITLE": "'<b>\"&", "_x1": None, "more": "unused"}
    page = "<p title='&#x27;&lt;b&gt;&quot;&amp;'>3000 3000 None</p> ü"
    assert render(serve, "index.html", context=context) == (200, page)


def test_a_value_is_not_a_template(serve: Serve, templates: Path) -> None:
    (templates / "index.html").write_text("{A} {B}")
    assert render(serve, "index.html", {"A": "{B}", "B": "{A}"}) == (200, "{B} {A}")


def test_other_braces_stay(serve: Serve, templates: Path, log: Log) -> None:
    text = "p { color: red } a{b:c} {} { A } {{ }} {1} {A.b} {A[0]} {A!r} {A:>9} {A-b} {\n} }{ {é} {A"
    (templates / "index.html").write_text(text, encoding="utf-8")
    assert render(serve, "index.html", {"A": "x", "b": "y"}) == (200, text)
    assert not log.lines or not any("no value" in line for line in log.lines)


def test_an_unknown_name_stays_and_is_logged(serve: Serve, templates: Path, log: Log) -> None:
    (templates / "index.html").write_text("{A} {WHAT} {WHAT} {ELSE}")
    app = MyFlask()
    app.route("/")(lambda: render_template("index.html", {"A": 1}))
    assert serve(app).get("/").text == "1 {WHAT} {WHAT} {ELSE}"
    told = [line for line in log.lines if "has no value" in line]
    assert told == [f"the template {templates / 'index.html'} has no value for WHAT, ELSE"]


def test_an_unknown_name_is_an_error_under_strict(serve: Serve, templates: Path, log: Log) -> None:
    (templates / "index.html").write_text("{A} {WHAT}")
    assert render(serve, "index.html", {"A": 1, "WHAT": 2}, strict=True) == (200, "1 2")
    assert render(serve, "index.html", {"A": 1}, strict=True)[0] == 500
    assert len(log.errors) == 1
    assert "has no value for WHAT" in log.errors[0]
    with pytest.raises(ConfigurationError, match="has no value for A, WHAT"):
        render_template("index.html", strict=True)


def test_templates_are_looked_for_in_templates_then_beside_the_program(
    serve: Serve, templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "program"
    (beside / "templates").mkdir(parents=True)
    module = ModuleType("a_program")
    module.__file__ = str(beside / "app.py")
    monkeypatch.setitem(sys.modules, "a_program", module)
    source = """
from weebill.dialects.my_flask import MyFlask, render_template
apps = MyFlask(), MyFlask(__name__)
for app in apps:
    app.route("/<name>")(lambda name: render_template(name))
"""
    exec(source, vars(module))
    unnamed, named = (serve(app) for app in module.apps)
    assert named.get("/x.html").status == unnamed.get("/x.html").status == 500
    (beside / "x.html").write_text("beside")
    assert named.get("/x.html").text == unnamed.get("/x.html").text == "beside"
    (beside / "templates" / "x.html").write_text("in templates beside")
    assert named.get("/x.html").text == unnamed.get("/x.html").text == "in templates beside"
    (templates / "x.html").write_text("in templates here")
    assert named.get("/x.html").text == "in templates beside"
    assert unnamed.get("/x.html").text == "in templates here"


def test_a_missing_template_is_500_and_the_log_says_where_it_was_looked_for(
    serve: Serve, templates: Path, log: Log
) -> None:
    assert render(serve, "none.html")[0] == 500
    assert len(log.errors) == 1
    assert f"there is no template 'none.html' in {templates}" in log.errors[0]


@pytest.mark.parametrize("name", ["../../secret.txt", "link.html", "", "."])
def test_a_template_is_never_outside_its_folder(templates: Path, name: str) -> None:
    (templates / "link.html").symlink_to("../../secret.txt")
    with pytest.raises(ConfigurationError, match="there is no template"):
        render_template(name)


# -- handler classes


class Base(BaseHTTPRequestHandler):
    def answer(self, text: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


class Handler(Base):
    def do_GET(self) -> None:
        where = threading.current_thread().name
        if self.path == "/coffee":
            self.send_error(418)
        elif self.path == "/fail":
            raise ValueError("secret")
        elif self.path == "/evil":
            self.answer("", X_A="a\r\nX-Evil: 1")
        else:
            self.answer(
                f"{self.command} {self.path} {self.headers['x-a']} in {where}", Content_Type="text/plain"
            )

    def do_POST(self) -> None:
        self.send_response(201)
        self.end_headers()
        self.wfile.write(self.rfile.read(int(self.headers["Content-Length"])))


def test_a_handler_class_answers_in_a_worker_thread(serve: Serve) -> None:
    client = serve(MyFlask(Handler))
    answer = client.get("/a%20b?x=1", x_a="yes")
    assert re.fullmatch(r"GET /a%20b\?x=1 yes in weebill-worker-\d+", answer.text)
    content = bytes(range(256)) * (3 << 12)
    posted = client.ask("POST", "/", content)
    assert (posted.status, posted.content) == (201, content)


def test_a_partial_of_a_handler_class_will_do(serve: Serve, here: Path) -> None:
    (here / "a.txt").write_text("a")
    assert (
        serve(MyFlask(functools.partial(SimpleHTTPRequestHandler, directory=str(here)))).get("/a.txt").text
        == "a"
    )


def test_connections_to_a_handler_class_are_kept(serve: Serve) -> None:
    client = serve(MyFlask(Handler))
    connection = client.connect()
    for number in range(3):
        assert client.ask("GET", f"/{number}", connection=connection).text.startswith(f"GET /{number} ")
    assert client.ask("GET", "/", connection=connection, connection_="x").status == 200
    last = client.ask("GET", "/", connection=connection, Connection="close")
    assert last.headers["connection"] == "close"
    connection.close()


def test_idle_clients_block_nobody(serve: Serve) -> None:
    client = serve(MyFlask(Handler))
    idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(100)]
    for connection in idle[::2]:
        connection.sendall(b"GET / HT")
    assert client.get("/").status == 200
    for connection in idle:
        connection.close()


def test_head_on_a_class_with_do_get_only_has_its_head_and_no_content(serve: Serve) -> None:
    client = serve(MyFlask(Handler))
    head = client.ask("HEAD", "/x")
    assert (head.status, head.content, head.headers["content-type"]) == (200, b"", "text/plain")
    assert int(head.headers["content-length"]) > 0


def test_head_never_falls_through_to_files(serve: Serve, here: Path) -> None:
    class Mixed(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Mine", "yes")
            self.end_headers()

    (here / "a.txt").write_text("a file")
    head = serve(MyFlask(Mixed)).ask("HEAD", "/a.txt")
    assert (head.headers["x-mine"], head.headers["last-modified"], head.content) == ("yes", None, b"")


def test_options_and_405_come_by_themselves_for_a_class_too(serve: Serve) -> None:
    client = serve(MyFlask(Handler))
    options = client.ask("OPTIONS", "/x")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = client.ask("DELETE", "/x")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert "<h1>405 Method Not Allowed</h1>" in refused.text


def test_a_class_may_answer_options_and_methods_of_its_own(serve: Serve) -> None:
    class Own(Base):
        def do_OPTIONS(self) -> None:
            self.answer("mine")

        def do_PURGE(self) -> None:
            self.answer("purged")

    class Any(Base):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return lambda: self.answer(name)
            raise AttributeError(name)

    own, anything = serve(MyFlask(Own)), serve(MyFlask(Any))
    assert own.ask("OPTIONS", "/").text == "mine"
    assert own.ask("PURGE", "/").text == "purged"
    assert own.ask("GET", "/").status == 405
    assert anything.ask("PURGE", "/").text == "do_PURGE"


def test_what_goes_wrong_in_a_class_is_500_and_a_log_line(serve: Serve, log: Log) -> None:
    client = serve(MyFlask(Handler))
    for target in ("/fail", "/evil"):
        log.records.clear()
        answer = client.get(target)
        assert (answer.status, answer.headers["x-evil"]) == (500, None)
        assert "secret" not in answer.text
        assert len(log.errors) == 1
        assert "Handler failed" in log.errors[0]


def test_error_pages_of_a_class_are_the_standard_librarys(serve: Serve) -> None:
    answer = serve(MyFlask(Handler)).get("/coffee")
    assert (answer.status, answer.reason) == (418, "I'm a Teapot")
    assert "Server refuses to brew coffee because it is a teapot." in answer.text


def test_content_beyond_the_limit_is_413_for_a_class_too(serve: Serve) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    assert serve(MyFlask(Handler)).raw(request).startswith(b"HTTP/1.1 413 ")


def test_routes_go_before_a_handler_class(serve: Serve) -> None:
    app = MyFlask(Handler)
    app.route("/mine")(lambda: "mine")
    client = serve(app)
    assert client.get("/mine").text == "mine"
    assert client.get("/other").text.startswith("GET /other ")
    assert client.ask("DELETE", "/mine").status == 405


def test_a_handler_class_may_render_templates(serve: Serve, templates: Path) -> None:
    (templates / "index.html").write_text("on {PORT}")

    class Page(Base):
        def do_GET(self) -> None:
            self.answer(render_template("index.html", context={"PORT": 3000}))

    assert serve(MyFlask(Page)).get("/").text == "on 3000"


def test_test_client_takes_it() -> None:
    app = MyFlask(__name__)
    app.route("/")(lambda: "x")
    assert TestClient(app).get("/").text == "x"
    assert TestClient(MyFlask(Handler)).get("/y").text.startswith("GET /y ")


# -- run


PROGRAM = """
from weebill.dialects.my_flask import MyFlask

app = MyFlask(__name__)

@app.route("/<x>")
def show(x):
    return x

app.run({arguments})
print("and goes on")
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(arguments: str) -> Path:
        path = tmp_path / "main.py"
        path.write_text(PROGRAM.format(arguments=arguments))
        return path

    return write


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("kind", "number"), [(int, signal.SIGTERM), (str, signal.SIGINT)])
def test_run_prints_where_and_takes_the_port_as_number_or_text(
    write: Callable[[str], Path], parser: str, kind: type, number: signal.Signals
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(write(f"host='127.0.0.1', port={kind(port)!r}"))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(WEEBILL_HTTP=parser),
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Running server at 127.0.0.1:{port}\n"
        assert Client(port).get("/x").text == "x"
        process.send_signal(number)
        assert process.stdout.read() == "and goes on\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_it_is_localhost_3000_by_default() -> None:
    parameters = inspect.signature(MyFlask.run).parameters
    assert (parameters["host"].default, parameters["port"].default) == ("localhost", 3000)
    with pytest.raises(ConfigurationError, match="'many' is no whole number"):
        MyFlask(__name__).run(port="many")


def test_a_port_in_use_is_one_sentence_and_exit_code_3(write: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, str(write(f"'127.0.0.1', {port}"))]
        done = subprocess.run(
            command, capture_output=True, env=environment(), text=True, timeout=20, check=False
        )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"weebill: port {port} on 127.0.0.1 is taken")
    assert done.stderr.count("\n") == 1


def test_the_command_line_serves_it_where_it_is_told_to(write: Callable[[str], Path], tmp_path: Path) -> None:
    write("port=1")
    with Running("run", "main:app", "--port", "0", cwd=tmp_path) as process:
        assert Client.of(process.url()).get("/x").text == "x"
        assert process.stop() == 0


# -- the example


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_example_with_routes_runs(parser: str, number: signal.Signals) -> None:
    with program(EXAMPLES / "my_flask.py", PORT="0", WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        index = client.get("/")
        assert index.headers["content-type"] == HTML
        assert "1 guests have written something, on port 0." in index.text
        assert "h1{color:#225}" in index.text
        assert "`to ${link.href}`" in index.text
        assert "Lovely &lt;birds&gt;!" in client.get("/guests/bob").text
        missing = client.get("/guests/eve")
        assert missing.status == 404
        assert "eve was never here." in missing.text
        assert client.ask("DELETE", "/guests/bob").status == 403
        assert json.loads(client.get("/guests.json").content) == {"bob": "Lovely <birds>!"}
        assert client.get("/dot.gif").headers["content-type"] == "image/gif"
        assert client.get("/raw/a/b").content == b"a/b"
        assert client.get("/coffee").status == 418
        assert process.stop(number) == 0


def test_the_example_with_a_handler_class_runs(parser: str) -> None:
    with program(EXAMPLES / "my_flask.py", "handler", PORT="0", WEEBILL_HTTP=parser) as process:
        client = Client.of(process.url())
        assert "1 guests have written something" in client.get("/").text
        assert client.ask("POST", "/guests/ann", "A fine <place>").status == 201
        assert "A fine &lt;place&gt;" in client.get("/guests/ann").text
        assert client.ask("HEAD", "/guests/ann").content == b""
        assert "eve was never here." in client.get("/guests/eve").text
        assert client.get("/coffee").status == 418
        assert process.stop() == 0


def test_the_example_with_files_runs(parser: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "a.py").write_text("a")
    arguments: dict[str, Any] = {"cwd": tmp_path, "PORT": "0", "WEEBILL_HTTP": parser}
    with program(EXAMPLES / "my_flask.py", "files", **arguments) as process:
        client = Client.of(process.url())
        assert links(client.get("/").text) == ["a.txt"]
        assert client.get("/a.txt").text == "a"
        assert client.get("/a.py").status == 404
        assert process.stop() == 0
