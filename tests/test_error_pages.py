"""What the client sees of an error, and its author in debug; and who answers for which error."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from weebill import App, HTTPException, Request, Response, Router, TestClient, abort
from weebill.debug_pages import _masked_source, may_be_seen
from weebill.server.memory import MemoryExchange
from weebill.testing import Result

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Markup(HTMLParser):
    """The elements of a page, its text, and what is open at its end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words += data


def get(app: App, path: str = "/", browser: bool = True, **options: Any) -> Result:
    base_url = options.pop("base_url", "http://testserver")
    headers = {**(BROWSER if browser else {}), **options.pop("headers", {})}
    return TestClient(app, base_url, raise_server_exceptions=False).get(path, headers=headers, **options)


def failing(error: Any = ValueError("secret"), **options: Any) -> App:  # noqa: B008
    app = App(__name__, **options)

    @app.get("/")
    def fails() -> None:
        raise error

    return app


# -- for everybody


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json, text/html;q=0.9", "application/problem+json"),
        ("text/html", "text/html; charset=utf-8"),
        (BROWSER["accept"], "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/*", "text/plain; charset=utf-8"),
        ("image/png", "text/plain; charset=utf-8"),
        ("text/html;q=0, */*", "application/problem+json"),
        (";;,,=", "text/plain; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("status", [404, 418, 500])
def test_an_error_has_the_form_that_the_client_reads(
    accept: str | None, media_type: str, status: int
) -> None:
    app = failing(HTTPException(status, "<i> & why"))
    answer = TestClient(app, headers={"accept": accept or ""}, raise_server_exceptions=False).get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (status, media_type)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "Accept"
    if "html" in media_type:
        assert "&lt;i&gt; &amp; why" in answer.text
    elif "json" in media_type:
        assert answer.json()["detail"] == "<i> & why"
    else:
        assert answer.text == f"{status} <i> & why\n"


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/plain"])
def test_what_is_no_utf_8_keeps_no_error_from_being_told(accept: str) -> None:
    answer = TestClient(failing(HTTPException(404, "no bird\udcff here"))).get(
        "/", headers={"accept": accept}
    )
    assert answer.status_code == 404
    assert "no bird? here" in answer.text


def test_a_page_runs_nothing_and_loads_nothing() -> None:
    pages = [get(failing(HTTPException(404))), get(failing()), get(failing(debug=True))]
    pages.append(get(App(debug=True), "/nowhere"))
    for page in pages:
        markup = Markup(page.text)
        assert not {"script", "link", "img", "iframe", "form", "input", "object"} & set(markup.tags)
        assert not {"src", "href", "style", "action"} & markup.attributes
        assert not any(name.startswith("on") for name in markup.attributes)
        [style] = re.findall("<style>(.*?)</style>", page.text, re.DOTALL)
        policy = page.headers["content-security-policy"]
        digest = b64encode(sha256(style.encode()).digest()).decode()
        assert f"default-src 'none'; style-src 'sha256-{digest}';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "prefers-color-scheme: dark" in style
        assert "width=device-width" in page.text


def test_a_fault_of_ours_names_the_request_as_the_log_does(caplog: pytest.LogCaptureFixture) -> None:
    page = get(failing())
    [request_id] = re.findall("Request ([0-9a-f]{16})<", page.text)
    assert f"[{request_id}]" in caplog.text
    assert "Request" not in get(failing(HTTPException(404))).text


def test_a_problem_carries_what_the_exception_carries() -> None:
    class OutOfSeed(HTTPException):
        members = {"type": "https://birds.example/out-of-seed", "title": "No seed"}  # noqa: RUF012

    assert get(failing(OutOfSeed(409, "Come back.")), browser=False).json() == {
        "type": "https://birds.example/out-of-seed",
        "title": "No seed",
        "status": 409,
        "detail": "Come back.",
    }
    app = App()
    app.get("/")(lambda: abort(422, "Bad.", {"x-a": "b"}, {"errors": [{"in": "query"}]}))
    answer = get(app, browser=False)
    assert answer.json() == {
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "Bad.",
        "errors": [{"in": "query"}],
    }
    assert answer.headers["x-a"] == "b"
    assert HTTPException(404).members == {}


def test_members_that_json_cannot_hold_are_a_500(caplog: pytest.LogCaptureFixture) -> None:
    answer = get(failing(HTTPException(400, members={"x": object()})), browser=False)
    assert answer.json() == {"title": "Internal Server Error", "status": 500}
    assert "object is not a value that JSON can hold" in caplog.text


def test_fields_of_the_error_stay_whatever_its_form() -> None:
    error = HTTPException(401, headers={"www-authenticate": 'Basic realm="x"', "vary": "Cookie"})
    for browser in (True, False):
        answer = get(failing(error), browser=browser)
        assert answer.headers["www-authenticate"] == 'Basic realm="x"'
        assert answer.headers["vary"] == "Cookie, Accept"


# -- who answers


class Base(Exception):
    pass


class Derived(Base):
    pass


class Teapot(HTTPException):
    def __init__(self) -> None:
        super().__init__(418)


def names_what_it_gets(error: Exception) -> str:
    return f"{type(error).__name__} {getattr(error, 'status_code', '-')}"


def test_a_handler_for_every_exception_takes_no_404_for_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    app = failing(Derived())
    app.errorhandler(Exception)(names_what_it_gets)
    answer = get(app)
    assert (answer.status_code, answer.text) == (500, "Derived -")
    assert get(app, "/nowhere", browser=False).json() == {"title": "Not Found", "status": 404}
    [record] = [record for record in caplog.records if record.name == "weebill"]
    assert record.getMessage().endswith("Derived: ")


def test_a_failure_is_a_500_for_the_handler_of_http_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    app = failing(Derived("why"))
    seen: list[HTTPException] = []

    @app.errorhandler(HTTPException)
    def told(error: HTTPException) -> dict[str, Any]:
        seen.append(error)
        return {"status": error.status_code, "detail": error.detail}

    assert get(app).json() == {"status": 500, "detail": "Internal Server Error"}
    assert isinstance(seen[0].__cause__, Derived)
    assert get(app, "/nowhere").json() == {"status": 404, "detail": "Not Found"}
    assert len([record for record in caplog.records if record.name == "weebill"]) == 1


@pytest.mark.parametrize(
    ("error", "cases", "expected"),
    [
        (Teapot, [HTTPException], "HTTPException: Teapot 418"),
        (Teapot, [HTTPException, Teapot], "Teapot: Teapot 418"),
        (Teapot, [HTTPException, Teapot, 418], "418: Teapot 418"),
        (Teapot, [HTTPException, 404], "HTTPException: Teapot 418"),
        (Derived, [Base, Exception], "Base: Derived -"),
        (Derived, [Base, Derived, 500], "Derived: Derived -"),
        (Derived, [Exception, 500, HTTPException], "Exception: Derived -"),
        (Derived, [500, HTTPException], "500: Derived -"),
        (Derived, [HTTPException], "HTTPException: HTTPException 500"),
    ],
)
def test_the_nearest_case_answers(error: Any, cases: list[Any], expected: str) -> None:
    app = failing(error())
    for case in cases:
        name = case if isinstance(case, int) else case.__name__
        app.errorhandler(case)(lambda error, name=name: f"{name}: {names_what_it_gets(error)}")
    assert get(app).text == expected


@pytest.mark.parametrize(
    ("inner_case", "outer_case", "expected"),
    [
        (500, Exception, "inner"),
        (Exception, 500, "inner"),
        (Exception, Derived, "outer"),  # the nearest class, before any last resort
        (Base, Derived, "inner"),
        (HTTPException, Exception, "inner"),
    ],
)
def test_the_inner_router_goes_before_the_outer(inner_case: Any, outer_case: Any, expected: str) -> None:
    app, inner = App(), Router("/inner")

    @inner.get("/")
    async def fails() -> None:
        raise Derived

    inner.errorhandler(inner_case)(lambda error: "inner")
    app.errorhandler(outer_case)(lambda error: "outer")
    app.include(inner)
    assert get(app, "/inner/").text == expected


def test_an_error_handler_that_aborts_is_no_entry_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = failing(Derived())
    app.errorhandler(Derived)(lambda error: abort(410))
    assert get(app).status_code == 410
    assert caplog.records == []


def test_an_exception_that_cannot_even_be_told_is_a_500() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    for debug in (False, True):
        assert get(failing(Mute(), debug=debug)).status_code == 500


# -- for the author, in debug


def read_bird(text: str) -> Any:
    password = "hunter2"  # noqa: F841
    return json.loads(text)


def test_the_page_shows_the_failure_its_source_and_what_it_came_from() -> None:
    app = App(__name__, debug=True)

    @app.get("/bird/{name}")
    def bird(name: str) -> None:
        try:
            read_bird("{bad")
        except ValueError as error:
            raise LookupError(f"no bird <{name}>") from error

    token = "not" + "for" + "all"  # in pieces, for the page shows these lines too
    page = get(app, f"/bird/wren?colour=red&token={token}")
    words = Markup(page.text).words
    assert page.status_code == 500
    assert page.headers["cache-control"] == "no-store"
    assert "no bird &lt;wren&gt;" in page.text
    assert re.search(r"<mark> +\d+  +raise LookupError", page.text)
    assert "It was raised from this:" in words
    assert "json.decoder.JSONDecodeError" in words
    assert words.index("LookupError") < words.index("JSONDecodeError")
    for shown in ("/bird/{name}", "test_error_pages.py", "GET", "red", "127.0.0.1:50000"):
        assert shown in words
    assert "hunter2" not in page.text
    assert token not in page.text
    library, own = page.text.index("raw_decode</code>"), page.text.index("<code>read_bird</code>")
    assert page.text.rindex("<details", 0, library) == page.text.rindex("<details><summary>", 0, library)
    assert page.text.rindex("<details", 0, own) == page.text.rindex("<details open>", 0, own)


@pytest.mark.parametrize(
    "name", ["Cookie", "Authorization", "Proxy-Authorization", "X-API-Key", "X-CSRF-Token", "X-Auth"]
)
def test_secrets_of_the_request_are_masked(name: str) -> None:
    for app, path in ((failing(debug=True), "/"), (App(debug=True), "/nowhere")):
        page = get(app, path, headers={name: "s3cret-value", "X-Plain": "shown"})
        assert "s3cret-value" not in page.text
        assert "shown" in page.text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('API_KEY = "sk-1"', 'API_KEY = "********"'),
        ("app = App(secret_key='a\\'b', debug=True)", "app = App(secret_key='********', debug=True)"),
        ('{"password": "x", "name": "ada"}', '{"password": "********", "name": "ada"}'),
        ('token: str = f"x{y}"', 'token: str = f"********"'),
        ('name = "ada"', 'name = "ada"'),
        ('if token == "x":', 'if token == "x":'),
    ],
)
def test_secrets_in_the_source_are_masked(line: str, shown: str) -> None:
    assert _masked_source(line) == shown


