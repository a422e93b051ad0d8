"""Fields, queries, cookies, dates and weights."""

from __future__ import annotations

import time

import pytest

from weebill.headers import (
    Headers,
    MultiDict,
    MutableHeaders,
    best_match,
    check_field,
    http_date,
    parse_cookies,
    parse_http_date,
    parse_qualities,
    parse_query,
)


def test_names_are_found_in_any_case_and_iterated_as_they_were_sent() -> None:
    headers = Headers([("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")])
    assert headers["content-TYPE"] == "text/plain"
    assert "CONTENT-type" in headers
    assert "missing" not in headers
    assert 5 not in headers
    assert list(headers) == ["Content-Type", "X-A"]
    assert len(headers) == 2
    assert headers.get("missing") is None
    with pytest.raises(KeyError):
        headers["missing"]


def test_several_lines_of_one_name_are_joined_or_listed() -> None:
    headers = Headers([("accept", "a"), ("Accept", "b"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert headers["accept"] == "a, b"
    assert headers["cookie"] == "a=1; b=2"
    assert headers.getlist("ACCEPT") == ["a", "b"]
    assert headers.getlist("missing") == []


def test_headers_compare_by_what_they_say() -> None:
    assert Headers({"A": "1"}) == Headers({"a": "1"})
    assert Headers({"a": "1"}) != Headers({"a": "2"})
    assert Headers({"a": "1"}) != {"a": "1"}
    assert repr(Headers({"A": "1"})) == "Headers([('A', '1')])"


def test_a_view_of_raw_pairs_is_no_copy() -> None:
    raw = [(b"x-latin", b"\xfc")]
    headers = Headers.from_raw(raw)
    assert headers["x-latin"] == "ü"
    assert headers.raw is raw


def test_fields_of_an_answer_are_set_added_and_removed() -> None:
    headers = MutableHeaders({"a": "1"})
    headers.add("A", "2")
    assert headers.getlist("a") == ["1", "2"]
    headers["A"] = "3"
    assert headers.raw == [(b"A", b"3")]
    assert headers.setdefault("a", "4") == "3"
    assert headers.setdefault("b", "4") == "4"
    headers.update({"b": "5", "c": "6"})
    del headers["a"]
    assert dict(headers) == {"b": "5", "c": "6"}
    with pytest.raises(KeyError):
        del headers["a"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a b", "1"), ("", "1"), ("a:", "1"), ("ä", "1"), ("a\r", "1"),
        ("a", "1\r\nb: 2"), ("a", "1\n"), ("a", "\0"), ("a", "\x7f"), ("a", "€"),
    ],
)  # fmt: skip
def test_a_field_that_http_does_not_allow_is_refused_as_it_is_set(name: str, value: str) -> None:
    for change in (
        lambda: MutableHeaders().__setitem__(name, value),
        lambda: MutableHeaders().add(name, value),
        lambda: MutableHeaders().setdefault(name, value),
        lambda: Headers({name: value}),
    ):
        with pytest.raises(ValueError, match="field"):
            change()


def test_a_field_that_is_refused_changes_nothing() -> None:
    headers = MutableHeaders({"a": "1"})
    with pytest.raises(ValueError, match="control byte"):
        headers["a"] = "\r"
    assert headers["a"] == "1"


def test_tabs_and_latin_1_are_allowed_in_values() -> None:
    check_field(b"a!#$%&'*+-.^_`|~9", b"a\tb \xe9")


def test_a_multidict_gives_the_first_value_or_all() -> None:
    values = MultiDict([("a", "1"), ("b", "2"), ("a", "3")])
    assert values["a"] == "1"
    assert values.get("c", "none") == "none"
    assert values.getlist("a") == ["1", "3"]
    assert values.getlist("c") == []
    assert dict(values) == {"a": "1", "b": "2"}
    assert values.multi_items() == [("a", "1"), ("a", "3"), ("b", "2")]
    assert repr(values) == "MultiDict([('a', '1'), ('a', '3'), ('b', '2')])"


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("a=1&b=2&a=3", [("a", "1"), ("a", "3"), ("b", "2")]),
        ("a=&b", [("a", ""), ("b", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("a=1;b=2", [("a", "1;b=2")]),
        ("q=a+b%20c%2B", [("q", "a b c+")]),
        ("%C3%BC=%C3%A4", [("ü", "ä")]),
        ("a=%ff&b=%zz", [("a", "\ufffd"), ("b", "%zz")]),
        ("&&", []),
    ],
)
def test_a_query_is_split_at_ampersands_only(query: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_query(query).multi_items() == pairs


def test_a_query_has_at_most_a_thousand_parameters() -> None:
    assert len(parse_query("&".join(f"a{n}" for n in range(1000)))) == 1000
    with pytest.raises(ValueError, match="more than 1000 parameters"):
        parse_query("&" * 1000)


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("", {}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;;  c = 3 ", {"a": "1", "b": "2", "c": "3"}),
        ("a=b=c", {"a": "b=c"}),
        ('a="quoted"; b="', {"a": "quoted", "b": '"'}),
        ("a=first; a=second", {"a": "first"}),
        ("=nameless; valueless; a=1", {"a": "1"}),
        ("a=", {"a": ""}),
    ],
)
def test_cookies_are_read_and_bad_pairs_passed_over(value: str, cookies: dict[str, str]) -> None:
    assert parse_cookies(value) == cookies


def test_at_most_a_hundred_cookies_are_read() -> None:
    assert len(parse_cookies("; ".join(f"c{n}=1" for n in range(500)))) == 100


def test_dates_are_written_in_gmt_and_read_in_all_three_forms() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    for date in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert parse_http_date(date) == 784111777
    for nonsense in ("", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT", "\0", "1" * 1000):
        assert parse_http_date(nonsense) is None


def test_weights_are_read_and_bad_ones_count_as_nothing() -> None:
    field = "text/HTML;level=1;q=0.5, */*; Q=0.1, a/b, c/d;q=2, e/f;q=x, g/h;q=0.1234, ,"
    assert parse_qualities(field) == {
        "text/html": 0.5,
        "*/*": 0.1,
        "a/b": 1.0,
        "c/d": 0.0,
        "e/f": 0.0,
        "g/h": 0.0,
    }


@pytest.mark.parametrize(
    ("field", "best"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("text/html;q=0.4, application/json;q=0.5", "application/json"),
        ("text/*;q=0.9, */*;q=0.1", "text/html"),
        ("text/*, text/html;q=0, application/json;q=0.1", "application/json"),
        ("image/png", None),
        ("*/*;q=0", None),
    ],
)
def test_the_best_offer_is_the_one_that_the_client_likes_most(field: str, best: str | None) -> None:
    assert best_match(field, ["text/html", "application/json"]) == best


def test_there_is_no_best_of_nothing() -> None:
    assert best_match("", []) is None
    assert best_match("*/*", []) is None


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's zone is not ours to set")
def test_a_date_is_in_gmt_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        for date in ("Thu Jan  1 00:16:40 1970", "Thursday, 01-Jan-70 00:16:40 GMT", http_date(1000)):
            assert parse_http_date(date) == 1000
    finally:
        monkeypatch.undo()
        time.tzset()


def test_each_name_that_is_told_is_found_and_lines_of_one_name_stay_together() -> None:
    headers = Headers.from_raw([(b"\xc9", b"a"), (b"X-A", b"1"), (b"x-a", b"2")])
    for _ in range(3):  # looked through, and by an index
        assert dict(headers) == {"\xc9": "a", "X-A": "1, 2"}
        assert (headers.getlist("X-A"), headers.getlist("x"), headers.get("\u20ac")) == (["1", "2"], [], None)
