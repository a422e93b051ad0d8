"""A mistake in the program is one clear sentence that names the handler, the route and the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

import weebill
from weebill import App, Request, Router, render_template
from weebill.errors import (
    ConfigurationError,
    DuplicateRoute,
    PatternError,
    ReturnValueError,
    SignatureError,
    WeebillError,
)
from weebill.testing import TestClient

# -- at registration


def anything() -> None:
    pass


def another() -> None:
    pass


async def middleware_of_one(request: Request) -> None:
    pass


async def coroutine(app: App) -> None:
    pass


@pytest.mark.parametrize(
    ("mistake", "kind", "words"),
    [
        (
            lambda app: app.get("/{x:integer}")(anything),
            PatternError,
            ["'/{x:integer}'", "'integer'", "int, float", "anything (", "test_mistakes.py:"],
        ),
        (
            lambda app: app.get("/{x")(anything),
            PatternError,
            ["'/{x'", "a brace", "anything (", "test_mistakes.py:"],
        ),
        (
            lambda app: app.get("no-slash")(anything),
            ConfigurationError,
            ["'no-slash'", "anything (", "a slash"],
        ),
        (
            lambda app: app.get("/{a}")(lambda b: b),
            SignatureError,
            ["'b'", "<lambda> (", "test_mistakes.py:", "/{a}"],
        ),
        (lambda app: app.get("/")("text"), SignatureError, ["'/'", "'text'", "cannot be called"]),
        (lambda app: app.route("/", methods="GET")(anything), ConfigurationError, ["'/'", "methods=['GET']"]),
        (
            lambda app: (app.get("/a")(anything), app.get("/a")(another)),
            DuplicateRoute,
            ["GET /a is registered twice", "anything (", "another (", "test_mistakes.py:"],
        ),
        (
            lambda app: app.before_request(lambda a, b: None),
            SignatureError,
            ["<lambda> (", "a, b", "as a before_request hook", "request only"],
        ),
        (
            lambda app: app.after_request(lambda a, b: None),
            SignatureError,
            ["<lambda> (", "a, b", "as an after_request hook", "request and response only"],
        ),
        (
            lambda app: app.errorhandler(404)(lambda a, b: None),
            SignatureError,
            ["<lambda> (", "a, b", "as an error handler", "request and error only"],
        ),
        (lambda app: app.errorhandler("404"), ConfigurationError, ["400 to 599", "'404'"]),
        (lambda app: app.errorhandler(200), ConfigurationError, ["400 to 599", "200"]),
        (lambda app: app.errorhandler(KeyboardInterrupt), ConfigurationError, ["KeyboardInterrupt"]),
        (
            lambda app: app.middleware(anything),
            SignatureError,
            ["anything (", "async def (request, call_next)"],
        ),
        (
            lambda app: app.middleware(middleware_of_one),
            SignatureError,
            ["middleware_of_one (", "(request, call_next)"],
        ),
        (
            lambda app: app.on_startup(coroutine),
            SignatureError,
            ["'app'", "coroutine (", "as a startup function"],
        ),
        (
            lambda app: app.on_shutdown(coroutine),
            SignatureError,
            ["'app'", "coroutine (", "as a shutdown function"],
        ),
        (lambda app: app.lifespan(lambda: None), SignatureError, ["<lambda> (", "one parameter, the app"]),
        (lambda app: app.mount("api", App()), ConfigurationError, ["'api'", "slash"]),
        (lambda app: app.mount("/api/", App()), ConfigurationError, ["'/api/'", "slash"]),
        (
            lambda app: (app.mount("/a", App()), app.mount("/a", App())),
            ConfigurationError,
            ["mounted at '/a' already"],
        ),
        (lambda app: app.mount("/a", 42), ConfigurationError, ["42", "ASGI"]),
        (lambda app: app.static("/s", "nowhere"), ConfigurationError, ["the static folder", "tests/nowhere"]),
        (lambda app: App(templates="nowhere"), ConfigurationError, ["the template folder", "tests/nowhere"]),
        (lambda app: Router("api"), ConfigurationError, ["'api'", "slash"]),
        (lambda app: Router("/api/"), ConfigurationError, ["'/api/'", "slash"]),
        (lambda app: app.include(app), ConfigurationError, ["cannot include itself"]),
        (lambda app: app.url_for("nobody"), ConfigurationError, ["'nobody'", "there are known"]),
        (lambda app: app.url_for("known"), ConfigurationError, ["url_for('known')", "a value for id"]),
        (lambda app: app.url_for("known", id="x"), ConfigurationError, ["id='x'", "must be an int"]),
        (lambda app: render_template("a.html"), ConfigurationError, ["'a.html'", "outside a request"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(
    mistake: Callable[[App], Any], kind: type[WeebillError], words: list[str]
) -> None:
    app = App()
    app.get("/known/{id:int}", name="known")(lambda id: id)  # noqa: A006
    with pytest.raises(kind) as raised:
        mistake(app)
    sentence = str(raised.value)
    assert isinstance(raised.value, ConfigurationError)
    assert [word for word in words if word not in sentence] == []
    assert "\n" not in sentence


def test_routers_cannot_go_round_in_circles() -> None:
    a, b, c = Router("/a"), Router("/b"), Router("/c")
    a.include(b)
    b.include(c)
    with pytest.raises(ConfigurationError, match="cannot include itself"):
        c.include(a)


def test_a_mistake_in_a_router_is_found_when_an_app_takes_it_in() -> None:
    router = Router("/api")
    router.get("/{x}")(lambda y: y)
    with pytest.raises(SignatureError, match=r"'y' of .*<lambda> \(.*for GET /api/\{x\}"):
        App().include(router)


# -- while it runs


@pytest.mark.parametrize("kind", ["handler", "hook", "after", "middleware", "forgetful", "error"])
def test_a_wrong_value_is_one_sentence_that_names_who_returned_it(
    caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def wrong() -> Any:
        return 42 if kind != "forgetful" else None

    app = App()
    app.get("/")(wrong if kind == "handler" else lambda: "fine")
    if kind == "hook":
        app.before_request(wrong)
    elif kind == "after":
        app.after_request(wrong)
    elif kind in ("middleware", "forgetful"):

        @app.middleware
        async def wrong_middleware(request: Request, call_next: Any) -> Any:
            return wrong()

    elif kind == "error":
        app.errorhandler(404)(wrong)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/" if kind != "error" else "/none").status_code == 500
    [record] = [record for record in caplog.records if record.name == "weebill"]
    sentence = record.getMessage()
    assert f"wrong{'_middleware' if kind in ('middleware', 'forgetful') else ''} (" in sentence
    assert f"test_mistakes.py:{wrong.__code__.co_firstlineno}" in sentence or "wrong_middleware" in sentence
    assert ("returned None" if kind == "forgetful" else "returned int") in sentence
    assert record.exc_info is None
    assert "\n" not in sentence


@pytest.mark.parametrize("folder_exists", [False, True])
def test_a_missing_template_or_folder_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder_exists: bool
) -> None:
    app = App()
    app.root = tmp_path
    app.templates.folders = [tmp_path / "templates"]
    if folder_exists:
        app.templates.folders[0].mkdir()
    app.get("/")(lambda: render_template("page.html"))
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    [entry] = [record.getMessage() for record in caplog.records if record.name == "weebill"]
    assert str(tmp_path / "templates") in entry
    assert ("there is no template 'page.html'" if folder_exists else "does not exist") in entry


def test_templates_belong_to_the_folder_of_the_file_that_makes_the_app() -> None:
    here = Path(__file__).resolve().parent
    assert App().templates.folders == App(__name__).templates.folders == [here / "templates"]
    assert App("no-such-module").root == here


def test_return_value_errors_are_type_errors_and_pattern_errors_value_errors() -> None:
    assert issubclass(ReturnValueError, TypeError)
    assert issubclass(SignatureError, TypeError)
    assert issubclass(PatternError, ValueError)


def test_a_decorator_without_its_path_is_refused() -> None:
    app = App(__name__)
    with pytest.raises(ConfigurationError, match=r"the path is .*lonely .*test_mistakes.*'/path'"):

        @app.get
        def lonely() -> str:
            return ""


def test_flasks_brackets_are_refused_with_what_to_write_instead() -> None:
    app = App(__name__)
    with pytest.raises(PatternError, match=r"'/user/<name>', the path of .*user .*is written \{name\}"):

        @app.get("/user/<name>")
        def user() -> str:
            return ""


def test_including_what_is_no_router_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="include takes a Router, not 1"):
        App(__name__).include(1)  # type: ignore[arg-type]


def test_a_wrong_option_of_run_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        App(__name__).run(prot=1)
    assert ended.value.code == 3
    assert capsys.readouterr().err == "weebill: there is no option 'prot'; did you mean port?\n"


def test_a_mistake_in_a_program_that_python_runs_is_one_sentence_too(tmp_path: Path) -> None:
    program = tmp_path / "twice.py"
    twice = "@app.get('/a')\ndef a(): ...\n" * 2
    program.write_text(f"from weebill import App\napp = App(__name__)\n{twice}")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (f"weebill: GET /a is registered twice: a ({program}:3) and a ({program}:5)\n")


# -- at import


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("request", "a handler takes it as a parameter: def show(request: Request)"),
        ("Flask", "write App"),
        ("BackgroundTasks", "write request.background(function, ...)"),
    ],
)
def test_an_import_of_what_other_frameworks_have_says_what_to_write(name: str, words: str) -> None:
    with pytest.raises(ImportError) as refused:
        exec(f"from weebill import {name}", {})
    assert str(refused.value) == f"weebill has no {name!r}; {words}"


def test_any_other_name_is_missing_as_in_any_module() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nothing' from 'weebill'"):
        exec("from weebill import Nothing", {})
    assert not hasattr(weebill, "nothing")


@pytest.mark.parametrize(("attribute", "meant"), [("args", "request.query"), ("get_json", r"request.json()")])
def test_an_attribute_of_another_frameworks_request_is_noted_with_what_to_write(
    attribute: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(debug=True)

    @app.get("/")
    def index(request: Request) -> object:
        return getattr(request, attribute)

    answer = TestClient(app, raise_server_exceptions=False).get("/")
    assert f"In Weebill it is {meant}." in answer.text
    assert f"In Weebill it is {meant}." in caplog.text


def test_an_option_that_app_does_not_have_is_told_with_those_that_it_has() -> None:
    with pytest.raises(ConfigurationError, match=r"App takes no option 'title'; there are name, .*lifespan$"):
        App(title="Birds")  # type: ignore[call-arg]


def test_a_def_that_returns_a_coroutine_is_told_to_wait_for_it(caplog: pytest.LogCaptureFixture) -> None:
    async def later() -> str:
        return "late"

    app = App()
    app.get("/")(lambda: later())
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    assert "returned a coroutine: write async def, or await it" in caplog.text


def test_a_missing_parameter_of_the_query_is_the_clients_fault() -> None:
    app = App()

    @app.get("/")
    def index(request: Request) -> str:
        return request.query["page"]

    client = TestClient(app, headers={"accept": "application/json"})
    answer = client.get("/?pag=1")
    assert (answer.status_code, answer.json()["detail"]) == (400, "The query has no parameter 'page'.")
    assert client.get("/?page=2").text == "2"


def test_a_constraint_that_its_type_cannot_have_is_refused_at_registration() -> None:
    with pytest.raises(SignatureError, match=r"'q' of .* cannot be read: Can only set `ge` on a numeric"):

        @App().get("/")
        def index(q: Annotated[str, weebill.Meta(ge=1)]) -> str:
            return q


def test_an_error_handler_that_fails_does_not_hide_what_it_was_called_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()

    @app.get("/")
    def index() -> None:
        raise ValueError("origin")

    @app.errorhandler(ValueError)
    def explain(error: ValueError) -> float:
        return 1 / 0

    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    assert "ValueError: origin" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_middleware_that_is_asked_for_in_the_wrong_place_says_where_it_is() -> None:
    with pytest.raises(ImportError, match=r"write from weebill\.sessions import SessionMiddleware"):
        from weebill import SessionMiddleware  # noqa: F401


def test_background_takes_a_function_and_not_what_it_returns() -> None:
    app = App()

    @app.get("/")
    def index(request: Request) -> str:
        request.background(print("now"))  # type: ignore[func-returns-value]
        return "hello"

    with pytest.raises(ConfigurationError, match="takes a function and then its arguments, and not None"):
        TestClient(app).get("/")


def test_a_mistake_at_the_top_of_a_program_is_told_with_its_line(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text('from weebill import App\napp = App()\n\napp.static("/s", "nowhere")\n')
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert ended.stderr.startswith(f"weebill: {program}:4: ")
    assert ended.stderr.count("\n") == 1
