"""CORSMiddleware: who may read, and who may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weebill import App, Response, abort
from weebill.cors import CORSMiddleware
from weebill.errors import ConfigurationError
from weebill.testing import TestClient

ORIGIN = "https://example.org"


def make(*args: Any, **options: Any) -> App:
    app = App()
    app.middleware(CORSMiddleware(*args, **options))
    app.get("/")(lambda: "hello")
    app.post("/")(lambda: abort(403))
    return app


def ask(app: App, origin: str | None, method: str = "GET", **fields: str) -> Any:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return TestClient(app).request(method, "/", headers=headers | ({"origin": origin} if origin else {}))


def cors(answer: Any) -> dict[str, str]:
    names = (name for name in answer.headers if name.lower().startswith("access-control-"))
    return {name.lower().removeprefix("access-control-"): answer.headers[name] for name in names}


def test_an_origin_on_the_list_may_read_and_no_other() -> None:
    client = TestClient(make([ORIGIN]))
    answer = client.get("/", headers={"origin": ORIGIN})
    assert (answer.text, answer.headers["vary"], cors(answer)) == (
        "hello",
        "Origin",
        {"allow-origin": ORIGIN},
    )
    for origin in ("https://evil.example", "null", "https://example.org.evil.example", "http://example.org"):
        answer = client.get("/", headers={"origin": origin})
        assert (answer.text, answer.headers["vary"], cors(answer)) == ("hello", "Origin", {})


def test_vary_is_said_to_those_without_an_origin_too() -> None:
    answer = ask(make([ORIGIN]), None)
    assert (answer.headers["vary"], cors(answer)) == ("Origin", {})


def test_everybody_is_a_star_and_does_not_vary() -> None:
    for origin in (ORIGIN, None, "null"):
        answer = ask(make(["*"]), origin)
        assert (cors(answer), answer.headers.get("vary")) == ({"allow-origin": "*"}, None)


def test_a_regex_must_match_the_whole_origin() -> None:
    app = make(allow_origin_regex=r"https://([a-z]+\.)?example\.org")
    assert cors(ask(app, "https://a.example.org")) == {"allow-origin": "https://a.example.org"}
    for origin in (
        "https://a.example.org.evil.example",
        "xhttps://a.example.org",
        "null",
        "https://a.example.org:1",
    ):
        assert cors(ask(app, origin)) == {}
    for origin in ("null", None, "https://" + "a" * 300):
        assert cors(ask(make(allow_origin_regex=".*"), origin)) == {}


def test_credentials_and_exposed_fields_are_said() -> None:
    app = make([ORIGIN], allow_credentials=True, expose_headers=["ETag", "X-Total"])
    assert cors(ask(app, ORIGIN)) == {
        "allow-origin": ORIGIN,
        "allow-credentials": "true",
        "expose-headers": "ETag, X-Total",
    }
    assert cors(ask(app, "https://evil.example")) == {}


def test_errors_of_every_kind_can_be_read() -> None:
    app = make([ORIGIN])
    app.get("/crash")(lambda: 1 / 0)
    client = TestClient(app, raise_server_exceptions=False)
    for method, path, status in (
        ("GET", "/crash", 500),
        ("POST", "/", 403),
        ("GET", "/nowhere", 404),
        ("PUT", "/", 405),
        ("GET", "/%zz", 400),
    ):
        answer = client.request(method, path, headers={"origin": ORIGIN})
        assert (answer.status_code, cors(answer)) == (status, {"allow-origin": ORIGIN})


# -- preflights


def preflight(app: App, origin: str = ORIGIN, path: str = "/") -> Any:
    fields = {"origin": origin, "access-control-request-method": "PUT"}
    return TestClient(app).options(path, headers=fields)


def test_a_preflight_is_answered_before_anything_else(serve: Callable[[App], Any]) -> None:
    app = App()
    app.middleware(
        CORSMiddleware([ORIGIN], allow_methods=["get", "PUT"], allow_headers=["X-Token"], max_age=60)
    )
    app.before_request(lambda: abort(401))
    app.put("/thing")(lambda: "x")
    client = serve(app)
    for path in ("/thing", "/nowhere"):
        fields = {"origin": ORIGIN, "access-control-request-method": "PUT"}
        answer = client.options(path, headers=fields)
        assert (answer.status_code, answer.content, answer.headers["vary"]) == (204, b"", "Origin")
        assert cors(answer) == {
            "allow-origin": ORIGIN,
            "allow-methods": "GET, PUT",
            "allow-headers": "Content-Type, X-Token",
            "max-age": "60",
        }


def test_a_preflight_of_another_origin_gets_no_fields() -> None:
    answer = preflight(make([ORIGIN]), "https://evil.example")
    assert (answer.status_code, cors(answer), answer.headers["vary"]) == (204, {}, "Origin")


def test_a_part_of_the_program_may_allow_more_than_the_whole() -> None:
    app = make([ORIGIN])
    for path, origins in (("/public", ["*"]), ("/partner", ["https://partner.example"])):
        app.get(path, middleware=[CORSMiddleware(origins)])(lambda: "hello")
    for path, origin, allowed in (
        ("/public", "https://any.example", "*"),
        ("/public", ORIGIN, ORIGIN),
        ("/partner", "https://partner.example", "https://partner.example"),
        ("/partner", ORIGIN, ORIGIN),
        ("/partner", "https://any.example", None),
    ):
        asked = {"origin": origin, "access-control-request-method": "GET"}
        client = TestClient(app)
        for answer in (client.options(path, headers=asked), client.get(path, headers={"origin": origin})):
            assert cors(answer).get("allow-origin") == allowed


def test_a_preflight_of_a_route_with_options_of_its_own_and_of_a_mount_is_answered_too() -> None:
    app = make([ORIGIN])
    app.options("/own")(lambda: abort(500))
    app.mount("/mounted", App())
    for path in ("/own", "/mounted/x"):
        assert preflight(app, path=path).status_code == 204
    assert ask(app, ORIGIN, "OPTIONS").headers["allow"] == "GET, HEAD, OPTIONS, POST"  # that is no preflight


def test_a_mounted_application_can_be_read() -> None:
    app, inner = make([ORIGIN]), App()
    inner.get("/")(lambda: "inner")
    app.mount("/inner", inner)
    answer = TestClient(app).get("/inner/", headers={"origin": ORIGIN})
    assert (answer.text, cors(answer)) == ("inner", {"allow-origin": ORIGIN})


def test_an_answer_that_is_given_again_and_again_does_not_grow() -> None:
    app, answer = App(), Response("x")
    app.middleware(CORSMiddleware([ORIGIN]))
    app.get("/")(lambda: answer)
    for _ in range(3):
        assert ask(app, ORIGIN).headers.getlist("vary") == ["Origin"]


# -- mistakes


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "allows nobody"),
        ({"allow_origins": ORIGIN}, r"write allow_origins=\['https://example.org'\]"),
        ({"allow_origins": ["https://example.org/"]}, "without a path or a slash at its end"),
        ({"allow_origins": ["example.org"]}, "is no origin"),
        ({"allow_origins": ["https://Example.org"]}, "in lower case"),
        ({"allow_origins": ["null"]}, "'null' is no origin"),
        ({"allow_origins": ["https://*.example.org"]}, "is no origin"),
        ({"allow_origins": ["*", ORIGIN]}, "makes the others useless"),
        ({"allow_origins": ["*"], "allow_credentials": True}, "which browsers refuse"),
        (
            {"allow_origins": [ORIGIN], "allow_headers": ["*"], "allow_credentials": True},
            "allow_headers has '*'",
        ),
        ({"allow_origin_regex": "https?://.*", "allow_credentials": True}, "lets everybody in"),
        ({"allow_origin_regex": "("}, "allow_origin_regex '\\('"),
        ({"allow_origins": [ORIGIN], "allow_methods": ["GET PUT"]}, "'GET PUT' in allow_methods is no name"),
        ({"allow_origins": [ORIGIN], "max_age": -1}, "0 to 86400 seconds"),
    ],
)
def test_a_mistake_is_a_sentence(options: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        CORSMiddleware(**options)