def test_everything_that_a_client_sends_is_escaped() -> None:
    app = App(__name__, debug=True)
    evil = "<script>alert(1)</script>\"'&"

    @app.get("/{name}")
    def fails(name: str, request: Request) -> None:
        raise ValueError(name + request.query["q"])

    for path in ("/%3Cscript%3E", "/a/%3Cscript%3E"):
        page = get(app, path, params={"q": evil, evil: "x"}, headers={"x-evil": evil, "referer": evil})
        assert page.status_code in (500, 404)
        assert "script" not in Markup(page.text).tags
        assert "&lt;script&gt;" in page.text


def test_a_group_of_exceptions_is_shown_with_its_members() -> None:
    def made() -> ExceptionGroup[Exception]:
        members: list[Exception] = []
        for text in ("1", "2"):
            try:
                raise ValueError(f"member {text}")
            except ValueError as error:
                members.append(error)
        return ExceptionGroup("all of them", members)

    words = Markup(get(failing(made(), debug=True)).text).words
    for shown in ("all of them (2 sub-exceptions)", "member 1", "member 2"):
        assert shown in words


def test_what_is_long_or_deep_or_no_utf_8_is_shown_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "weebill")  # no report takes half a pair
    app = App(__name__, debug=True)

    @app.get("/deep")
    def deep() -> None:
        deep()

    @app.get("/long")
    def long() -> None:
        raise ValueError("x" * 1_000_000 + "\udc80")

    @app.get("/odd")
    def odd() -> None:
        raise ValueError("half \udc80 a pair")

    for path in ("/deep", "/long", "/odd"):
        page, problem = get(app, path), get(app, path, browser=False)
        text = get(app, path, headers={"accept": "text/plain"}, browser=False)
        for answer in (page, problem, text):
            assert answer.status_code == 500
            assert len(answer.content) < 300_000
        assert problem.json()["traceback"][0].startswith("Traceback")
        assert text.text.startswith("Traceback")
    assert "frames …" in get(app, "/deep").text
    assert "half ? a pair" in get(app, "/odd").text


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/user/7", ["GET /users/{id:int}"]),
        ("/users/seven", ["GET /users/{id:int}"]),
        ("/birds/", ["GET POST /birds"]),
        ("/brids", ["GET POST /birds"]),
        ("/users/7/photo", ["PUT /users/{id:int}/photos"]),
        ("/" + "x" * 5000, None),
    ],
)
def test_a_path_without_a_route_names_those_that_are_near(path: str, near: list[str] | None) -> None:
    app = App(__name__, debug=True)
    app.get("/users/{id:int}")(lambda id: "")  # noqa: A006
    app.put("/users/{id:int}/photos")(lambda id: "")  # noqa: A006
    app.route("/birds", ["GET", "POST"])(lambda: "")
    app.mount("/other", App())
    assert get(app, path, browser=False).json().get("did_you_mean") == near
    page = get(app, path)
    words = Markup(page.text).words
    assert page.status_code == 404
    for line in near or ():
        assert f"Did you mean{line}" in words.replace("\n", "")
    assert "/users/{id:int}/photos" in words
    assert "/other/…" in words
    assert "test_error_pages.py" in words


