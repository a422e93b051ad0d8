"""Routers of one host, and of a pattern of hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from weebill import App, Router
from weebill.errors import ConfigurationError, PatternError
from weebill.headers import split_host
from weebill.routing import compile_host
from weebill.server.memory import MemoryExchange
from weebill.testing import TestClient


def make_app() -> App:
    app, api = App(), Router(host="api.Example.com", name="api")
    tenant, deep = Router(name="tenant"), Router("/deep", host="{rest:path}.example.org")
    api.get("/")(lambda: "api")
    api.post("/shared")(lambda: "posted to api")
    api.before_request(lambda request: setattr(request.state, "api", True))
    api.errorhandler(404)(lambda error: "not in the api")
    app.get("/")(lambda: "main")
    app.get("/shared")(lambda: "shared")
    tenant.get("/page/{n:int}", name="page")(lambda tenant, n: f"{tenant} {n}")
    deep.get("/")(lambda rest: rest)
    app.include(tenant, host="{tenant}.example.com")
    app.include(api)
    app.include(deep)
    return app


CASES = [
    ("GET", "api.example.com", "/", 200, "api"),
    ("GET", "API.EXAMPLE.COM:8443", "/", 200, "api"),
    ("GET", "api.example.com.", "/", 200, "api"),
    ("GET", "example.com", "/", 200, "main"),
    ("GET", "xapi.example.com", "/", 200, "main"),
    ("GET", "api.example.com", "/shared", 200, "shared"),
    ("POST", "api.example.com", "/shared", 200, "posted to api"),
    ("GET", "Acme.example.com", "/page/7", 200, "acme 7"),
    ("GET", "a.b.example.com", "/page/7", 404, None),
    ("GET", "example.com", "/page/7", 404, None),
    ("GET", "a.b.example.org", "/deep/", 200, "a.b"),
    ("GET", "api.example.com", "/none", 404, "not in the api"),
    ("GET", "[::1]:80", "/", 200, "main"),
]


@pytest.mark.parametrize(("method", "host", "path", "status", "text"), CASES)
def test_the_host_chooses_among_routes(
    method: str, host: str, path: str, status: int, text: str | None
) -> None:
    answer = TestClient(make_app()).request(method, path, headers={"host": host})
    assert answer.status_code == status
    assert text is None or answer.text == text


def test_the_host_chooses_on_every_wire(serve: Callable[[Any], Any]) -> None:
    client = serve(make_app())
    for method, host, path, status, text in CASES:
        answer = client.request(method, path, headers={"host": host})
        assert (answer.status_code, text is None or answer.text == text) == (status, True)


def test_405_and_options_count_the_routes_of_the_host_and_those_of_all() -> None:
    client = TestClient(make_app())
    for host, methods in [("api.example.com", "GET, HEAD, OPTIONS, POST"), ("other", "GET, HEAD, OPTIONS")]:
        refused = client.put("/shared", headers={"host": host})
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)
        options = client.options("/shared", headers={"host": host})
        assert (options.status_code, options.headers["allow"]) == (204, methods)


@pytest.mark.parametrize(
    "host", ["a/b", "a b", "a,b", "u@a", "a:x", "a:99999", "[::1", "é", "", "a\\b", "a?b"]
)
def test_a_bad_host_chooses_nothing(host: str) -> None:
    # In memory as on servers that hand on what they get; our own server refuses it before.
    answer = TestClient(make_app()).get("/", headers=[("host", host)])
    assert (answer.status_code, "Host" in answer.text) == (400, True)


def test_two_hosts_or_none_choose_nothing() -> None:
    client = TestClient(make_app())
    two = client.get("/", headers=[("host", "api.example.com"), ("host", "example.com")])
    assert two.status_code == 400


def test_a_bad_host_chooses_nothing_on_any_wire(serve: Callable[[Any], Any]) -> None:
    assert serve(make_app()).get("/", headers={"host": "api.example.com/../"}).status_code == 400


def test_a_program_without_hosts_does_not_look_at_the_field() -> None:
    app = App()
    app.get("/")(lambda: "main")

    async def ask() -> MemoryExchange:
        exchange = MemoryExchange("GET", "/", [(b"host", b"a/b")])  # which our server would refuse
        await exchange.serve(app)
        return exchange

    assert asyncio.run(ask()).pieces == [b"main"]


def test_a_router_takes_its_host_to_those_included_in_it() -> None:
    app, outer, inner = App(), Router("/o", host="a.example"), Router("/i")
    inner.get("/")(lambda: "inner")
    outer.include(inner)
    app.include(outer)
    client = TestClient(app)
    assert client.get("/o/i/", headers={"host": "a.example"}).text == "inner"
    assert client.get("/o/i/").status_code == 404


def test_the_same_router_on_two_hosts() -> None:
    app, router = App(), Router()
    router.get("/")(lambda request: request.host)
    app.include(router, host="a.example")
    app.include(router, host="b.example")
    client = TestClient(app)
    assert [client.get("/", headers={"host": h}).text for h in ("a.example", "b.example")] == [
        "a.example",
        "b.example",
    ]
    assert client.get("/").status_code == 404


def test_a_mount_may_be_of_one_host() -> None:
    app, legacy, site = App(), Router(host="old.example"), App()
    site.get("/x")(lambda: "old")
    legacy.mount("/", site)
    app.include(legacy)
    app.get("/x")(lambda: "new")
    client = TestClient(app)
    assert client.get("/x", headers={"host": "old.example"}).text == "old"
    assert client.get("/x").text == "new"


@pytest.mark.parametrize(
    ("mistake", "kind", "sentence"),
    [
        (lambda: Router(host="*.example.com"), PatternError, r"'\*.example.com' .*a wildcard is a parameter"),
        (lambda: Router(host="a:80"), PatternError, "the port does not count"),
        (lambda: Router(host="é.example"), PatternError, "xn--"),
        (lambda: Router(host="http//a"), PatternError, "a name has none"),
        (lambda: Router(host="{a:float}.b"), PatternError, "'float'; there are str, int, path"),
        (
            lambda: Router(host="a").include(Router(), host="b"),
            ConfigurationError,
            "'b' is included in .* 'a'",
        ),
        (lambda: App().include(Router(host="a"), host="b"), ConfigurationError, "'a' is included in .* 'b'"),
        (
            lambda: Router("/{a}", host="{a}.b").get("/")(lambda a: ""),
            PatternError,
            "have both a parameter 'a'",
        ),
    ],
)
def test_a_mistake_in_a_host_is_one_sentence(
    mistake: Callable[[], Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        mistake()


def test_no_name_keeps_the_parameters_of_a_host_busy() -> None:
    pattern = compile_host("{a}-{b}-{c}.example.com")
    assert pattern.regex.pattern.count("(?>") == 2
    assert pattern.match("-" * 5000) is None
    assert compile_host("{a:path}.x.{b:path}.com").match("a.x." * 5000) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"A.example", ("a.example", None)),
        (b"a:", ("a", None)),
        (b"a:0080", ("a", 80)),
        (b"[2001:DB8::1]:1", ("[2001:db8::1]", 1)),
        (b"[zz]", None),
        (b"[1:2]", None),
        (b"", None),
        (b"a:65536", None),
        (b"a:-1", None),
        (b"%zz", None),
    ],
)
def test_a_host_is_split_or_refused(value: bytes, found: Any) -> None:
    assert split_host(value) == found
