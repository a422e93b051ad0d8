"""Conditions and ranges, by the sections of RFC 9110."""

from __future__ import annotations

import pytest

from weebill import App, HTMLResponse, JSONResponse, Request, Response, StreamingResponse, TestClient
from weebill.conditional import (
    check_preconditions,
    has_entity_tag,
    make_entity_tag,
    parse_range,
    precondition,
    range_is_wanted,
)
from weebill.headers import http_date

BEFORE, THEN, AFTER = http_date(999), http_date(1000), http_date(1001)


# -- 8.8.3: entity tags


def test_a_tag_is_quoted_unless_it_is_one_already() -> None:
    assert make_entity_tag("a") == '"a"'
    assert make_entity_tag("a", weak=True) == 'W/"a"'
    assert make_entity_tag('W/"a"') == 'W/"a"'


@pytest.mark.parametrize("text", ["a b", 'a"b', "a\r\n", "\x00", "€"])
def test_what_a_tag_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an entity tag holds"):
        make_entity_tag(text)


@pytest.mark.parametrize(
    ("value", "tag", "strong", "weak"),
    [  # the table of section 8.8.3.2, and lists
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', 'W/"1"', False, True),
        ('"1"', '"1"', True, True),
        ('"a", W/"1" ,"b"', '"b"', True, True),
        ('"a,b"', '"a"', False, False),
        ('"a,b"', '"a,b"', True, True),
        ("*", '"1"', True, True),
        (" * ", 'W/"1"', True, True),
        ("1", '"1"', False, False),
        ("", '"1"', False, False),
        ('"1', '"1"', False, False),
        ("*", None, False, False),
    ],
)
def test_tags_are_compared_strongly_or_weakly(value: str, tag: str | None, strong: bool, weak: bool) -> None:
    assert has_entity_tag(value, tag, weak=False) is strong
    assert has_entity_tag(value, tag, weak=True) is weak


# -- 13.2.2: the order of the conditions


@pytest.mark.parametrize(
    ("method", "fields", "verdict"),
    [
        ("GET", {}, None),
        ("GET", {"if-match": '"1"'}, None),
        ("GET", {"if-match": '"2"'}, 412),
        ("GET", {"if-match": 'W/"1"'}, 412),
        ("PUT", {"if-match": "*"}, None),
        ("GET", {"if-unmodified-since": BEFORE}, 412),
        ("GET", {"if-unmodified-since": THEN}, None),
        ("GET", {"if-match": '"1"', "if-unmodified-since": BEFORE}, None),
        ("GET", {"if-none-match": '"1"'}, 304),
        ("HEAD", {"if-none-match": 'W/"1"'}, 304),
        ("PUT", {"if-none-match": "*"}, 412),
        ("POST", {"if-none-match": '"2"'}, None),
        ("GET", {"if-modified-since": BEFORE}, None),
        ("GET", {"if-modified-since": THEN}, 304),
        ("GET", {"if-modified-since": AFTER}, 304),
        ("POST", {"if-modified-since": AFTER}, None),
        ("GET", {"if-none-match": '"2"', "if-modified-since": AFTER}, None),
        ("GET", {"if-match": '"2"', "if-none-match": '"1"'}, 412),
        ("GET", {"if-match": '"1"', "if-none-match": '"1"'}, 304),
        ("GET", {"if-unmodified-since": AFTER, "if-modified-since": AFTER}, 304),
        ("GET", {"if-modified-since": "yesterday"}, None),
        ("GET", {"if-unmodified-since": ""}, None),
        ("GET", {"if-modified-since": "Thursday, 01-Jan-70 00:16:40 GMT"}, 304),
    ],
)
def test_conditions_are_asked_in_their_order(
    method: str, fields: dict[str, str], verdict: int | None
) -> None:
    assert precondition(method, fields, '"1"', 1000.9) == verdict


def test_nothing_there_fails_every_match() -> None:
    assert precondition("PUT", {"if-match": "*"}, None, None) == 412
    assert precondition("PUT", {"if-none-match": "*"}, None, None) is None
    assert precondition("GET", {"if-modified-since": THEN}, '"1"', None) is None


# -- 13.1.5: If-Range


@pytest.mark.parametrize(
    ("value", "etag", "wanted"),
    [
        ('"1"', '"1"', True),
        ('"2"', '"1"', False),
        ('W/"1"', 'W/"1"', False),
        ('W/"1"', '"1"', False),
        ('"1", "2"', '"1"', False),
        (THEN, '"1"', True),
        (AFTER, '"1"', False),
        (BEFORE, '"1"', False),
        ("", '"1"', False),
    ],
)
def test_if_range_takes_a_strong_tag_or_the_exact_date(value: str, etag: str, wanted: bool) -> None:
    assert range_is_wanted({"if-range": value}, etag, 1000.5, now=2000) is wanted


def test_a_date_is_no_strong_validator_within_its_second() -> None:
    assert range_is_wanted({"if-range": THEN}, '"1"', 1000.0, now=1000.9) is False
    assert range_is_wanted({"if-range": THEN}, '"1"', 1000.0, now=1001.0) is True
    assert range_is_wanted({}, '"1"', 1000.0) is True


