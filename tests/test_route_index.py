"""The index of dynamic routes: it finds what a search through all patterns finds, without making it."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weebill.errors import DuplicateRoute
from weebill.exchange import ENCODED_SLASH
from weebill.routing import Pattern, RouteTable, compile_pattern

# -- the same as a search


class Search:
    """A table of routes that tries every pattern."""

    def __init__(self) -> None:
        self.patterns: list[tuple[Pattern, dict[str, str]]] = []

    def add(self, pattern: Pattern, method: str, route: str) -> None:
        names = (pattern.shape, *pattern.converters)
        for other, by_method in self.patterns:
            if (other.shape, *other.converters) == names:
                by_method[method] = route
                return
        self.patterns.append((pattern, {method: route}))

    def at(self, path: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        found = []
        for pattern, by_method in sorted(self.patterns, key=lambda entry: not entry[0].is_static):
            if (params := pattern.match(path)) is not None:
                found.append((by_method, {n: decoded(value) for n, value in params.items()}))
        return found

    def match(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        wanted = [method, "GET"] if method == "HEAD" else [method]
        static = [by_method for pattern, by_method in self.patterns if pattern.text == path]
        for name, by_method in product(wanted, static):
            if name in by_method:
                return by_method[name], {}
        for name, (by_method, params) in product(wanted, self.at(path)):
            if name in by_method:
                return by_method[name], params
        return None


def decoded(value: Any) -> Any:
    return value.replace(ENCODED_SLASH, "/") if isinstance(value, str) else value


LITERALS = ["a", "b", "", "1", "a-b", "*"]
PARAMETERS = ["{%}", "{%:int}", "{%:path}", "v{%}", "{%}-{%}", "{%:path}.{%}", "x{%:path}", "{%:uuid}"]
SEGMENTS = [*LITERALS, *LITERALS, "v1", "a.b", "xa", "-7", f"a{ENCODED_SLASH}b", "é"]
METHODS = st.sampled_from(["GET", "HEAD", "POST"])


@st.composite
def patterns(draw: st.DrawFn) -> str:
    segments = draw(st.lists(st.sampled_from([*LITERALS, *PARAMETERS]), max_size=5))
    text = draw(st.sampled_from(["/", "/", "/", ""])) + "/".join(segments)
    names = iter(draw(st.permutations(list("pqrstuvwxyz"))))
    return "".join(part if part != "%" else next(names) for part in text)


paths = st.tuples(st.sampled_from(["/", "/", "/", ""]), st.lists(st.sampled_from(SEGMENTS), max_size=6)).map(
    lambda parts: parts[0] + "/".join(parts[1])
)


@given(st.lists(st.tuples(METHODS, patterns()), max_size=12), st.lists(st.tuples(METHODS, paths), max_size=8))
def test_the_index_finds_what_a_search_finds(
    routes: list[tuple[str, str]], requests: list[tuple[str, str]]
) -> None:
    table: RouteTable[str] = RouteTable()
    search = Search()
    for method, text in routes:
        pattern, route = compile_pattern(text), f"{method} {text}"
        try:
            table.add(pattern, (method,), route)
        except DuplicateRoute:
            continue
        search.add(pattern, method, route)
    for method, path in requests:
        assert table.match(method, path) == search.match(method, path)
        assert table.at(path) == search.at(path)


@pytest.mark.parametrize(
    ("patterns", "path", "found"),
    [
        (["/{a}/x", "/u/{b}", "/{rest:path}"], "/u/x", ["/{a}/x", "/u/{b}", "/{rest:path}"]),
        (["/{rest:path}", "/u/{b}", "/{a}/x"], "/u/x", ["/{rest:path}", "/u/{b}", "/{a}/x"]),
        (["/f/{rest:path}"], "/f/", ["/f/{rest:path}"]),
        (["/f/{rest:path}"], "/f", []),
        (["/f/{rest:path}"], "/f//a//", ["/f/{rest:path}"]),
        (["/{repo:path}/-/{page}"], "/a/b/c/-/wiki", ["/{repo:path}/-/{page}"]),
        (["/{repo:path}/-/{page}"], "/-/wiki", []),
        (["/{repo:path}/-/{page}"], "//-/wiki", ["/{repo:path}/-/{page}"]),
        (["/{a:path}/x/{b:path}/y"], "/x/x/x/y", ["/{a:path}/x/{b:path}/y"]),
        (["/{a}//{b}"], "/1//2", ["/{a}//{b}"]),
        (["/{a}/{b}"], "//2", []),
        (["{a}", "*{a}", "/{a}"], "*", ["{a}"]),
        (["{a:path}", "/{a}"], "", ["{a:path}"]),
        (["/a{x}/c", "/ab/{y}"], f"/ab{ENCODED_SLASH}/c", ["/a{x}/c"]),
        (["/a/b/c/{d}", "/{x}"], "/one", ["/{x}"]),  # the shorter one after the longer
        (["/{x:path}", "/a/b/c/{d}"], "/a/b/c/d/e/f/g", ["/{x:path}"]),
    ],
)
def test_all_that_matches_is_found_in_order(patterns: list[str], path: str, found: list[str]) -> None:
    table: RouteTable[str] = RouteTable()
    for pattern in patterns:
        table.add(compile_pattern(pattern), ("GET",), pattern)
    assert [by_method["GET"] for by_method, _ in table.at(path)] == found
    assert (table.match("GET", path) or [None])[0] == (found[0] if found else None)


# -- without the search


def calls(table: RouteTable[str], method: str, path: str) -> int:
    """The calls of a look-up, of functions in Python and in C alike."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        table.match(method, path)
        table.at(path)
    finally:
        sys.setprofile(None)
    return count