def test_a_method_without_a_route_keeps_its_allow() -> None:
    app = App(__name__, debug=True)
    app.post("/birds")(lambda: "")
    answer = get(app, "/birds")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert "Did you meanPOST /birds" in Markup(answer.text).words.replace("\n", "")


def test_a_404_that_is_meant_is_the_same_in_debug() -> None:
    app = App(__name__, debug=True)
    app.get("/birds")(lambda: abort(404, "It has flown."))
    page = get(app, "/birds")
    assert "It has flown." in page.text
    assert "Did you mean" not in page.text


def test_error_handlers_go_before_the_pages_of_debug() -> None:
    app = failing(debug=True)
    app.errorhandler(404)(lambda error: "nothing")
    app.errorhandler(ValueError)(lambda error: "handled")
    assert (get(app).text, get(app, "/nowhere").text) == ("handled", "nothing")


# -- who sees it


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:80",
                                  "birds.localhost", "LOCALHOST"])  # fmt: skip
def test_who_names_this_machine_sees_the_page(host: str) -> None:
    assert "secret" in get(failing(debug=True), headers={"host": host}).text


@pytest.mark.parametrize(
    "host",
    ["birds.example", "localhost.birds.example", "notlocalhost", "127.0.0.1.birds.example", "192.0.2.7",
     "[2001:db8::1]", "0.0.0.0", "2130706433"],
)  # fmt: skip
def test_under_another_name_the_page_is_not_to_be_had(host: str, caplog: pytest.LogCaptureFixture) -> None:
    for browser in (True, False):
        answer = get(failing(debug=True), headers={"host": host}, browser=browser)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert "routes" not in get(App(debug=True), "/nowhere", headers={"host": host}).text
    assert "open it on this machine, as http://localhost" in caplog.text