# -- 14.1 and 14.2: ranges


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-99", [(0, 100)]),
        ("bytes=0-1000", [(0, 100)]),
        ("bytes=10-", [(10, 100)]),
        ("bytes=-10", [(90, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("Bytes = 0-1", [(0, 2)]),
        ("bytes=0-1,5-6", [(0, 2), (5, 7)]),
        ("bytes=5-6 , 0-1,, ", [(0, 2), (5, 7)]),
        ("bytes=0-4,5-9", [(0, 10)]),
        ("bytes=0-50,10-20,-60", [(0, 100)]),
        ("bytes=0-1,200-300", [(0, 2)]),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 20, 2)), [(n, n + 1) for n in range(0, 20, 2)]),
        (f"bytes=0-{'9' * 10_000}", [(0, 100)]),
        (f"bytes={'0' * 10_000}1-2", [(1, 3)]),
        # what is not there is 416
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=100-200,300-", []),
        (f"bytes={'9' * 10_000}-", []),
        # what is malformed, unknown or too much is passed over
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-4", None),
        ("bytes=+1-2", None),
        ("bytes=1_0-20", None),
        ("bytes=0x1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=--1", None),
        ("bytes=1 - 2", None),
        ("bytes=\u0661-\u0662", None),
        ("bytes=a-b", None),
        ("bytes 0-1", None),
        ("lines=0-1", None),
        ("", None),
        ("bytes=0-1, bytes=3-4", None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 22, 2)), None),
    ],
)
def test_ranges_are_read_joined_and_bounded(value: str, ranges: list[tuple[int, int]] | None) -> None:
    assert parse_range(value, 100) == ranges


def test_an_empty_content_has_no_ranges() -> None:
    for value in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        assert parse_range(value, 0) is None


# -- for handlers


def make_app() -> App:
    app = App(__name__)

    @app.get("/page")
    async def page(request: Request) -> Response:
        return HTMLResponse("<p>", headers={"cache-control": "no-cache"}).make_conditional(request)

    @app.get("/tagged")
    async def tagged(request: Request) -> Response:
        fields = {"etag": '"v1"', "last-modified": THEN, "content-language": "en", "set-cookie": "a=b"}
        return JSONResponse([1], headers=fields).make_conditional(request)

    @app.get("/failed")
    async def failed(request: Request) -> Response:
        return JSONResponse([1], 418).make_conditional(request)

    @app.get("/stream")
    async def stream(request: Request) -> Response:
        return StreamingResponse(["a"]).make_conditional(request)

    @app.get("/tagged-stream")
    async def tagged_stream(request: Request) -> Response:
        return StreamingResponse(["a"], headers={"etag": '"s"'}).make_conditional(request)

    @app.put("/tagged")
    async def change(request: Request) -> str:
        check_preconditions(request, "v1", 1000)
        return "changed"

    return app


def test_an_answer_of_a_handler_is_spared_to_who_has_it() -> None:
    client = TestClient(make_app())
    whole = client.get("/page")
    assert (whole.status_code, whole.text) == (200, "<p>")
    spared = client.get("/page", headers={"if-none-match": whole.headers["etag"]})
    assert (spared.status_code, spared.content) == (304, b"")
    assert spared.headers["etag"] == whole.headers["etag"]
    assert spared.headers["cache-control"] == "no-cache"
    assert "content-type" not in spared.headers
    assert client.get("/page", headers={"if-none-match": '"other"'}).text == "<p>"
    assert client.get("/page", headers={"if-match": '"other"'}).status_code == 412


def test_a_304_keeps_what_is_not_of_the_representation() -> None:
    answer = TestClient(make_app()).get("/tagged", headers={"if-modified-since": THEN})
    assert answer.status_code == 304
    assert answer.headers["set-cookie"] == "a=b"
    for name in ("content-type", "content-language", "last-modified"):  # section 15.4.5
        assert name not in answer.headers


def test_what_is_no_whole_success_stays_as_it_is() -> None:
    client = TestClient(make_app())
    for path, status in (("/failed", 418), ("/stream", 200)):
        answer = client.get(path, headers={"if-none-match": "*"})
        assert (answer.status_code, "etag" in answer.headers) == (status, False)
    assert client.get("/tagged-stream", headers={"if-none-match": '"s"'}).status_code == 304
    assert client.get("/tagged-stream").text == "a"


def test_an_update_is_lost_by_nobody() -> None:
    client = TestClient(make_app())
    assert client.put("/tagged").text == "changed"
    assert client.put("/tagged", headers={"if-match": '"v1"'}).text == "changed"
    assert client.put("/tagged", headers={"if-unmodified-since": THEN}).text == "changed"
    for fields in (
        {"if-match": '"v0"'},
        {"if-none-match": "*"},
        {"if-unmodified-since": BEFORE},
    ):
        answer = client.put("/tagged", headers=fields)
        assert answer.status_code == 412
        assert "has changed" in answer.json()["detail"]