def table_of(*patterns: str) -> RouteTable[str]:
    table: RouteTable[str] = RouteTable()
    for pattern in patterns:
        table.add(compile_pattern(pattern), ("GET",), pattern)
    return table


@pytest.mark.parametrize(
    "pattern",
    [
        "/thing%/{id}",
        "/api/v1/thing%/{id:int}",
        "/api/v1/thing%/{id}/part/{part}/edit",
        "/{tenant}/thing%/{id}",
        "/{tenant}/{team}/thing%",
        "/files%/{path:path}",
        "/{repository:path}/-/thing%",
    ],
)
def test_a_thousand_routes_cost_what_ten_do(pattern: str) -> None:
    path = "/".join("5" if "{" in segment else segment for segment in pattern.split("/")).replace("%", "7")
    few, many = (table_of(*(pattern.replace("%", str(n)) for n in range(size))) for size in (10, 1000))
    assert many.match("GET", path) is not None
    for asked in (path, path + "/more", path.replace("7", "missing"), "/", "/" * 50):
        for method in ("GET", "POST", "HEAD"):
            assert calls(many, method, asked) == calls(few, method, asked)


@pytest.mark.parametrize("unit", ["/", "a/", "/a", "/thing/a", "v1/", f"{ENCODED_SLASH}/", "-/", "{x}/"])
def test_a_long_path_takes_no_more_steps_than_a_short_one(unit: str) -> None:
    """What remains is to split it, and what each regular expression does; see test_linear.py."""
    table = table_of(
        "/{a}", "/{a}/{b}/{c}", "/thing/{a}", "/a/a/a/{x}", "/v{a:int}/{b}", "/{a:path}/-/{b}", "/-/{a:path}"
    )
    assert calls(table, "GET", "/" + unit * 10_000) <= calls(table, "GET", "/" + unit * 10)


@pytest.mark.parametrize("last", ["x", "y", "z"])
def test_patterns_made_to_cross_cost_no_more_than_their_number(last: str) -> None:
    """Literal text or a parameter in each of eight segments: a search by segments could go 256 ways, each
    of them to the last segment before it fails."""
    crossing = ["".join(ways) for ways in product(("/a", "/{%}"), repeat=8)]
    table = table_of(
        *(pattern.replace("%", "p%d") % tuple(range(pattern.count("%"))) + "/x/{z}" for pattern in crossing)
    )
    path = "/a" * 8 + f"/{last}/1"
    assert len(table.at(path)) == (256 if last == "x" else 0)
    assert calls(table, "POST", path) < 256 * (32 if last == "x" else 8)


def test_a_parameter_is_a_whole_segment_only_where_slashes_stand_around_it() -> None:
    table: RouteTable[str] = RouteTable()
    table.add(compile_pattern("/{name}.json"), ["GET"], "json")
    table.add(compile_pattern("/{name}"), ["GET"], "any")
    assert table.match("GET", "/wren") == ("any", {"name": "wren"})
    assert table.match("GET", "/wren.json") == ("json", {"name": "wren"})
    assert table.match("GET", "/") is None
    assert table.match("GET", "x/wren") is None
