"""Cookies that we set: what is refused, what is said, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from weebill import App, Request, Response
from weebill.cookies import MAX_COOKIE_SIZE, format_cookie
from weebill.headers import parse_cookies
from weebill.testing import TestClient


def test_a_cookie_is_careful_unless_it_is_told_otherwise() -> None:
    assert format_cookie("a", "b") == "a=b; Path=/; HttpOnly; SameSite=Lax"
    assert format_cookie("a", "b", path=None, httponly=False, samesite=None) == "a=b"


def test_a_cookie_has_every_attribute_that_it_is_given() -> None:
    line = format_cookie(
        *("a", "b", timedelta(hours=1), datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "/x", ".Example.org"),
        *(True, True, "none", True),
    )
    assert line == (
        "a=b; Max-Age=3600; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Domain=Example.org; Path=/x; Secure; "
        "HttpOnly; SameSite=None; Partitioned"
    )


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "a,b", 'a"b', "ä", "a\r\nb", "a\0", "(a)", "a@b"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a cookie"):
        format_cookie(name, "b")


@pytest.mark.parametrize("bad", [*'",;\\ \t\r\n\0\x1f\x7fäあ', "\udc80"])
def test_a_value_that_a_cookie_cannot_hold_is_refused_and_the_way_out_told(bad: str) -> None:
    for value in (bad, f"secret{bad}", f"{bad}secret"):
        with pytest.raises(ValueError, match="cannot; encode it, for instance by urllib") as caught:
            format_cookie("name", value)
        assert "secret" not in str(caught.value)


def test_every_other_visible_character_is_a_value() -> None:
    value = "".join(c for c in map(chr, range(0x21, 0x7F)) if c not in '",;\\')
    assert format_cookie("a", value).startswith(f"a={value}; ")
    assert parse_cookies(f"a={value}") == {"a": value}


def test_more_than_4096_bytes_are_refused_with_their_number() -> None:
    rest = len(format_cookie("a"))
    assert len(format_cookie("a", "x" * (MAX_COOKIE_SIZE - rest))) == 4096
    with pytest.raises(ValueError, match="'a' takes 4097 bytes"):
        format_cookie("a", "x" * (MAX_COOKIE_SIZE - rest + 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "x"}, "begins with a slash"),
        ({"path": ""}, "begins with a slash"),
        ({"path": "/; Domain=evil.example"}, "no semicolon"),
        ({"path": "/\r\nx"}, "no control"),
        ({"path": "/ä"}, "beyond ASCII"),
        ({"domain": ""}, "name of a host"),
        ({"domain": "a b"}, "name of a host"),
        ({"domain": "a;b"}, "name of a host"),
        ({"domain": "a..b"}, "name of a host"),
        ({"domain": "example.org:80"}, "name of a host"),
        ({"domain": "https://example.org"}, "name of a host"),
        ({"domain": "bücher.example"}, "punycode"),
        ({"domain": "a." * 127 + "aa"}, "name of a host"),
        ({"samesite": "strickt"}, "'lax', 'strict' or 'none'"),
        ({"samesite": "none"}, "needs secure=True"),
        ({"partitioned": True}, "needs secure=True"),
        ({"expires": datetime(2030, 1, 1)}, "no time zone"),
        ({"expires": float("inf")}, "no time since the epoch"),
        ({"expires": -1.0}, "no time since the epoch"),
        ({"max_age": float("nan")}, "no number of seconds"),
        ({"max_age": 1e300}, "no number of seconds"),
    ],
)
def test_an_attribute_that_a_browser_would_misread_is_refused(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        format_cookie("a", "b", **options)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("__Secure-a", {}, "to be secure"),
        ("__Host-a", {}, "to be secure"),
        ("__HOST-a", {}, "to be secure"),
        ("__host-a", {"secure": True, "path": "/x"}, "one host"),
        ("__Host-a", {"secure": True, "path": None}, "one host"),
        ("__Host-a", {"secure": True, "domain": "example.org"}, "one host"),
        ("__Http-a", {}, "to be secure"),
        ("__Http-a", {"secure": True, "httponly": False}, "a script's"),
        ("__Host-Http-a", {"secure": True, "httponly": False}, "a script's"),
    ],
)
def test_a_name_that_promises_something_is_held_to_it(name: str, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        format_cookie(name, "b", **options)
    assert format_cookie(name, "b", secure=True).endswith("Path=/; Secure; HttpOnly; SameSite=Lax")


# -- on answers


def make_app() -> App:
    app = App(__name__)

    @app.get("/set")
    async def set_cookies() -> Response:
        response = Response("set")
        response.set_cookie("one", "1")
        response.set_cookie("two", "2", max_age=60)
        return response

    @app.get("/set-in-thread")
    def set_in_thread() -> Response:
        response = Response("set")
        response.set_cookie("one", "1")
        return response

    @app.get("/get")
    async def get(request: Request) -> dict[str, str]:
        return request.cookies

    @app.get("/delete")
    async def delete() -> Response:
        response = Response("deleted")
        response.delete_cookie("one")
        return response

    return app


def test_cookies_come_back_until_they_are_deleted(serve: Any) -> None:
    client = serve(make_app())
    client.get("/set")
    assert client.get("/get").json() == {"one": "1", "two": "2"}
    client.get("/delete")
    assert client.get("/get").json() == {"two": "2"}


def test_a_cookie_is_secure_when_the_request_came_by_https() -> None:
    app = make_app()
    for path in ("/set", "/set-in-thread"):
        secure = TestClient(app, "https://testserver").get(path).headers.getlist("set-cookie")
        assert all("; Secure" in line for line in secure)
        plain = TestClient(app).get(path).headers.getlist("set-cookie")
        assert not any("Secure" in line for line in plain)


def test_secure_can_be_said_and_comes_where_a_browser_wants_it() -> None:
    response = Response()
    response.set_cookie("a", secure=True)
    response.set_cookie("b", samesite="none")
    response.set_cookie("c", partitioned=True)
    response.set_cookie("__Host-d")
    response.set_cookie("e")
    response.set_cookie("f", secure=False)
    lines = response.headers.getlist("set-cookie")
    assert ["; Secure" in line for line in lines] == [True, True, True, True, False, False]
    with pytest.raises(ValueError, match="needs secure=True"):
        response.set_cookie("a", samesite="none", secure=False)


def test_a_cookie_is_deleted_by_the_attributes_that_it_was_set_with() -> None:
    response = Response()
    options: Any = {"path": "/x", "domain": "example.org", "secure": True, "samesite": "strict"}
    response.set_cookie("a", "1", **options)
    response.delete_cookie("a", **options)
    was_set, deleted = response.headers.getlist("set-cookie")
    assert was_set == "a=1; Domain=example.org; Path=/x; Secure; HttpOnly; SameSite=Strict"
    assert deleted == (
        "a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.org; Path=/x; Secure; "
        "HttpOnly; SameSite=Strict"
    )
    response.delete_cookie("__Host-a")
    assert response.headers.getlist("set-cookie")[2].startswith("__Host-a=; Max-Age=0; ")


# -- what comes


def test_a_cookie_without_a_name_is_none_and_makes_no_other() -> None:
    assert parse_cookies("=__Host-session=evil; ==x; =; a=1; b; ;") == {"a": "1"}


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0"])
def test_a_name_with_odd_space_before_it_is_not_the_guarded_one(space: str) -> None:
    found = parse_cookies(f"{space}__Host-session=evil; __Host-session{space}=evil")
    assert "__Host-session" not in found
    assert parse_cookies(f"{space}a=evil;\t a=good") == {f"{space}a": "evil", "a": "good"}


def test_the_first_equals_sign_splits_and_the_first_of_a_name_wins() -> None:
    assert parse_cookies("a=b=c; a=d; t=x==") == {"a": "b=c", "t": "x=="}
