"""What happens when something is wrong: with a request, with a handler, with the program."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from weebill import App, HTTPException, PlainTextResponse, Request, Response, Router, abort
from weebill.errors import (
    BodyTooLarge,
)
from weebill.testing import Result, TestClient

BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def get(app: App, path: str = "/", **options: Any) -> Result:
    return TestClient(app, raise_server_exceptions=False).get(path, **options)


def entries(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "weebill"]


def failing_app(error: Callable[[], Exception] = lambda: ValueError("secret"), **options: Any) -> App:
    app = App(**options)

    @app.get("/")
    def fails() -> None:
        raise error()

    @app.get("/async")
    async def fails_too() -> None:
        raise error()

    return app


# -- error handlers


class Base(Exception):
    pass


class Derived(Base):
    pass


def test_the_handler_of_the_nearest_class_answers() -> None:
    app = failing_app(Derived)
    app.errorhandler(Exception)(lambda error: "any")
    assert get(app).text == "any"
    app.errorhandler(Base)(lambda error: "base")
    assert get(app).text == "base"
    app.errorhandler(Derived)(lambda error: f"derived {type(error).__name__}")
    assert get(app, "/async").text == "derived Derived"


def test_the_handler_of_a_status_goes_before_that_of_a_class() -> None:
    app = failing_app(lambda: HTTPException(404))
    app.errorhandler(HTTPException)(lambda error: f"class {error.status_code}")
    assert (get(app).text, get(app, "/none").text) == ("class 404", "class 404")
    app.errorhandler(404)(lambda error: "status")
    assert (get(app).text, get(app, "/none").text) == ("status", "status")


def test_the_handler_of_500_gets_the_exception_that_nobody_else_takes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = failing_app()
    app.errorhandler(500)(lambda error: f"sorry: {error}")
    answer = get(app)
    assert (answer.status_code, answer.text) == (500, "sorry: secret")
    assert len(entries(caplog)) == 1


def test_an_exception_that_has_a_handler_is_no_entry_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = failing_app()
    app.errorhandler(ValueError)(lambda error: ("handled", 400))
    assert get(app).status_code == 400
    assert entries(caplog) == []


@pytest.mark.parametrize(
    ("value", "status"),
    [("text", 404), ({"a": 1}, 404), (("text", 410), 410), (PlainTextResponse("x", 200), 200), (None, 404)],
)
def test_an_error_handlers_answer_has_the_errors_status_unless_it_names_another(
    value: Any, status: int
) -> None:
    app = App()
    app.errorhandler(404)(lambda error: value)
    assert get(app).status_code == status


def test_error_handlers_are_plain_or_async_and_take_the_request_if_they_like() -> None:
    app = failing_app()

    @app.errorhandler(ValueError)
    async def with_request(request: Request, error: Exception) -> str:
        return f"{request.path}: {error}"

    @app.errorhandler(404)
    def without() -> str:
        return "nothing here"

    assert get(app).text == "/: secret"
    assert get(app, "/none").text == "nothing here"


def test_a_405_keeps_its_allow_whoever_words_it() -> None:
    app = failing_app()
    app.errorhandler(405)(lambda error: "not like that")
    answer = TestClient(app).post("/")
    assert (answer.status_code, answer.text) == (405, "not like that")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_an_error_handler_that_fails_is_a_500_and_an_entry(caplog: pytest.LogCaptureFixture) -> None:
    app = failing_app()

    @app.errorhandler(ValueError)
    def fails(error: Exception) -> None:
        raise ZeroDivisionError("in the error handler")

    answer = get(app)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    [entry] = entries(caplog)
    assert "ZeroDivisionError: in the error handler" in entry


def test_an_error_handler_may_abort() -> None:
    app = failing_app()
    app.errorhandler(ValueError)(lambda error: abort(422, "no good"))
    assert get(app).json() == {"title": HTTPException(422).detail, "status": 422, "detail": "no good"}


def test_a_limit_has_an_error_of_its_own_to_handle() -> None:
    app = App()
    app.post("/", max_body=10)(lambda request: request.text)
    app.errorhandler(BodyTooLarge)(lambda error: error.detail)
    answer = TestClient(app).post("/", content=b"x" * 11)
    assert (answer.status_code, "10 bytes" in answer.text) == (413, True)


def test_the_error_handler_of_an_inner_router_goes_before_the_outer() -> None:
    app, inner = App(), Router("/inner")

    @inner.get("/{kind}")
    def fails(kind: str) -> None:
        raise Derived if kind == "derived" else ValueError

    app.include(inner)
    app.errorhandler(Derived)(lambda error: "outer derived")
    inner.errorhandler(Base)(lambda error: "inner base")
    app.errorhandler(ValueError)(lambda error: "outer value")
    assert get(app, "/inner/derived").text == "inner base"
    assert get(app, "/inner/other").text == "outer value"


# -- the form of an error


def test_an_error_is_a_problem_document_or_a_page_as_the_client_likes() -> None:
    app = failing_app(lambda: HTTPException(403, "<not> you", {"x-why": "rules"}))
    answer = get(app)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"title": "Forbidden", "status": 403, "detail": "<not> you"}
    page = get(app, headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>403 Forbidden</title>" in page.text
    assert "&lt;not&gt; you" in page.text
    assert answer.headers["x-why"] == page.headers["x-why"] == "rules"


def test_a_status_without_a_standard_phrase_is_an_error_like_any_other() -> None:
    assert get(failing_app(lambda: HTTPException(499, "odd"))).json() == {
        "title": "",
        "status": 499,
        "detail": "odd",
    }


@pytest.mark.parametrize("path", ["/", "/async"])
@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_outside_debug_nothing_of_an_exception_reaches_the_client(path: str, headers: dict[str, str]) -> None:
    answer = get(failing_app(), path, headers=headers)
    assert answer.status_code == 500
    for word in ("secret", "ValueError", "Traceback", "test_errors"):
        assert word not in answer.text


def test_debug_shows_the_traceback_and_escapes_it(caplog: pytest.LogCaptureFixture) -> None:
    app = failing_app(lambda: ValueError("<script>"), debug=True)
    page = get(app, headers=BROWSER)
    assert page.status_code == 500
    assert "ValueError: &lt;script&gt;" in page.text
    assert "test_errors.py" in page.text
    assert "<script>" not in page.text
    problem = get(app).json()
    assert problem["detail"] == "ValueError: <script>"
    assert any("in fails" in line for line in problem["traceback"])
    assert len(entries(caplog)) == 2


def test_debug_leaves_the_errors_that_are_meant_alone() -> None:
    assert get(App(debug=True), "/none").json() == {"title": "Not Found", "status": 404}


def test_the_log_names_request_handler_and_exception_once(caplog: pytest.LogCaptureFixture) -> None:
    get(failing_app(), "/?q=1")
    [record] = [record for record in caplog.records if record.name == "weebill"]
    assert record.levelno == logging.ERROR
    message = record.getMessage()
    assert message.startswith("GET /?q=1 [")
    assert "failing_app.<locals>.fails (" in message
    assert message.endswith("ValueError: secret")
    assert record.exc_info is not None


# -- hooks and middleware


def test_after_hooks_see_errors_of_every_kind() -> None:
    app = failing_app()
    app.post("/limited", max_body=1)(lambda: "")

    @app.after_request
    def stamp(response: Response) -> None:
        response.headers["x-seen"] = str(response.status_code)

    client = TestClient(app, raise_server_exceptions=False)
    for method, path, status in (
        ("GET", "/", 500),
        ("GET", "/none", 404),
        ("PUT", "/", 405),
        ("OPTIONS", "/", 204),
        ("POST", "/limited", 413),
        ("GET", "/%zz", 400),
    ):
        answer = client.request(method, path, content=b"xx")
        assert (answer.status_code, answer.headers["x-seen"]) == (status, str(status))


def test_a_before_hook_that_fails_is_handled_like_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    for hook in (lambda: abort(401), lambda: 1 / 0):
        app = App()
        app.get("/")(lambda: "never")
        app.before_request(hook)
        app.errorhandler(401)(lambda error: "who are you?")
        app.errorhandler(ZeroDivisionError)(lambda error: ("divided", 400))
        assert get(app).text in ("who are you?", "divided")
    assert entries(caplog) == []


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("path", ["/", "/none"])
def test_an_after_hook_that_fails_is_one_500_and_one_entry(
    caplog: pytest.LogCaptureFixture, is_async: bool, path: str
) -> None:
    app, calls = App(), []
    app.get("/")(lambda: "fine")

    def fails(response: Response) -> None:
        calls.append(response.status_code)
        raise ValueError("in the hook")

    async def fails_async(response: Response) -> None:
        fails(response)

    app.after_request(fails_async if is_async else fails)
    assert get(app, path).status_code == 500
    assert len(calls) == 1
    [entry] = entries(caplog)
    assert entry.endswith("ValueError: in the hook")


def test_an_after_hook_that_fails_on_an_error_does_not_hide_it_from_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = failing_app()
    app.after_request(lambda response: 1 / 0)
    assert get(app).status_code == 500
    assert [entry.rpartition(": ")[2] for entry in entries(caplog)] == ["secret", "division by zero"]


def test_a_middleware_that_fails_is_handled_and_passes_the_after_hooks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    app.get("/{kind}")(lambda kind: kind)

    @app.middleware
    async def guard(request: Request, call_next: Any) -> Any:
        if request.params["kind"] == "abort":
            abort(403)
        response = await call_next(request)
        raise ValueError("after the handler")
        return response

    @app.after_request
    def stamp(response: Response) -> None:
        response.headers["x-seen"] = "yes"

    assert (get(app, "/abort").status_code, get(app, "/abort").headers["x-seen"]) == (403, "yes")
    assert entries(caplog) == []
    assert (get(app, "/raise").status_code, get(app, "/raise").headers["x-seen"]) == (500, "yes")
    assert len(entries(caplog)) == 2


def test_a_middleware_sees_the_answer_to_an_error_not_the_error() -> None:
    app, seen = failing_app(), []

    @app.middleware
    async def watch(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        seen.append(response.status_code)
        return response

    get(app)
    get(app, "/none")
    assert seen == [500, 404]


def test_what_a_client_sends_is_never_an_error_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.post("/")(lambda request: [request.json(), request.text, dict(request.query)])
    client = TestClient(app, raise_server_exceptions=False)
    for content in (b"", b"\xff\xfe", b"{" * 10_000, b"1e999999", b"9" * 100_000, b'"\\ud800"'):
        assert client.post("/", content=content).status_code in (200, 400)
    assert entries(caplog) == []


def test_a_hook_that_comes_late_sees_refused_requests_too() -> None:
    app = App()
    app.post("/", max_body=1)(lambda: "taken")
    client = TestClient(app)
    assert [client.post("/", content=b"long").status_code for _ in range(2)] == [413, 413]

    @app.after_request
    def sign(response: Response) -> None:
        response.headers["x-signed"] = "yes"

    answer = client.post("/", content=b"long")
    assert (answer.status_code, answer.headers["x-signed"]) == (413, "yes")
