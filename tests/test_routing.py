"""Patterns, and the table that finds the route of a request."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from weebill.errors import ConfigurationError, DuplicateRoute, PatternError
from weebill.exchange import ENCODED_SLASH, decode_path
from weebill.refusals import allow_field
from weebill.routing import RouteTable, compile_pattern

ID = UUID("6fa459ea-ee8a-3ca4-894e-db77e160355e")


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "text", "values"),
    [
        ("/", "/", {}),
        ("/user/{name}", "/user/ann", {"name": "ann"}),
        ("/user/{name}", "/user/", None),
        ("/user/{name}", "/user/a/b", None),
        ("/user/{name}", "/user/a\nb", {"name": "a\nb"}),
        ("/{n:int}", "/-12", {"n": -12}),
        ("/{n:int}", "/007", {"n": 7}),
        ("/{n:int}", "/+1", None),
        ("/{n:int}", "/1_000", None),
        ("/{n:int}", "/٣", None),  # a digit, but not one of ours
        ("/{n:int}", "/" + "9" * 5000, None),
        ("/{x:float}", "/-2.50", {"x": -2.5}),
        ("/{x:float}", "/3", {"x": 3.0}),
        ("/{x:float}", "/1e5", None),
        ("/{x:float}", "/nan", None),
        ("/{id:uuid}", f"/{str(ID).upper()}", {"id": ID}),
        ("/{id:uuid}", "/6fa459eaee8a3ca4894edb77e160355e", None),
        ("/{rest:path}", "/", {"rest": ""}),
        ("/{rest:path}", "/a/b\nc/", {"rest": "a/b\nc/"}),
        ("/v{major:int}.{minor:int}/{name}.txt", "/v2.10/a.b.txt", {"major": 2, "minor": 10, "name": "a.b"}),
        ("/{a}-{b}", "/x-y-z", {"a": "x", "b": "y-z"}),
        ("/a.b", "/axb", None),
        ("/a(b)*", "/a(b)*", {}),
        ("/tail/{x}", "/tail/x\n", {"x": "x\n"}),
        ("/tail", "/tail\n", None),
    ],
)
def test_a_pattern_matches_the_whole_text_and_gives_typed_values(
    pattern: str, text: str, values: dict[str, Any] | None
) -> None:
    found = compile_pattern(pattern).match(text)
    assert found == values
    assert values is None or [type(v) for v in found.values()] == [type(v) for v in values.values()]


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("/{", "a brace without its partner"),
        ("/a}", "a brace without its partner"),
        ("/{a{b}}", "a brace without its partner"),
        ("/{}", "the parameter name ''"),
        ("/{1st}", "the parameter name '1st'"),
        ("/{a b}", "the parameter name 'a b'"),
        ("/{a}/{a}", "the parameter 'a' twice"),
        ("/{a:integer}", "the unknown converter 'integer'; there are str, int, float, uuid, path"),
        ("/{a:}", "the unknown converter ''"),
    ],
)
def test_a_bad_pattern_is_shown_with_its_fault(pattern: str, fault: str) -> None:
    with pytest.raises(PatternError) as raised:
        compile_pattern(pattern)
    assert repr(pattern) in str(raised.value)
    assert fault in str(raised.value)
    assert isinstance(raised.value, ConfigurationError)


def test_the_default_converter_may_be_another() -> None:
    assert compile_pattern("{rest}", default="path").match("a/b") == {"rest": "a/b"}


@pytest.mark.parametrize(
    ("pattern", "values", "text"),
    [
        ("/user/{name}", {"name": "a b/ü?#%"}, "/user/a%20b%2F%C3%BC%3F%23%25"),
        ("/user/{name}", {"name": 5}, "/user/5"),
        ("/{n:int}/{x:float}", {"n": -5, "x": 0.1}, "/-5/0.1"),
        ("/{x:float}", {"x": 1e20}, "/100000000000000000000"),
        ("/{x:float}", {"x": 3}, "/3"),
        ("/{id:uuid}", {"id": str(ID).upper()}, f"/{ID}"),
        ("/{rest:path}", {"rest": "a/b c"}, "/a/b%20c"),
        ("/é/{a}", {"a": "1"}, "/%C3%A9/1"),
    ],
)
def test_a_pattern_is_filled_with_values(pattern: str, values: dict[str, Any], text: str) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.fill(values) == text
    assert compiled.match(decode_path(text) if "%" in text else text) is not None


@pytest.mark.parametrize(
    ("pattern", "values", "fault"),
    [
        ("/{a}/{b}", {"a": 1}, "'/{a}/{b}' needs a value for b"),
        ("/{a}", {"a": 1, "c": 2}, "'/{a}' has no parameter c"),
        ("/{a}", {"a": ""}, "a='' does not fit '/{a}': must not be empty"),
        ("/{n:int}", {"n": "5"}, "n='5' does not fit '/{n:int}': must be an int"),
        ("/{n:int}", {"n": True}, "must be an int"),
        ("/{x:float}", {"x": float("inf")}, "must be finite"),
        ("/{x:float}", {"x": float("nan")}, "must be finite"),
        ("/{id:uuid}", {"id": "no"}, "does not fit"),
    ],
)
def test_a_value_that_does_not_fit_is_named(pattern: str, values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        compile_pattern(pattern).fill(values)
    assert fault in str(raised.value)


@pytest.mark.parametrize("number", [0.0, 1.5, -2.25, 1e-7, 1e15, 123456.789])
def test_a_float_survives_its_way_through_a_url(number: float) -> None:
    pattern = compile_pattern("/{x:float}")
    found = pattern.match(pattern.fill({"x": number}))
    assert found == {"x": pytest.approx(number, abs=1e-6)}


# -- the path


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("/a%20b", "/a b"),
        ("/%C3%BC", "/ü"),
        ("/a%2Fb%2fc", f"/a{ENCODED_SLASH}b{ENCODED_SLASH}c"),
        ("/%252F", "/%2F"),
        ("/a+b", "/a+b"),
        ("/%2e%2E/", "/../"),
    ],
)
def test_a_path_is_decoded_once_and_segment_by_segment(raw: str, decoded: str) -> None:
    assert decode_path(raw) == decoded


@pytest.mark.parametrize(
    "raw", ["/%", "/%a", "/%g0", "/%0g", "/a%%20", "/%+1", "/% 1", "/%ff", "/%C3", "/%00", "/%u00e9"]
)
def test_a_bad_escape_is_an_error(raw: str) -> None:
    with pytest.raises(ValueError, match="path"):
        decode_path(raw)


# -- the table


def table(*routes: str) -> RouteTable[str]:
    """A table of routes written as "GET,POST /pattern"."""
    routes_table: RouteTable[str] = RouteTable()
    for route in routes:
        methods, pattern = route.split(" ", 1)
        routes_table.add(compile_pattern(pattern), methods.split(","), route)
    return routes_table


@pytest.mark.parametrize(
    ("routes", "request_", "found"),
    [
        (["GET /a", "GET /{x}"], "GET /a", "GET /a"),
        (["GET /{x}", "GET /a"], "GET /a", "GET /a"),
        (["GET /{x}", "GET /{y:int}"], "GET /5", "GET /{x}"),
        (["GET /{y:int}", "GET /{x}"], "GET /5", "GET /{y:int}"),
        (["GET /{y:int}", "GET /{x}"], "GET /five", "GET /{x}"),
        (["POST /a", "GET /{x}"], "GET /a", "GET /{x}"),
        (["GET /{x}/about", "GET /user/{y}"], "GET /user/about", "GET /{x}/about"),
        (["GET /user/{y}", "GET /{x}/about"], "GET /user/about", "GET /user/{y}"),
        (["GET /user/{y}", "GET /{x}/about"], "GET /other/about", "GET /{x}/about"),
        (["GET /user/{y}", "GET /user/{y}/{z}"], "GET /user/a/b", "GET /user/{y}/{z}"),
        (["GET /{x:path}", "GET /user/{y}"], "GET /user/a", "GET /{x:path}"),
        (["GET /v{x:int}/a"], "GET /v1/a", "GET /v1/a".replace("1", "{x:int}")),
        (["GET /{x}", "POST /{y}"], "POST /1", "POST /{y}"),
        (["GET /a"], "HEAD /a", "GET /a"),
        (["GET /{x}"], "HEAD /a", "GET /{x}"),
        (["GET /a", "HEAD /a"], "HEAD /a", "HEAD /a"),
        (["GET /a", "HEAD /{x}"], "HEAD /a", "GET /a"),
        (["HEAD /a"], "GET /a", None),
        (["GET /a/"], "GET /a", None),
    ],
)
def test_the_table_finds_the_route(routes: list[str], request_: str, found: str | None) -> None:
    matched = table(*routes).match(*request_.split())
    assert (matched and matched[0]) == found


def test_values_arrive_under_the_names_of_their_own_route() -> None:
    routes = table("GET /{x}", "POST /{y}")
    assert routes.match("GET", "/1")[1] == {"x": "1"}
    assert routes.match("POST", "/1")[1] == {"y": "1"}
    assert table("GET /{a}/{b}").match("GET", f"/1{ENCODED_SLASH}2/3")[1] == {"a": "1/2", "b": "3"}


def test_a_path_knows_the_methods_that_it_takes() -> None:
    routes = table("GET,POST /a", "PUT /{x}", "DELETE /{x}/more", "HEAD /h")

    def methods(path: str) -> set[str]:
        return {method for by_method, _ in routes.at(path) for method in by_method}

    assert methods("/a") == {"GET", "POST", "PUT"}
    assert methods("/b") == {"PUT"}
    assert methods("/h") == {"HEAD", "PUT"}
    assert methods("/a/b") == set()


def test_allow_has_head_where_get_is_taken() -> None:
    assert allow_field({"GET", "POST"}) == "GET, HEAD, OPTIONS, POST"
    assert allow_field({"PUT"}) == "OPTIONS, PUT"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GET /a", "GET /a"),
        ("GET,POST /a", "PUT,POST /a"),
        ("GET /{x}", "GET /{x}"),
        ("GET /{x}", "GET /{y}"),  # another name, but the same requests
        ("GET /{x:int}/b", "GET /{y:int}/b"),
    ],
)
def test_the_same_method_and_pattern_twice_is_an_error(first: str, second: str) -> None:
    with pytest.raises(DuplicateRoute) as raised:
        table(first, second)
    assert "registered twice" in str(raised.value)
    assert first in str(raised.value)
    assert second in str(raised.value)


@pytest.mark.parametrize("second", ["PUT,GET /{y}", "PUT,GET /{x}", "PUT,PUT /{z}"])
def test_a_route_that_is_refused_leaves_nothing_behind(second: str) -> None:
    routes = table("GET /{x}")
    methods, pattern = second.split()
    with pytest.raises(DuplicateRoute):
        routes.add(compile_pattern(pattern), methods.split(","), second)
    assert routes.at("/1") == [({"GET": "GET /{x}"}, {"x": "1"})]


def test_patterns_that_only_look_alike_live_together() -> None:
    routes = table("GET /{x}", "GET /{x:int}", "GET /{x}/", "POST /{x}", "GET /a{x}")
    assert routes.match("GET", "/b/")[0] == "GET /{x}/"


@pytest.mark.parametrize(
    ("pattern", "part"), [("/d/{a}-{b}.{c}", "-."), ("/{a:path}x{b:path}y{c:path}", "xy"), ("/{a}-{b}", "-")]
)
def test_no_text_keeps_several_parameters_of_a_segment_busy(pattern: str, part: str) -> None:
    compiled = compile_pattern(pattern)
    # Groups that never give back what they took; without them this text takes minutes.
    assert compiled.regex.pattern.count("(?>") == len(compiled.converters) - 1
    assert compiled.match(part * 4000 + "/") is None


def test_parameters_with_nothing_between_them_are_refused() -> None:
    with pytest.raises(PatternError, match="needs some text between 'a' and 'b'"):
        compile_pattern("/{a}{b}")