@pytest.mark.parametrize(
    ("client", "is_seen"),
    [
        (("127.0.0.1", 1), True),
        (("::1", 1), True),
        (("172.17.0.1", 1), True),  # a container's host
        (("fe80::1%eth0", 1), True),
        (None, True),  # a unix socket
        (("8.8.8.8", 1), False),
        (("2606:4700::1111", 1), False),
        (("::ffff:8.8.8.8", 1), False),
    ],
)
def test_nobody_from_the_open_internet_sees_it_whatever_they_say(client: Any, is_seen: bool) -> None:
    exchange = MemoryExchange("GET", "/", [(b"host", b"localhost")], client=client)
    assert may_be_seen(Request(exchange, App())) is is_seen


@pytest.mark.parametrize(
    ("field", "value", "is_seen"),
    [
        ("X-Forwarded-For", "8.8.8.8", False),
        ("X-Forwarded-For", "127.0.0.1, 8.8.8.8:4711, 10.0.0.1", False),
        ("X-Real-IP", "2606:4700::1111", False),
        ("X-Real-IP", "::ffff:8.8.8.8", False),
        ("Forwarded", 'for="[2606:4700::1111]:4711";proto=https', False),
        ("Forwarded", "for=8.8.8.8", False),
        ("X-Forwarded-For", "127.0.0.1, 172.17.0.1", True),  # a proxy for work on the pages
        ("X-Forwarded-For", "::1, nonsense, 999.1.1.1", True),
    ],
)
def test_behind_a_proxy_nobody_from_the_open_internet_sees_it_either(
    field: str, value: str, is_seen: bool
) -> None:
    fields = [(b"host", b"localhost"), (field.encode(), value.encode())]
    exchange = MemoryExchange("GET", "/", fields, client=("127.0.0.1", 1))
    assert may_be_seen(Request(exchange, App())) is is_seen


def test_debug_reaches_what_is_mounted_and_included() -> None:
    outer, middle, inner, router = App(), App(), failing(), Router("/router")

    @router.get("/")
    def fails() -> None:
        raise ValueError("secret")

    outer.include(router)
    middle.mount("/inner", inner)
    outer.mount("/middle", middle)
    paths = ("/router/", "/middle/inner/")
    assert all("secret" not in get(outer, path).text for path in paths)
    outer.debug = True
    assert (outer.debug, middle.debug, inner.debug) == (True, True, True)
    assert all("secret" in get(outer, path).text for path in paths)
    outer.debug = False
    assert (outer.debug, inner.debug) == (False, False)
    assert all("secret" not in get(outer, path).text for path in paths)


def test_an_app_that_is_mounted_may_be_in_debug_alone() -> None:
    outer, inner = failing(), failing(debug=True)
    outer.mount("/inner", inner)
    assert "secret" in get(outer, "/inner/").text
    assert "secret" not in get(outer).text


def test_answers_of_debug_pass_the_after_hooks() -> None:
    app = failing(debug=True)

    @app.after_request
    def stamp(response: Response) -> None:
        response.headers["x-seen"] = str(response.status_code)

    assert get(app).headers["x-seen"] == "500"
    assert get(app, "/nowhere").headers["x-seen"] == "404"
